"""What comparisons say, in sentences: the one place that words a verdict.

Words follow Holm's correction over the tasks that are compared; intervals are uncorrected 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kvl_eval.scorers.statistics import holm
from kvl_eval.types import Interval

Sign = Literal["up", "down", "same", "pays", "warn"]
LEVEL = 0.05  # below which a corrected p value decides
POWER = 7.85  # (1.96 + 0.84)^2: a difference is shown four times in five
SAME = 0.01  # an interval within this of 0 on both sides means: the same
NAMED = 2  # tasks that a sentence about published results names
MOST = 3  # sentences above a leaderboard
DEMO = "demo model: do not compare these scores with published results."
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One verdict.

    Attributes:
        text: a whole sentence.
        link: the page that shows it, as a file of the report; empty where there is none.
        sign: what it says, for a mark beside it.
        bold: names in it that stand out.
    """

    text: str
    link: str = ""
    sign: Sign = "same"
    bold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A difference on one task, B minus A, in fractions of the whole.

    Attributes:
        task:    as sentences name it.
        n:       samples behind it.
        ci95:    uncorrected 95 % interval.
        p_value: of this task alone.
        changed: share of the samples whose verdict differs between the two.
        points:  whether it is printed in points of 1,000.
    """

    task: str
    n: int
    difference: float
    ci95: Interval
    p_value: float
    changed: float = 0.0
    points: bool = False

    @property
    def printed(self) -> str:
        """`+2.9`."""
        return signed(self.difference, self.points)

    @property
    def interval(self) -> str:
        """`[+0.6, +5.2]`."""
        return "[" + ", ".join(signed(bound, self.points) for bound in self.ci95) + "]"

    @property
    def reversed(self) -> Gap:
        """The same difference, A minus B."""
        low, high = self.ci95
        return replace(self, difference=-self.difference, ci95=(-high, -low))

    @property
    def needed(self) -> int | None:
        """About how many samples would show a difference of this size four times in five; None where it is 0."""
        if not self.difference or not self.changed:
            return None
        return samples_needed(self.changed, self.difference)

    @property
    def detectable(self) -> float:
        """The smallest difference that these samples would show four times in five."""
        return math.sqrt(POWER * self.changed / self.n) if self.n else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedGap:
    """One result and the published one of the same model, as fractions.

    Attributes:
        task:   as sentences name it.
        gap:    score minus published result.
        agrees: whether the interval of the difference contains 0.
    """

    task: str
    gap: float
    agrees: bool
    points: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPair:
    """Our results of one model beside those that were published of it."""

    model: str
    system: str
    gaps: tuple[PublishedGap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPair:
    """Two models on the tasks that both answered: B against A."""

    a: str
    b: str
    gaps: tuple[Gap, ...]

    @property
    def decided(self) -> list[Sign]:
        """For each task `up` or `down` where Holm's correction leaves the difference shown, else `same`."""
        return decisions(self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pays:
    """Up to which thinking budget a sweep pays on one task.

    Attributes:
        budget:  the smallest budget that no larger one is shown to beat.
        start:   the smaller budget of the step that the sentence names, `end` the larger one.
        step:    what `end` brings over `start`.
        tokens:  how many more tokens it takes, as a fraction; None where they are not known.
        labels:  {budget: text} of all budgets.
        decided: whether the step is shown after Holm's correction.
    """

    task: str
    budget: int
    start: int
    end: int
    step: Gap
    tokens: float | None
    labels: dict[int, str]
    decided: bool

    @property
    def still(self) -> bool:
        """Whether the largest budget still pays."""
        return self.budget == self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredShare:
    """How much of its plan a model has answered."""

    model: str
    answered: int
    planned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the sentences above a leaderboard are made of.

    Attributes:
        models:     in the order of the runs.
        n_tasks:    tasks that were run.
        unfinished: the least finished model, if one is not finished.
        pair:       the pair that is named, None for a single model.
        published:  the model with a published result, None without a comparable one.
        pays:       the sweep with the largest gain.
        demo:       whether a demo model is among them.
    """

    models: tuple[str, ...]
    n_tasks: int
    unfinished: AnsweredShare | None = None
    pair: ModelPair | None = None
    published: PublishedPair | None = None
    pays: Pays | None = None
    demo: bool = False


def samples_needed(changed: float, difference: float) -> int:
    """About how many samples would show a difference four times in five, `changed` being the share that differs."""
    return math.ceil(POWER * changed / difference**2)


def signed(value: float, points: bool = False) -> str:
    """`+2.9`, `−0.6` (percent), or `+12` points of 1,000; what rounds to zero is `0.0`."""
    text = f"{1000 * value:+.0f}" if points else f"{100 * value:+.1f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", MINUS)


def p_text(p_value: float) -> str:
    """`p = 0.014`, `p < 0.001`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def decisions(gaps: Sequence[Gap]) -> list[Sign]:
    """For each difference of one family `up` or `down` where it is shown after Holm's correction, else `same`."""
    corrected = holm([gap.p_value for gap in gaps])
    return [
        "same" if p_value >= LEVEL or not gap.difference else "up" if gap.difference > 0 else "down"
        for gap, p_value in zip(gaps, corrected, strict=True)
    ]


def verdict(gap: Gap, names: tuple[str, str], p_value: float | None = None) -> list[str]:
    """One or two sentences on one task: how B differs from A.

    Args:
        names:   of A and B.
        p_value: corrected for all tasks that are compared; None where this is the only one.
    """
    a, b = names
    p_value = gap.p_value if p_value is None else p_value
    samples = f"{gap.n:,} samples"
    if p_value < LEVEL and gap.difference:
        word = "better" if gap.difference > 0 else "worse"
        size = signed(abs(gap.difference), gap.points).removeprefix("+")
        bounds = sorted(bound if gap.difference > 0 else -bound for bound in gap.ci95)
        interval = "[" + ", ".join(signed(bound, gap.points).removeprefix("+") for bound in bounds) + "]"
        unit = "point" if size in ("1", "1.0") else "points"
        return [f"{b} is {word} than {a} on {gap.task} by {size} {unit} {interval} ({samples}, {p_text(p_value)})."]
    if max(map(abs, gap.ci95)) <= SAME:
        return [f"{a} and {b} are the same within 1 point on {gap.task}."]
    least = signed(gap.detectable, gap.points).removeprefix("+")
    shown = f"; {samples} can show {least} or more" if gap.changed else ""
    return [f"No difference shown between {a} and {b} on {gap.task}: {gap.printed} {gap.interval}{shown}."]


def verdict_sentences(evidence: Evidence) -> list[Sentence]:
    """At most three sentences that stand above a leaderboard, the most important first."""
    sentences = list(_sentences(evidence))
    if evidence.unfinished is not None:
        left = evidence.unfinished
        text = f"{left.model} has answered {left.answered:,} of {left.planned:,} samples; scores are preliminary."
        sentences = [Sentence(text, "provenance.html", "warn", (left.model,)), *sentences[1:]]
    if evidence.demo:
        sentences = [*sentences[: MOST - 1], Sentence(_capital(DEMO), "provenance.html", "warn")]
    return sentences[:MOST]


def _sentences(evidence: Evidence) -> Iterator[Sentence]:
    if evidence.pair is not None and evidence.pair.gaps:
        yield pair_sentence(evidence.pair)
    if evidence.published is not None and evidence.published.gaps:
        yield _published_sentence(evidence.published)
    if evidence.pays is not None:
        pays = evidence.pays
        text = f"Thinking on {pays.task}: {_uncapital(pays_sentence(pays))}"
        yield Sentence(text, "budgets.html", "pays" if pays.still else "same", ())
    is_alone = evidence.pair is None and evidence.published is None and evidence.pays is None
    if is_alone and not evidence.demo:
        names = ", ".join(evidence.models)
        tasks = _count(evidence.n_tasks, "task")
        text = f"Scores of {names} on {tasks}; no published result fits these settings."
        yield Sentence(text, "published.html", "same", evidence.models)


def pair_sentence(pair: ModelPair) -> Sentence:
    """How B does against A over all tasks of the pair."""
    names = (pair.a, pair.b)
    decided = pair.decided
    up, down, open_ = (decided.count(sign) for sign in ("up", "down", "same"))
    sign: Sign = "same" if up == down == 0 else "down" if down > up else "up"
    if len(pair.gaps) == 1:
        return Sentence(" ".join(verdict(pair.gaps[0], names)), "compare.html", sign, names)
    tasks = f"{len(pair.gaps)} tasks"
    rest = f"; {open_} {'is' if open_ == 1 else 'are'} undecided" if open_ else ""
    if not up and not down:
        text = f"No difference shown between {pair.a} and {pair.b} on any of {tasks}."
    elif not down:
        text = f"{pair.b} is better than {pair.a} on {up} of {tasks}, worse on none{rest}."
    elif not up:
        text = f"{pair.b} is worse than {pair.a} on {down} of {tasks}, better on none{rest}."
    else:
        text = f"{pair.b} is better than {pair.a} on {up} of {tasks} and worse on {down}{rest}."
    return Sentence(text, "compare.html", sign, names)


def _published_sentence(pair: PublishedPair) -> Sentence:
    """How a model's results agree with those published of it."""
    apart = sorted((gap for gap in pair.gaps if not gap.agrees), key=lambda gap: -abs(gap.gap))
    agreeing = len(pair.gaps) - len(apart)
    named = [f"on {gap.task} it is {_points(gap)} {'higher' if gap.gap > 0 else 'lower'}" for gap in apart[:NAMED]]
    more = [f"{len(apart) - NAMED} more differ"] if len(apart) > NAMED else []
    rest = "; " + ", ".join([*named, *more]) if apart else ""
    count = f"{agreeing} of {_count(len(pair.gaps), 'task')}"
    text = f"{pair.model} agrees with the published {pair.system} on {count}{rest}."
    sign: Sign = "same" if not apart else "up" if apart[0].gap > 0 else "down"
    return Sentence(text, "published.html", sign, (pair.model,))


def _points(gap: PublishedGap) -> str:
    size = signed(abs(gap.gap), gap.points).removeprefix("+")
    return f"{size} {'point' if size in ('1', '1.0') else 'points'}"


def pays_sentence(pays: Pays) -> str:
    """Up to which budget thinking pays, with the step that shows it."""
    start, end, at = (pays.labels[budget] for budget in (pays.start, pays.end, pays.budget))
    word = "" if pays.tokens is None else "more" if pays.tokens >= 0 else "fewer"
    cost = "" if pays.tokens is None else f" for {100 * abs(pays.tokens):.0f} % {word} tokens"
    step = f"{start} to {end} brings {pays.step.printed} {pays.step.interval}{cost}"
    if pays.still and pays.decided:
        return f"Still paying at {at}: {step}."
    return f"Beyond {at} nothing measurable is gained: {step}."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapital(text: str) -> str:
    return text[:1].lower() + text[1:]


def leader_sentence(leader: str, score: str, others: Sequence[tuple[str, Gap]]) -> Sentence:
    """Who leads on one task, and whether that is shown against the next ones.

    Args:
        score:  of the leader, as printed.
        others: (name, how the leader differs from it) of the next models, the best first.
    """
    signs = decisions([gap for _, gap in others])
    texts = [
        (sign == "up", f"{name} ({gap.printed} {gap.interval})")
        for (name, gap), sign in zip(others, signs, strict=True)
    ]
    groups = {
        "better than": [text for is_better, text in texts if is_better],
        "not shown to differ from": [text for is_better, text in texts if not is_better],
    }
    parts = [f"{words} {' and '.join(models)}" for words, models in groups.items() if models]
    rest = f"; it is {', but '.join(parts)}" if parts else ""
    bold = (leader, *(name for name, _ in others))
    return Sentence(f"{leader} leads these runs at {score}{rest}.", "", "same", bold)


def nearest_undecided(pair: ModelPair) -> Gap | None:
    """The undecided task that the fewest further samples would decide; None where there is none."""
    open_ = [gap for gap, sign in zip(pair.gaps, pair.decided, strict=True) if sign == "same" and gap.needed]
    return min(open_, key=lambda gap: (gap.needed or 0) / gap.n, default=None)
