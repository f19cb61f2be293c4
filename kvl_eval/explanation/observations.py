"""Facts about the answers of a run that may explain a score, without points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from kvl_eval.decode import Json
from kvl_eval.explanation.document import ExplainedReference, Observation
from kvl_eval.explanation.reading import AnswerFacts, Scorer, TaskReplies, Verdicts
from kvl_eval.explanation.references import GapTarget
from kvl_eval.types import MediaInfo

MANY = 0.2  # share of questions with one reply above which there is an observation
FEW = 3  # ids of samples that a line names


def observations(
    replies: TaskReplies, target: GapTarget | None, reference: ExplainedReference | None, own: Scorer
) -> tuple[Observation, ...]:
    """Everything that can be said, in a fixed order."""
    answered = [facts for facts in replies.facts if facts.status == "ok"]
    verdicts = replies.verdicts(own)
    facts = (
        *_format(answered, verdicts),
        *_images(answered),
        *_tokens(answered),
        *_context(answered),
        *_repeats(answered, verdicts),
        *_tags(answered),
        *_duplicates(answered),
        *_chance(answered, verdicts),
        *_data(replies),
        *_feasible(target, reference),
    )
    return facts


def _format(answered: Sequence[AnswerFacts], verdicts: Verdicts) -> Iterator[Observation]:
    asked = [facts for facts in answered if facts.followed is not None]
    if not asked:
        return
    against = [facts for facts in asked if not facts.followed]
    with_form, without = (_mean(group, verdicts) for group in ([f for f in asked if f.followed], against))
    share = 1 - len(against) / len(asked)
    names = [facts.entry.sample_id for facts in against[:FEW]]
    values: dict[str, Json] = {"share": share, "score_with": with_form, "score_without": without}
    values |= {"n": len(asked), "violations": [*names]}
    scores = ""
    if with_form is not None and without is not None:
        scores = f", score {_percent(with_form)} with and {_percent(without)} without"
    yield Observation(
        name="format",
        text=f"{_percent(share)} % of the answers have the form that the prompt asks for{scores}",
        values=values,
    )


def _images(answered: Sequence[AnswerFacts]) -> Iterator[Observation]:
    factors = [_shrunk(medium) for facts in answered for medium in facts.media if medium.w * medium.h]
    if not factors:
        return
    shrunk = sorted(factor for factor in factors if factor < 1)
    values: dict[str, Json] = {"images": len(factors), "shrunk": len(shrunk)}
    if not shrunk:
        yield Observation(name="images", text="no image was shrunk", values=values)
        return
    values["median_factor"] = middle = shrunk[len(shrunk) // 2]
    share = _percent(len(shrunk) / len(factors))
    text = f"{share} % of the images were shrunk, by a median factor of {middle:.2f} per side"
    yield Observation(name="images", text=text, values=values)


def _shrunk(medium: MediaInfo) -> float:
    """The size that the model saw over the size in the file, per side; 1 where it was not shrunk."""
    width, height = medium.resized_to if medium.pre_shrunk is None else min(medium.resized_to, medium.pre_shrunk)
    seen = width * height
    return min(1.0, math.sqrt(seen / (medium.w * medium.h))) if seen else 1.0


def _tokens(answered: Sequence[AnswerFacts]) -> Iterator[Observation]:
    if not answered:
        return
    ended = sum(facts.is_truncated or facts.is_unclosed for facts in answered)
    values: dict[str, Json] = {"at_the_limit": ended}
    texts = []
    for name, counts in (
        ("thought", sorted(facts.thought_tokens for facts in answered if facts.thought_tokens)),
        ("answer", sorted(facts.answer_tokens for facts in answered)),
    ):
        if counts:
            median, most = counts[len(counts) // 2], counts[min(len(counts) - 1, math.ceil(0.95 * len(counts)))]
            values[name] = {"median": median, "p95": most}
            texts.append(f"{name} {median:,} tokens (95 % below {most:,})")
    yield Observation(name="tokens", text=f"{', '.join(texts)}; {ended:,} replies at the limit", values=values)


def _context(answered: Sequence[AnswerFacts]) -> Iterator[Observation]:
    """Prompts whose images were made smaller so that they fit."""
    reduced = [facts for facts in answered if any(medium.limit is not None for medium in facts.media)]
    if reduced:
        longest = max(facts.prompt_tokens for facts in answered)
        text = (
            f"images of {len(reduced):,} prompts were made smaller to fit the context; "
            f"the longest prompt has {longest:,} tokens"
        )
        values: dict[str, Json] = {"n": len(reduced), "longest_prompt": longest}
        yield Observation(name="context", text=text, values=values)


def _data(replies: TaskReplies) -> Iterator[Observation]:
    """Rows and fingerprint of the data, beside the published size."""
    task, data = replies.task, replies.run.folder.manifest.data.get(replies.task.name)
    if data is None:
        return
    split = task.splits.get(task.published_split)
    published = None if split is None or task.reference is None else split.rows
    text = f"{data.n:,} samples planned" + (f" of {data.total:,}" if data.total not in (None, data.n) else "")
    text += f", published with {published:,}" if published is not None else ""
    text += f", version {data.version}" if data.version else ""
    text += f", fingerprint {data.fingerprint[:12]}" if data.fingerprint else ""
    text += f"; {data.other_data}" if data.other_data else ""
    values: dict[str, Json] = {"n": data.n, "total": data.total, "published": published, "version": data.version}
    yield Observation(name="data", text=text, values={**values, "fingerprint": data.fingerprint})


def _repeats(answered: Sequence[AnswerFacts], verdicts: Verdicts) -> Iterator[Observation]:
    by_question: dict[str, set[float | None]] = {}
    times: Counter[str] = Counter()
    for facts in answered:
        made = verdicts.get(facts.entry.key)
        by_question.setdefault(facts.entry.sample_id, set()).add(None if made is None else made.value)
        times[facts.entry.sample_id] += 1
    repeated = [name for name, n in times.items() if n > 1]
    if repeated:
        differ = sum(len(by_question[name]) > 1 for name in repeated)
        share = differ / len(repeated)
        text = f"repeats of one question disagree on {_percent(share)} % of the questions"
        yield Observation(name="repeats", text=text, values={"questions": len(repeated), "disagree": differ})


def _tags(answered: Sequence[AnswerFacts]) -> Iterator[Observation]:
    tagged = [facts.entry.sample_id for facts in answered if facts.has_tags]
    if tagged:
        text = f"{len(tagged):,} answers contain thought tags that were not split off"
        yield Observation(name="thought_tags", text=text, values={"n": len(tagged), "samples": [*tagged[:FEW]]})


def _duplicates(answered: Sequence[AnswerFacts]) -> Iterator[Observation]:
    replies = Counter(facts.reply for facts in answered if len(facts.entry.sample.choices) == 0)
    most = replies.most_common(1)
    if most and most[0][1] > max(1, MANY * len(answered)):
        share = most[0][1] / len(answered)
        text = f"one reply was given to {_percent(share)} % of the questions"
        yield Observation(name="duplicates", text=text, values={"n": most[0][1], "share": share})


def _chance(answered: Sequence[AnswerFacts], verdicts: Verdicts) -> Iterator[Observation]:
    choice = [facts for facts in answered if len(facts.entry.sample.choices) > 1]
    score = _mean(choice, verdicts)
    if score is None:
        return
    chance = float(sum(Fraction(1, len(facts.entry.sample.choices)) for facts in choice) / len(choice))
    text = f"choice questions: {_percent(score)}, guessing would give {_percent(chance)}"
    if score < chance:
        text += "; below chance points to how answers are extracted, not to the model"
    yield Observation(name="chance", text=text, values={"n": len(choice), "score": score, "chance": chance})


def _feasible(target: GapTarget | None, reference: ExplainedReference | None) -> Iterator[Observation]:
    if target is not None and reference is not None and reference.feasible is False:
        text = (
            f"{target.printed} cannot be a share of {reference.n:,} questions: "
            "a mean of several runs, another subset, or another n"
        )
        yield Observation(name="feasible", text=text, values={"printed": target.printed, "n": reference.n})


def _mean(group: Sequence[AnswerFacts], verdicts: Verdicts) -> float | None:
    made = (verdicts.get(facts.entry.key) for facts in group)
    values = [verdict.value for verdict in made if verdict is not None and verdict.value is not None]
    return math.fsum(values) / len(values) if values else None


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
