"""What a task's page shows of one result: sub-scores, verdicts, failed extractions, lengths, protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.reports import numbers
from kvl_eval.reports.heatmap import Heatmap, Parts, heatmap_of, parts_of
from kvl_eval.reports.runs import (
    ReportRun,
    beside_rows,
    blind_score,
    protocol_rows,
    results_of,
    scores_of,
    task_names,
    task_of,
)
from kvl_eval.reports.table import ProtocolView, find_flips
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow
from kvl_eval.types import Interval

VERDICTS = ("correct", "partial", "wrong", "no_answer", "not_scored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many outputs have how many tokens: bins double in width; `bins` is (label, count) in order."""

    name: str
    bins: tuple[tuple[str, int], ...]
    median: int
    p95: int

    @property
    def highest(self) -> int:
        """Count of the fullest bin."""
        return max(count for _, count in self.bins)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """One result of a task.

    Attributes:
        verdicts:   (verdict, count) of all that occur.
        unread:     (reason, count) of answers from which nothing was extracted, most frequent first.
        categories: {field: rows of (value, n, score, interval or None)}.
        lengths:    histograms of thinking and answer tokens, where there are any.
        protocols:  the same answers under each protocol, the default first.
        heatmap:    scores by two categories at once, for tasks that name them.
        beside:     the same answers under the protocols that the task shows beside its default one.
        parts:      scores by the category that figures were published by, each beside its figure.
    """

    run: ReportRun
    row: ResultRow
    verdicts: tuple[tuple[str, int], ...]
    unread: tuple[tuple[str, int], ...]
    categories: Mapping[str, Sequence[tuple[str, int, float, Interval | None]]]
    lengths: tuple[Histogram, ...]
    protocols: tuple[ProtocolView, ...]
    blind: float | None
    heatmap: Heatmap | None = None
    parts: Parts | None = None
    beside: tuple[ResultRow, ...] = ()


Sections = Mapping[str, Sequence[TaskSection]]
"""{task: its results}."""


def task_sections(runs: Sequence[ReportRun]) -> dict[str, list[TaskSection]]:
    """All results of each task, run by run."""
    return {task: [_section(runs, run, row) for run, row in results_of(runs, task)] for task in task_names(runs)}


def _section(runs: Sequence[ReportRun], run: ReportRun, row: ResultRow) -> TaskSection:
    scores = _lines(run, row)
    unread = Counter(line.reason or "no reason given" for line in scores if line.verdict == "no_answer")
    return TaskSection(
        run=run,
        row=row,
        verdicts=tuple((verdict, n) for verdict in VERDICTS if (n := row.verdicts.get(verdict))),
        unread=tuple(unread.most_common()),
        categories={
            field: [(value, part.n, part.score, part.ci95) for value, part in values.items()]
            for field, values in row.categories.items()
        },
        lengths=_lengths(run, row),
        protocols=protocol_views(run, row, scores),
        blind=blind_score(runs, run, row),
        heatmap=heatmap_of(run, row, scores),
        parts=parts_of(row),
        beside=tuple(beside_rows(run, row)),
    )


def protocol_views(
    run: ReportRun, row: ResultRow, scores: Sequence[ScoreLine] | None = None
) -> tuple[ProtocolView, ...]:
    """The stored answers of one result under each protocol it was scored with, that of `row` first.

    `scores` are the lines of `row`'s own protocol, if they were read already.
    """
    rows = protocol_rows(run, row)
    if len(rows) == 1:
        return (ProtocolView(row=row, flips=()),)
    default = _lines(run, row) if scores is None else scores
    return tuple(
        ProtocolView(
            row=other,
            flips=() if other is row else find_flips(default, _lines(run, other)),
            unjudged=_unjudged(other),
        )
        for other in rows
    )


def _unjudged(row: ResultRow) -> int:
    """Answers that are not scored because no judge was asked."""
    task = task_of(row)
    protocol = None if task is None else task.protocols.get(row.protocol)
    if protocol is None or row.judge is not None:
        return 0
    is_as_judged = protocol.judged == (protocol.label or row.protocol)  # then no rule stands in for the judge
    waits = protocol.needs_judge or (bool(protocol.judged) and (is_as_judged or not row.n_scored))
    return row.verdicts.get("not_scored", 0) if waits else 0


def _lines(run: ReportRun, row: ResultRow) -> list[ScoreLine]:
    """The lines of `scores/` behind a result."""
    lines = run.folder.scores(row.task, scores_of(row))
    return [line for line in lines if (line.budget, line.policy) == (row.budget, row.policy)]


def _lengths(run: ReportRun, row: ResultRow) -> tuple[Histogram, ...]:
    thinking, answer = [], []
    for record in run.folder.records(row.task):
        if record.status == "ok" and (record.budget, record.policy) == (row.budget, row.policy):
            thinking.append(record.tokens.thinking)
            answer.append(record.tokens.answer)
    counts = {"thinking": thinking, "answer": answer}
    return tuple(histogram(name, values) for name, values in counts.items() if any(values))


def histogram(name: str, values: Sequence[int]) -> Histogram:
    """Token counts in bins 0, 1, 2-3, 4-7, ... without empty ones at the ends. Raises ValueError for no values."""
    if not values:
        raise ValueError("histogram() needs at least one value")
    counts = Counter(value.bit_length() for value in values)
    ordered = sorted(values)
    bins = tuple((_bin(bits), counts[bits]) for bits in range(min(counts), max(counts) + 1))
    median, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95))
    return Histogram(name=name, bins=bins, median=median, p95=p95)


def _bin(bits: int) -> str:
    low, high = (1 << bits) >> 1, (1 << bits) - 1
    return numbers.plain(f"{low:,}" if low == high else f"{low:,}–{high:,}")
