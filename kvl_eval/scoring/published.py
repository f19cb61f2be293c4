"""The published result beside a row, and what forbids to compare the two."""

from __future__ import annotations

import math

from kvl_eval.families import DEMO_NOTE, SCRIPTED_NOTE, is_sure
from kvl_eval.model.kimi_vl.families import SCRIPTED
from kvl_eval.model.registry import stored_family
from kvl_eval.references import MAXIMUM, MEAN_NOTE, ReferenceScore, kimi_value
from kvl_eval.references.protocols import protocol_of
from kvl_eval.scorers.statistics import Z95, newcombe
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.result_records import PublishedRow, ResultRow
from kvl_eval.tasks.base import Task
from kvl_eval.types import Interval


def published_row(task: Task, row: ResultRow, manifest: Manifest) -> PublishedRow | None:
    """The published result, and the distance to it unless something forbids the comparison; `note` says what.

    None where none is published, for packed weights, which are another model, and for budgets that are not measured.
    """
    figure = None if row.policy == "approximate" else kimi_value(task.reference, own_system(manifest), row.budget)
    if figure is None:
        return None
    note = why_not_comparable(task, row, manifest) or (None if row.complete else "incomplete")
    note = note or _other_protocol(task, row, figure) or _part_of_a_mean(task)
    is_comparable = note is None and row.score is not None
    low, high = row.ci95 or (0.0, 1.0)
    split = task.splits.get(task.published_split)
    return PublishedRow(
        system=figure.system,
        value=figure.value,
        unit=figure.unit,
        source=figure.source,
        table=figure.table,
        delta=row.score - figure.value if is_comparable and row.score is not None else None,
        inside_ci=low <= figure.value <= high if is_comparable and row.ci95 else None,
        gap_ci95=gap_interval(row, figure, None if split is None else split.rows) if is_comparable else None,
        note=note,
    )


def gap_interval(row: ResultRow, figure: ReferenceScore, n_published: int | None) -> Interval:
    """95 % interval of the published value minus the score, as of two sets of answers that are independent.

    Newcombe's where the score is a share of right answers, with both counts divided by the design effect of the row's
    clusters; else a normal interval with the row's clustered error for both. What the published value lost by rounding
    is part of it. Without an error nothing is known of the score, which lies anywhere in [0, 1].

    Args:
        n_published: answers behind the published value; None where that is unknown: then as many as the row's.
    """
    score, step = row.score or 0.0, _step(figure)
    if _is_share(row):
        effect = max(1.0, ((row.stderr_clustered or 0.0) / row.stderr) ** 2) if row.stderr else 1.0
        n = row.n_scored / effect
        return newcombe(figure.value, (n_published or row.n_scored) / effect, score, n, step)
    if row.stderr_clustered is None:
        return figure.value - 1.0, figure.value
    half = Z95 * math.sqrt(2 * row.stderr_clustered**2 + step**2 / 12)
    return figure.value - score - half, figure.value - score + half


def _is_share(row: ResultRow) -> bool:
    """Whether the score is the share of answers that are right, none of them in part."""
    right = row.verdicts.get("correct", 0)
    is_whole = not row.verdicts.get("partial") and row.n_scored > 0
    return is_whole and math.isclose(row.score or 0.0, right / row.n_scored, abs_tol=1e-9)


def _step(figure: ReferenceScore) -> float:
    """The step to which a value was printed, as a fraction: 0.001 for `68.7` percent, 0.001 for `867` points."""
    decimals = len(figure.printed.partition(".")[2])
    return float(10.0**-decimals / MAXIMUM[figure.unit])


def own_system(manifest: Manifest) -> str | None:
    """The system whose published results are those of a run's own model; None for packed weights and other models."""
    rule = manifest.model.others.get("family_rule")
    if manifest.model.weights is not None or not is_sure(rule if isinstance(rule, str) else None):
        return None
    return stored_family(manifest.model.family).published


def is_scripted(manifest: Manifest) -> bool:
    """Whether the answers of a run are scripted."""
    return bool(manifest.model.others.get("scripted", stored_family(manifest.model.family) is SCRIPTED))


def why_not_comparable(task: Task, row: ResultRow, manifest: Manifest) -> str | None:
    """What forbids to compare a row with a published result, however complete it is; None where nothing does."""
    if manifest.demo:
        return DEMO_NOTE
    if is_scripted(manifest):
        return SCRIPTED_NOTE
    if row.blind:
        return "blind run: images were replaced with gray"
    if row.split == "mini":
        return "the mini split"
    if row.split != task.published_split:
        return f"split {row.split}; the published result is on {task.published_split}"
    if row.partial:
        return f"partial: {row.partial}"
    data = manifest.data.get(row.task)
    if data is not None and data.other_data is not None:
        return data.other_data
    declared = task.splits[row.split].rows if row.split in task.splits else None
    total = None if data is None else data.total
    if declared is not None and total is not None and total != declared:
        return f"the data are not the published {row.split} ({total:,} rows, expected {declared:,})"
    return None


def _other_protocol(task: Task, row: ResultRow, figure: ReferenceScore) -> str | None:
    """A published result is compared under its own protocol, or the default one where that is unknown."""
    known = protocol_of(figure)
    if row.thinking == "split" and row.protocol == (known or task.default_protocol):
        return None
    return "other protocol" if known is None else f"other protocol; the published result uses {known}"


def _part_of_a_mean(task: Task) -> str | None:
    parts = () if task.reference is None else task.reference.mean_of
    return MEAN_NOTE + " and ".join(parts) if parts else None
