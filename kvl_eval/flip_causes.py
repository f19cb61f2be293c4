"""Why two replies to one question were scored differently, as far as the records show: the one rule for all views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kvl_eval.store.records import Record, ScoreLine

FlipCause = Literal["truncated", "unclosed", "no_answer", "extraction", "content"]
CAUSES: tuple[FlipCause, ...] = get_args(FlipCause)
"""In the order in which the rules are applied; `content` is what none of them explains."""
RIGHT = 0.5  # score from which a reply counts as right in a list of flips


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """What the rules ask of one reply.

    Attributes:
        truncated:    whether it ended at a limit outside its thought.
        unclosed:     whether its thought never ended.
        no_answer:    whether nothing was extracted.
        text:         everything the model wrote.
        reader_score: its score under the protocol that reads the form its prompt asks for; None where that is not
                      known.
    """

    truncated: bool
    unclosed: bool
    no_answer: bool
    text: str
    reader_score: float | None = None


def reply_facts(record: Record, line: ScoreLine, reader: ScoreLine | None = None) -> ReplyFacts:
    """The facts of one scored reply; `reader` is its line under the protocol `reader`, where that was applied."""
    unclosed = record.think_closed is False
    return ReplyFacts(
        truncated=record.finish_reason in ("length", "budget") and not unclosed,
        unclosed=unclosed,
        no_answer=line.verdict == "no_answer",
        text=record.raw_output,
        reader_score=None if reader is None else reader.score,
    )


def flip_cause(losing: ReplyFacts, winning: ReplyFacts) -> FlipCause:
    """The first rule that fits; what happened to the losing reply comes before what happened to the winning one."""
    for reply, other in ((losing, winning), (winning, losing)):
        if reply.truncated and not other.truncated:
            return "truncated"
        if reply.unclosed and not other.unclosed:
            return "unclosed"
        if reply.no_answer and not other.no_answer:
            return "no_answer"
        if reply is losing and (reply.text == other.text or (reply.reader_score or 0.0) >= RIGHT):
            return "extraction"
    return "content"
