"""What became of each planned answer: the classes that pages count, each with a sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kvl_eval.scorers.answers.wordings import declines
from kvl_eval.store.records import Record, ScoreLine

ReplyOutcome = Literal[
    "correct",
    "partial",
    "wrong",
    "no_answer",
    "truncated",
    "refused",
    "not_scored",
    "failed",
    "pending",
]
OUTCOMES: tuple[ReplyOutcome, ...] = get_args(ReplyOutcome)
"""In the order of bars and tables."""
SIGNS: dict[ReplyOutcome, str] = {
    "correct": "✓",
    "partial": "◐",
    "wrong": "✗",
    "no_answer": "∅",
    "truncated": "✂",
    "refused": "⊘",
    "not_scored": "?",
    "failed": "!",
    "pending": "·",
}
CSS: dict[ReplyOutcome, str] = {"no_answer": "none", "truncated": "cut"}
"""Classes of the style sheet, where they differ from the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedReply:
    """One planned answer: what became of it, and how long it is, in tokens."""

    outcome: ReplyOutcome
    thinking: int
    answer: int


def outcome_of(record: Record | None, line: ScoreLine | None) -> ReplyOutcome:
    """The first class that applies; without a record the answer is pending."""
    if record is None:
        return "pending"
    if record.status != "ok":
        return "failed"
    if line is None or line.score is None:
        return "not_scored"
    if line.score >= 1:
        return "correct"
    if line.score > 0:
        return "partial"
    if record.finish_reason in ("length", "budget"):
        return "truncated"
    if declines(record.answer):
        return "refused"
    return "no_answer" if line.verdict == "no_answer" else "wrong"


def css_of(outcome: ReplyOutcome) -> str:
    """The class of an outcome in the style sheet."""
    return CSS.get(outcome, outcome)


def words_of(outcome: ReplyOutcome) -> str:
    """`no answer`."""
    return outcome.replace("_", " ")


def outcome_counts(replies: Sequence[CountedReply]) -> dict[ReplyOutcome, int]:
    """How many answers are in each class, of all classes in order."""
    counts = Counter(reply.outcome for reply in replies)
    return {outcome: counts[outcome] for outcome in OUTCOMES}
