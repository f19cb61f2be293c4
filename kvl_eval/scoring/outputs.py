"""Turn answers into scores: the stage between answering and reporting. Loads neither a model nor a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvl_eval.errors import KvlEvalError, UsageError
from kvl_eval.store.answers import Answer
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.types import MISSING, Extraction, Sample, Score, ScoreView

SCORER_ERROR = "scorer_error"  # how the reason of a score begins that a fault in a scorer cost
THOUGHT_UNCLOSED = "thought_unclosed"  # scores before 0.1.1 have `think_unclosed`
LONGEST_ANSWER = 100_000  # characters after the thought


@dataclass(frozen=True, slots=True)
class Item:
    """An answer to be scored; an `extraction` other than MISSING replaces the protocol's own."""

    sample: Sample
    answer: Answer
    extraction: Extraction = MISSING


def score_outputs(task: Task, protocol: str, items: Sequence[Item], view: ScoreView = "answer") -> list[Score]:
    """One score for each item, in order.

    Under `answer` a protocol sees the text after the thought (unless its own reader drops the thought), under `raw` the
    whole output. An unclosed thought (`thought_unclosed`, under `answer`) and more than 100,000 characters after the
    thought (`answer_too_long`) are `no_answer` under every protocol. A scorer that raises leaves that one sample
    `not_scored`.

    Raises: UsageError `task.score`, where an own task's `score` returns anything but a score.
    """
    rule = task.protocols[protocol]
    texts, refusals = [], []
    for item in items:
        text, refusal = visible(item.answer, view, rule.sees_raw)
        texts.append((item.sample, text, item.extraction))
        refusals.append(refusal)
    scores = [_scored(rule, *text) for text in texts] if rule.score_run is None else _scored_run(rule, texts)
    return [_refused(score, refusal) for score, refusal in zip(scores, refusals, strict=True)]


def score_so_far(task: Task, protocol: str, item: Item, view: ScoreView) -> Score | None:
    """The score of one answer while a run is in progress; None where an own task's `score` is at fault.

    That fault is an error once the run is scored, and no answer is lost by it.
    """
    try:
        return score_outputs(task, protocol, [item], view)[0]
    except UsageError:
        return None


def visible(answer: Answer, view: ScoreView, sees_raw: bool = False) -> tuple[str, str | None]:
    """What a protocol or a judge sees of an answer, and why it must not see it, or None."""
    if view == "answer" and answer.closed is False:
        return "", THOUGHT_UNCLOSED
    if len(answer.text) > LONGEST_ANSWER:
        return "", "answer_too_long"
    if view == "raw":
        return answer.raw, None
    return (answer.marked if sees_raw else answer.text), None


def _refused(score: Score, reason: str | None) -> Score:
    """`score`, made `no_answer` where its protocol was not shown the output; without gold it stays `not_scored`."""
    if reason is None or score.verdict == "not_scored":
        return score
    nothing = "" if score.extracted == "" else None  # protocols that compare whole answers compare an empty one
    return replace(score, value=0.0, verdict="no_answer", extracted=nothing, reason=reason)


def _scored(protocol: Protocol, sample: Sample, text: str, extraction: Extraction) -> Score:
    try:
        return protocol.score(sample, text, extraction)
    except UsageError:  # `task.score`: what an own task returns is no score
        raise
    except Exception as error:  # one sample's boundary: the others are scored, and this one says why
        return Score.not_scored(_fault(error))


def _scored_run(protocol: Protocol, texts: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
    assert protocol.score_run is not None
    try:
        return protocol.score_run(texts)
    except Exception as error:  # a draw depends on the whole run, so without it nothing is scored
        return [Score.not_scored(_fault(error)) for _ in texts]


def _fault(error: Exception) -> str:
    text = error.message if isinstance(error, KvlEvalError) else str(error)
    return f"{SCORER_ERROR}: {type(error).__name__}: {text[:200]}"
