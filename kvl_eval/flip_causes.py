"""Why two replies to one question were scored differently, as far as the records show: the one rule for all views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal, NamedTuple, get_args

from kvl_eval.store.records import Record, ScoreLine

FlipCause = Literal["truncated", "unclosed", "no_answer", "extraction", "content"]
CAUSES: tuple[FlipCause, ...] = get_args(FlipCause)
"""In the order in which the rules are applied; `content` is what none of them explains."""
READER = "reader"  # the protocol that reads the form a prompt asks for
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


@dataclass(frozen=True, slots=True)
class ChangedReply:
    """A reply whose score differs from that of another side, with its lines under the protocol and under `reader`."""

    record: Record
    line: ScoreLine
    reader: ScoreLine | None = None


class ScoreChange(NamedTuple):
    """An answer that two sides were scored differently on, by sample and repeat, and why."""

    key: tuple[str, int]
    before: float
    after: float
    cause: FlipCause

    @property
    def winner(self) -> Literal["a", "b", ""]:
        """The side that alone is right, if one is."""
        if (self.before >= RIGHT) == (self.after >= RIGHT):
            return ""
        return "a" if self.before >= RIGHT else "b"


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseSum:
    """What one cause adds to the difference of two sides, B minus A.

    Attributes:
        value:   a fraction; those of all causes add up to the difference.
        only_a:  answers that A alone got right; `only_b` B alone.
        changed: answers whose scores differ.
    """

    cause: FlipCause
    value: float
    only_a: int
    only_b: int
    changed: int


def score_pairs(
    a: Mapping[tuple[str, int], ScoreLine], b: Mapping[tuple[str, int], ScoreLine], changed: frozenset[str]
) -> dict[tuple[str, int], tuple[float, float]]:
    """The scores of what both sides have scored, without samples whose question was `changed`."""
    return {
        key: (float(line.score), float(other.score))
        for key, line in a.items()
        if key[0] not in changed and (other := b.get(key)) is not None
        if line.score is not None and other.score is not None
    }


def score_changes(
    pairs: Mapping[tuple[str, int], tuple[float, float]],
    a: Mapping[tuple[str, int], ChangedReply],
    b: Mapping[tuple[str, int], ChangedReply],
) -> list[ScoreChange]:
    """The answers whose scores differ, as far as both replies are there."""
    return [
        ScoreChange(key, before, after, _cause_of(a[key], b[key], before < after))
        for key, (before, after) in pairs.items()
        if before != after and key in a and key in b
    ]


def _cause_of(a: ChangedReply, b: ChangedReply, a_loses: bool) -> FlipCause:
    facts = [reply_facts(reply.record, reply.line, reply.reader) for reply in (a, b)]
    losing, winning = facts if a_loses else reversed(facts)
    return flip_cause(losing, winning)


def cause_sums(changes: Sequence[ScoreChange], n: int) -> list[CauseSum]:
    """What each cause adds to the mean difference of `n` pairs, in order; those without a change are left out."""
    groups = {cause: [change for change in changes if change.cause == cause] for cause in CAUSES}
    return [
        CauseSum(
            cause=cause,
            value=fsum(change.after - change.before for change in group) / n,
            only_a=sum(change.winner == "a" for change in group),
            only_b=sum(change.winner == "b" for change in group),
            changed=len(group),
        )
        for cause, group in groups.items()
        if group
    ]
