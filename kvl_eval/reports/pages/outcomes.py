"""What became of each planned answer: the classes that pages count, each with a sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.scorers.outcomes import AnswerOutcome, answer_outcome
from kvl_eval.store.answers import answer_of
from kvl_eval.store.records import Record, ScoreLine

SIGNS: dict[AnswerOutcome, str] = {
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
"""{outcome: its sign}, in the order of bars and tables."""
CSS: dict[AnswerOutcome, str] = {"no_answer": "none", "truncated": "cut"}
"""Classes of the style sheet, where they differ from the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedReply:
    """One planned answer: what became of it, and how long it is, in tokens."""

    outcome: AnswerOutcome
    thinking: int
    answer: int


def reply_outcome(record: Record | None, line: ScoreLine | None) -> AnswerOutcome:
    """What became of a planned answer; without a record it is pending."""
    if record is None:
        return "pending"
    if record.status != "ok":
        return "failed"
    if line is None:
        return "not_scored"
    return answer_outcome(line.verdict, record.finish_reason, answer_of(record, "answer").text)


def css_of(outcome: AnswerOutcome) -> str:
    """The class of an outcome in the style sheet."""
    return CSS.get(outcome, outcome)


def words_of(outcome: AnswerOutcome) -> str:
    """`no answer`."""
    return outcome.replace("_", " ")


def outcome_counts(replies: Sequence[CountedReply]) -> dict[AnswerOutcome, int]:
    """How many answers are in each class, of all classes in order."""
    counts = Counter(reply.outcome for reply in replies)
    return {outcome: counts[outcome] for outcome in SIGNS}
