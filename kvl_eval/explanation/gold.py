"""Doubts about gold answers: questions on which several models agree on another answer.

Source: Dawid and Skene 1979 (labels from many raters), with known error rates and equal priors of two answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count, Json, encode_object
from kvl_eval.errors import UsageError
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of, comparing_scorer
from kvl_eval.explanation.reading import AnswerVerdict
from kvl_eval.printable import how_many
from kvl_eval.scoring.published import is_scripted, own_system
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.manifest import Manifest
from kvl_eval.types import Unit

FEWEST = 3  # models that must agree
SHARE = 0.8  # of the weight that must be theirs
OPEN_OPTIONS = 20  # as many answers an open question is taken to have
GOLD = "\0gold"  # stands for every answer that the protocol calls right
CAVEAT = (
    "Agreement against the gold answer is a reason to look, not proof. Models that saw the data in training "
    "may also repeat a wrong gold answer, which this cannot show."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldRun:
    """A run that voted.

    Attributes:
        run:           its id, `path` its folder.
        model:         its name.
        voter:         runs of the same voter count as one vote: a model family, else the same weights.
        score:         under the protocol, over the questions that all runs share; a fraction.
        score_without: the same without the listed questions; null where none is left.
    """

    run: str
    path: str
    model: str
    voter: str
    score: float
    score_without: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldDoubt:
    """A question whose gold answer looks wrong.

    Attributes:
        id:         the sample's.
        gold:       its gold answers.
        leading:    what most of the weight is for.
        votes:      {voter: answer}; the gold answer as the data set has it.
        share:      of the weight that the leading answer has.
        posterior:  that the leading answer is right, if it or gold is, both equally likely before.
        categories: {field: labels}.
    """

    id: str
    gold: tuple[str, ...]
    leading: str
    votes: Mapping[str, str]
    share: float
    posterior: float
    categories: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldReport:
    """What `check gold` prints; scores are fractions.

    Attributes:
        schema:    1.
        kind:      `check-gold`.
        protocol:  that extracted the answers.
        n:         questions that all runs answered.
        runs:      in the order they were named.
        doubts:    the most doubtful first.
        verdict:   sentences.
        exit_code: 0.
    """

    schema: int = 1
    kind: Literal["check-gold"] = "check-gold"
    task: str
    split: str | None
    protocol: str
    unit: Unit
    n: Count
    runs: tuple[GoldRun, ...]
    doubts: tuple[GoldDoubt, ...]
    verdict: tuple[str, ...]
    exit_code: Count = 0

    def as_json(self) -> dict[str, Json]:
        """The report as JSON values."""
        return encode_object(self)


@dataclass(frozen=True, slots=True)
class _GoldSide:
    """One run: its case, and per question what it answered and scored."""

    case: ExplainedCase
    voter: str
    answers: Mapping[str, str | None]
    values: Mapping[str, float]
    texts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Vote:
    """One voter's answer to a question, and its accuracy."""

    answer: str
    accuracy: float


def doubts(runs: Sequence[RunReader], task: str | None = None) -> GoldReport:
    """Samples on which at least three models agree on another answer than gold.

    Raises: UsageError `usage.gold` for fewer than three different models, or runs of other tasks or splits.
    """
    cases = [case_of(run, ExplainOptions(task=task)) for run in runs]
    protocol = _check(cases)
    sides = [_answered(case) for case in cases]
    shared = [
        name
        for name, text in sides[0].texts.items()
        if all(side.texts.get(name) == text and name in side.values for side in sides)
    ]
    accuracy = _accuracies(sides, shared)
    entries = {facts.entry.sample_id: facts.entry for facts in cases[0].replies.facts}
    listed = []
    for name in shared:
        sample = entries[name].sample
        doubt = _doubt(name, _votes(name, sides, accuracy), max(2, len(sample.choices) or OPEN_OPTIONS))
        if doubt is not None:
            leading, share, posterior, votes = doubt
            named = {
                voter: " | ".join(sample.gold) if vote.answer == GOLD else vote.answer for voter, vote in votes.items()
            }
            listed.append(
                GoldDoubt(
                    id=name,
                    gold=sample.gold,
                    leading=leading,
                    votes=named,
                    share=share,
                    posterior=posterior,
                    categories=sample.categories,
                )
            )
    listed.sort(key=lambda doubt: (-doubt.posterior, -doubt.share, doubt.id))
    row = cases[0].row
    return GoldReport(
        task=cases[0].task.name,
        split=row.split,
        protocol=protocol,
        unit="points" if row.unit == "points" else "percent",
        n=len(shared),
        runs=tuple(_runs(sides, shared, {doubt.id for doubt in listed})),
        doubts=tuple(listed),
        verdict=(f"{how_many(len(listed), 'gold answer')} of {len(shared):,} look doubtful.", CAVEAT),
    )


def _check(cases: Sequence[ExplainedCase]) -> str:
    """The protocol that all runs are read with. Raises: UsageError `usage.gold`."""
    prints = [case.run.folder.manifest.config_fingerprint for case in cases]
    voters = {_voter(case.run.folder.manifest) for case in cases}
    same = [case.run.folder.run_id for case, print_ in zip(cases, prints, strict=True) if prints.count(print_) > 1]
    asked = {(case.task.name, case.row.split) for case in cases}
    if len(asked) > 1:
        raise _refused(
            "the runs are of different tasks or splits", "; ".join(f"{task} / {split}" for task, split in asked)
        )
    if same:
        raise _refused("runs have the same fingerprint", ", ".join(same))
    if len(voters) < FEWEST:
        message = f"check gold needs runs of three different models, got {len(voters)}"
        raise _refused(message, f"runs of one family count once: {', '.join(sorted(voters))}")
    return comparing_scorer(cases[0], None, None)[0].protocol


def _refused(message: str, why: str) -> UsageError:
    return UsageError("usage.gold", message, why=why, fix="kvl-eval check gold RUN_A RUN_B RUN_C")


def _voter(manifest: Manifest) -> str:
    """The model family where it has published results, else the weights, else the name."""
    system = own_system(manifest)
    if system is not None and not is_scripted(manifest):
        return system
    weights = manifest.model.others.get("weights_sha256")
    return f"weights {weights[:12]}" if isinstance(weights, str) else manifest.model.name


def _answered(case: ExplainedCase) -> _GoldSide:
    scorer, _ = comparing_scorer(case, None, None)
    verdicts = case.replies.verdicts(scorer)
    answers: dict[str, list[AnswerVerdict]] = {}
    texts = {}
    for facts in case.replies.facts:
        sample, made = facts.entry.sample, verdicts.get(facts.entry.key)
        texts[facts.entry.sample_id] = (sample.question, *sample.choices, "\0", *sample.gold)
        if made is not None and made.value is not None:
            answers.setdefault(facts.entry.sample_id, []).append(made)
    return _GoldSide(
        case,
        _voter(case.run.folder.manifest),
        {name: _majority([_answer(made) for made in several]) for name, several in answers.items()},
        {name: math.fsum(made.value or 0.0 for made in several) / len(several) for name, several in answers.items()},
        texts,
    )


def _answer(made: AnswerVerdict) -> str | None:
    """GOLD for a right answer, what was extracted from another one; None where nothing was."""
    if made.value is not None and made.value >= 1:
        return GOLD
    return None if made.extracted is None or made.verdict == "no_answer" else " ".join(str(made.extracted).split())


def _majority(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer, compared without case; None where two are equally frequent."""
    votes = Counter(answer.casefold() for answer in answers if answer is not None)
    leading = votes.most_common(2)
    if not leading or (len(leading) == 2 and leading[0][1] == leading[1][1]):
        return None
    return next(answer for answer in answers if answer is not None and answer.casefold() == leading[0][0])


def _accuracies(sides: Sequence[_GoldSide], shared: Sequence[str]) -> dict[str, float]:
    """{voter: mean score of its runs on the shared questions}."""
    scores: dict[str, list[float]] = {}
    for side in sides:
        scores.setdefault(side.voter, []).extend(side.values[name] for name in shared)
    return {voter: math.fsum(values) / max(1, len(values)) for voter, values in scores.items()}


def _votes(name: str, sides: Sequence[_GoldSide], accuracy: Mapping[str, float]) -> dict[str, _Vote]:
    votes = {}
    for voter in accuracy:
        answer = _majority([side.answers.get(name) for side in sides if side.voter == voter])
        if answer is not None:
            votes[voter] = _Vote(answer, accuracy[voter])
    return votes


def vote_weight(accuracy: float, options: int) -> float:
    """The log likelihood ratio of a vote: how much more often the right answer is given than a certain wrong one."""
    clipped = min(0.99, max(1 / options + 0.01, accuracy))
    return math.log(clipped * (options - 1) / (1 - clipped))


def _doubt(name: str, votes: dict[str, _Vote], options: int) -> tuple[str, float, float, dict[str, _Vote]] | None:
    """(leading answer, its share of the weight, posterior, votes) where the gold answer is doubtful."""
    weights: dict[str, float] = {}
    support: Counter[str] = Counter()
    for vote in votes.values():
        key = vote.answer.casefold()
        weights[key] = weights.get(key, 0.0) + vote_weight(vote.accuracy, options)
        support[key] += 1
    if not weights:
        return None
    leading = max(sorted(weights), key=lambda key: weights[key])
    share = weights[leading] / math.fsum(weights.values())
    if leading == GOLD or support[leading] < FEWEST or share < SHARE:
        return None
    odds = weights[leading] - weights.get(GOLD, 0.0)
    answer = next(vote.answer for vote in votes.values() if vote.answer.casefold() == leading)
    return answer, share, 1 / (1 + math.exp(-odds)), votes


def _runs(sides: Sequence[_GoldSide], shared: Sequence[str], listed: set[str]) -> Iterator[GoldRun]:
    for side in sides:
        folder = side.case.run.folder
        values = [side.values[name] for name in shared]
        others = [side.values[name] for name in shared if name not in listed]
        yield GoldRun(
            run=folder.run_id,
            path=str(folder.path),
            model=folder.manifest.model.name,
            voter=side.voter,
            score=math.fsum(values) / max(1, len(values)),
            score_without=math.fsum(others) / len(others) if others else None,
        )
