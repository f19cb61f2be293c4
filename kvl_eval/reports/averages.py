"""Published results that are not one to one with tasks: a mean of two sets (MMMU-Pro), results by length (needles)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kvl_eval.references import MEAN_NOTE, ReferenceScore
from kvl_eval.store.result_records import PublishedRow, ResultRow
from kvl_eval.types import Interval


def mean_result(rows: Sequence[ResultRow], wanted: ReferenceScore) -> ResultRow:
    """The unweighted mean of results of several tasks, with the interval of a mean of independent scores.

    Its parts' reasons not to compare are its own, but for the one that each alone is only a part of the figure.
    """
    known = [row.score for row in rows if row.score is not None]
    score = math.fsum(known) / len(known) if len(known) == len(rows) else None
    spread = math.sqrt(math.fsum(_spread(row) ** 2 for row in rows)) / len(rows)
    return replace(
        rows[0],
        n_planned=sum(row.n_planned for row in rows),
        n_ok=sum(row.n_ok for row in rows),
        n_failed=sum(row.n_failed for row in rows),
        n_pending=sum(row.n_pending for row in rows),
        n_scored=sum(row.n_scored for row in rows),
        score=score,
        ci95=None if score is None else (max(0.0, score - spread), min(1.0, score + spread)),
        complete=all(row.complete for row in rows),
        partial=next((row.partial for row in rows if row.partial), None),
        reference=_published(rows, wanted, score, spread),
    )


def _published(rows: Sequence[ResultRow], wanted: ReferenceScore, score: float | None, spread: float) -> PublishedRow:
    """The figure beside the mean, `spread` being half the width of its interval."""
    notes = [row.reference.note for row in rows if row.reference is not None and row.reference.note]
    note = next((note for note in notes if not note.startswith(MEAN_NOTE)), None)
    comparable = note is None and score is not None
    first = rows[0].reference
    return PublishedRow(
        system=wanted.system if first is None else first.system,
        value=wanted.value,
        unit=wanted.unit if first is None else first.unit,
        source=wanted.source if first is None else first.source,
        table=wanted.table if first is None else first.table,
        delta=score - wanted.value if comparable and score is not None else None,
        inside_ci=_inside(wanted.value, score, spread) if comparable and score is not None else None,
        gap_ci95=_gap(wanted.value - score, spread) if comparable and score is not None else None,
        note=note,
    )


def _gap(gap: float, spread: float) -> Interval:
    """The interval of a difference of two means whose intervals are equally wide."""
    return gap - math.sqrt(2) * spread, gap + math.sqrt(2) * spread


def _inside(value: float, score: float, spread: float) -> bool:
    return max(0.0, score - spread) <= value <= min(1.0, score + spread)


def part_result(row: ResultRow, by: str, wanted: ReferenceScore) -> ResultRow | None:
    """What a result says of the one value of a category that a figure was published for; None where it has none.

    It carries no difference: such figures, one for each value, are shown side by side.
    """
    values = row.categories.get(by) or {}
    part = next((part for value, part in values.items() if wanted.setting == f"{by}={value}"), None)
    if part is None:
        return None
    return replace(row, n_planned=part.n, n_scored=part.n, score=part.score, ci95=part.ci95, reference=None)


def _spread(row: ResultRow) -> float:
    """Half the width of a result's interval."""
    low, high = row.ci95 or (0.0, 1.0)
    return (high - low) / 2
