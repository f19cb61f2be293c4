"""Turn answers into scores: the stage between answering and reporting. Loads neither a model nor a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.thinking import split_thinking
from kvl_eval.types import Extraction, Sample, Score

SCORER_ERROR = "scorer_error"  # how the reason of a score begins that a fault in a scorer cost
LONGEST_ANSWER = 100_000  # characters after the thought

Item = tuple[Sample, str, Extraction]
Thinking = Literal["split", "raw"]


def score_outputs(task: Task, protocol: str, items: Sequence[Item], *, thinking: Thinking = "split") -> list[Score]:
    """One score for each (sample, raw output, extraction), in order.

    With `split` a protocol sees the text after the thought (unless its own reader drops the thought), with `raw` the
    whole output. An unclosed thought (`think_unclosed`, under `split`) and more than 100,000 characters after the
    thought (`answer_too_long`) are `no_answer` under every protocol. A scorer that raises leaves that one sample
    `not_scored`.
    """
    chosen = task.protocols[protocol]
    seen: list[Item] = []
    refused: list[str | None] = []
    for sample, raw, extraction in items:
        text, reason = visible(raw, thinking, chosen.sees_raw)
        seen.append((sample, "" if reason else text, extraction))
        refused.append(reason)
    scores = [_scored(chosen, item) for item in seen] if chosen.score_run is None else _scored_run(chosen, seen)
    return [_refused(score, reason) for score, reason in zip(scores, refused, strict=True)]


def _refused(score: Score, reason: str | None) -> Score:
    """`score`, made `no_answer` where its protocol was not shown the output; without gold it stays `not_scored`."""
    if reason is None or score.verdict == "not_scored":
        return score
    nothing = "" if score.extracted == "" else None  # protocols that compare whole answers compare an empty one
    return replace(score, value=0.0, verdict="no_answer", extracted=nothing, reason=reason)


def visible(raw: str, thinking: Thinking, sees_raw: bool = False) -> tuple[str, str | None]:
    """What a protocol or a judge sees of an output, and why it must not see it, or None."""
    split = split_thinking(raw)
    if thinking == "split" and split.closed is False:
        return "", "think_unclosed"
    if len(split.answer) > LONGEST_ANSWER:
        return "", "answer_too_long"
    return (raw if thinking == "raw" or sees_raw else split.answer), None


def _scored(protocol: Protocol, item: Item) -> Score:
    try:
        return protocol.score(*item)
    except Exception as error:  # one sample's boundary: the others are scored, and this one says why
        return Score.not_scored(_fault(error))


def _scored_run(protocol: Protocol, items: Sequence[Item]) -> list[Score]:
    assert protocol.score_run is not None
    try:
        return protocol.score_run(items)
    except Exception as error:  # a draw depends on the whole run, so without it nothing is scored
        return [Score.not_scored(_fault(error)) for _ in items]


def _fault(error: Exception) -> str:
    return f"{SCORER_ERROR}: {type(error).__name__}: {str(error)[:200]}"
