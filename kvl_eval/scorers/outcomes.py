"""What became of a planned answer, in one word: what reports count and filter by. It never changes a score."""

from __future__ import annotations

from typing import Literal, get_args

from kvl_eval.types import FinishReason, Verdict

AnswerOutcome = Literal[
    "pending", "failed", "not_scored", "correct", "partial", "truncated", "refused", "no_answer", "wrong"
]
OUTCOMES: tuple[AnswerOutcome, ...] = get_args(AnswerOutcome)
"""In the order in which the first that applies is taken."""

LONGEST = 100_000  # characters of an answer; of a longer one no protocol reads anything
TRUNCATED: tuple[FinishReason, ...] = ("length", "budget")
SETTLED: tuple[Verdict, ...] = ("not_scored", "correct", "partial")


def answer_outcome(verdict: Verdict, finish_reason: FinishReason, answer: str) -> AnswerOutcome:
    """The outcome of a reply that was obtained.

    Args:
        verdict: what a protocol made of it.
        answer:  what follows its thought; "" where the thought did not end.
    """
    if verdict in SETTLED:
        return verdict
    if finish_reason in TRUNCATED:
        return "truncated"
    from kvl_eval.scorers.answers.refusal import refused

    return "refused" if len(answer) <= LONGEST and refused(answer) else verdict
