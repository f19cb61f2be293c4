"""Samples that two models were scored differently on, by what made the difference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from kvl_eval.flip_causes import (
    READER,
    CauseSum,
    ChangedReply,
    FlipCause,
    ScoreChange,
    cause_sums,
    score_changes,
    score_pairs,
)
from kvl_eval.paired import SampleKey
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.outcomes import SIGNS, css_of, reply_outcome, words_of
from kvl_eval.reports.pages.score_book import ScoreBook, SeriesResult
from kvl_eval.reports.table import short
from kvl_eval.scorers.statistics import Z95, stderr_clustered
from kvl_eval.store.records import PlanEntry, Record
from kvl_eval.verdicts import signed

SHOWN = 20  # flips of one cause on the page
LONGEST = 1200  # characters of a reply on the page
SHA256 = re.compile(r"[0-9a-f]{64}")
CAUSE_WORDS: dict[FlipCause, tuple[str, str]] = {
    "truncated": ("Truncation", "one reply ended at its token limit"),
    "unclosed": ("Unclosed thought", "the thought of one reply never ended"),
    "no_answer": ("No answer found", "one reply has no extracted answer"),
    "extraction": ("Extraction", "the same reply, or the same answer, was read differently"),
    "content": ("Content", "both have an extracted answer; perception, reasoning or knowledge differ"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedReply:
    """One model's reply to a flipped sample."""

    result: SeriesResult
    css: str
    sign: str
    words: str
    text: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample that one of two models alone got right; `image` is the name of its small copy."""

    sample_id: str
    link: str
    question: str
    gold: str
    sides: tuple[FlippedReply, FlippedReply]
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseLine:
    """One cause: flips that A or B alone got right, and the points it makes, B minus A.

    `samples` are the ids of all whose scores it changed, `tag` what the sample browser calls it.
    """

    cause: FlipCause
    name: str
    what: str
    only_a: int
    only_b: int
    changed: int
    points: float
    net: str
    drawn: Markup
    flips: tuple[Flip, ...]
    samples: tuple[str, ...]
    tag: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTable:
    """All causes of one task of one pair.

    Attributes:
        label: what pages call the task.
        flips: samples that one of the two alone got right.
        words: what content leaves of the difference.
    """

    task: str
    label: str
    flips: int
    words: str
    lines: tuple[CauseLine, ...]


class CauseNames(NamedTuple):
    """What pages call a task, and the sample browser the pair; empty where there is no other pair."""

    task: str
    pair: str = ""

    def tag(self, cause: FlipCause) -> str:
        """What the sample browser calls a cause."""
        return f"{self.pair}: {cause}" if self.pair else cause


class _FlipSide(NamedTuple):
    result: SeriesResult
    replies: Mapping[SampleKey, ChangedReply]


def changed_samples(a: SeriesResult, b: SeriesResult, book: ScoreBook) -> tuple[str, ...]:
    """Ids of the samples whose scores differ."""
    pairs = score_pairs(book.lines(a.series.run, a.row), book.lines(b.series.run, b.row), book.changed(a, b))
    return tuple(dict.fromkeys(key[0] for key, (before, after) in pairs.items() if before != after))


def cause_table(
    a: SeriesResult, b: SeriesResult, book: ScoreBook, names: CauseNames, with_flips: bool
) -> CauseTable | None:
    """Why B differs from A on a task; None where nothing is scored in both.

    `with_flips` lists the flips themselves, at most `SHOWN` of each cause.
    """
    changed = book.changed(a, b)
    lines = book.lines(a.series.run, a.row), book.lines(b.series.run, b.row)
    scores = score_pairs(*lines, changed)
    if not scores:
        return None
    moved = [key for key, (before, after) in scores.items() if before != after]
    left, right = (_side(result, moved, book) for result in (a, b))
    changes = score_changes(scores, left.replies, right.replies)
    questions = {entry.sample_id: entry for entry in b.series.run.plan(b.row.task)} if with_flips else {}
    sums = cause_sums(changes, len(scores))
    most = max((total.changed for total in sums), default=1)
    members = {total.cause: [change for change in changes if change.cause == total.cause] for total in sums}
    rows = tuple(_line(total, members[total.cause], (left, right), _Drawing(names, questions, most)) for total in sums)
    return CauseTable(
        task=a.row.task,
        label=names.task,
        flips=sum(line.only_a + line.only_b for line in rows),
        words=_content_words(scores, changes, [lines[0][key].cluster for key in scores]),
        lines=rows,
    )


def _side(result: SeriesResult, keys: Sequence[SampleKey], book: ScoreBook) -> _FlipSide:
    run, row = result.series.run, result.row
    lines = book.lines(run, row)
    reader = {
        (line.sample_id, line.repeat): line
        for line in run.scores(row.task, READER)
        if (line.budget, line.policy) == (row.budget, row.policy)
    }
    records = book.records(result, keys)
    return _FlipSide(
        result, {key: ChangedReply(record, lines[key], reader.get(key)) for key, record in records.items()}
    )


class _Drawing(NamedTuple):
    """What the lines of a table share: names, questions (none where flips are not shown), the largest count."""

    names: CauseNames
    questions: Mapping[str, PlanEntry]
    most: int


def _line(
    total: CauseSum, changes: Sequence[ScoreChange], sides: tuple[_FlipSide, _FlipSide], drawing: _Drawing
) -> CauseLine:
    name, what = CAUSE_WORDS[total.cause]
    names = [side.result.series.name for side in sides]
    words = f"{name}: only {names[0]} right {total.only_a}, only {names[1]} right {total.only_b}"
    flips = [change for change in changes if change.winner] if drawing.questions else []
    tag = drawing.names.tag(total.cause)
    return CauseLine(
        cause=total.cause,
        name=name,
        what=what,
        only_a=total.only_a,
        only_b=total.only_b,
        changed=total.changed,
        points=100 * total.value,
        net=signed(total.value),
        drawn=charts.two_sided(total.only_a, total.only_b, drawing.most, words),
        flips=tuple(_flip(change.key, sides, drawing.questions) for change in flips[:SHOWN]),
        samples=tuple(dict.fromkeys(change.key[0] for change in changes)),
        tag=tag,
        link=filtered_address(task=sides[0].result.row.task, cause=tag),
    )


def _flip(key: SampleKey, sides: tuple[_FlipSide, _FlipSide], questions: Mapping[str, PlanEntry]) -> Flip:
    entry, row = questions.get(key[0]), sides[1].result.row
    gold = () if entry is None else entry.sample.gold
    return Flip(
        sample_id=plain(key[0]),
        link=filtered_address(task=row.task, id=key[0], run=sides[1].result.series.number),
        question="" if entry is None else _cut(entry.sample.question),
        gold=short(" | ".join(map(str, gold)), 120),
        sides=(_flip_side(sides[0], key), _flip_side(sides[1], key)),
        image=_image_name(sides[1].replies[key].record),
    )


def _flip_side(side: _FlipSide, key: SampleKey) -> FlippedReply:
    record, line = side.replies[key].record, side.replies[key].line
    outcome = reply_outcome(record, line)
    method = f" ({plain(line.extract_method)})" if line.extract_method else ""
    reason = "" if line.reason in (None, "none") else plain(line.reason or "").replace("_", " ")
    note = f"extracted {short(line.extracted, 80)}{method}" if line.extract_ok else reason or "nothing extracted"
    return FlippedReply(
        result=side.result,
        css=css_of(outcome),
        sign=SIGNS[outcome],
        words=words_of(outcome),
        text=_cut(record.answer) or "empty reply",
        note=note,
    )


def _cut(text: str) -> str:
    return plain(text if len(text) <= LONGEST else f"{text[:LONGEST]}…", keep="\n\t")


def _content_words(
    scores: Mapping[SampleKey, tuple[float, float]], changes: Sequence[ScoreChange], clusters: Sequence[str | None]
) -> str:
    """How much of the difference is content, with a 95 % interval of its own."""
    content = {change.key: change.after - change.before for change in changes if change.cause == "content"}
    total = sum(change.after - change.before for change in changes) / len(scores)
    rest = sum(content.values()) / len(scores)
    names = "truncation, unclosed thoughts, missing answers"
    half = Z95 * (stderr_clustered([content.get(key, 0.0) for key in scores], clusters) or 0.0)
    interval = f"[{signed(rest - half)}, {signed(rest + half)}]"
    if len(content) == len(changes):
        return f"The {signed(total)} points {interval} are content: none come from {names} or extraction."
    return (
        f"Of the {signed(total)} points, {signed(total - rest)} come from {names} and extraction; "
        f"what is left to content is {signed(rest)} {interval}."
    )


def _image_name(record: Record) -> str:
    """Name of the small copy of the first image; empty where there is none."""
    shas = [medium.sha256 for medium in record.media if medium.kind == "image" and SHA256.fullmatch(medium.sha256)]
    return shas[0] if shas else ""
