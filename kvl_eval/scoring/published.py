"""The published result beside a row, and what forbids to compare the two."""

from __future__ import annotations

from kvl_eval.families import DEMO_NOTE, is_sure
from kvl_eval.model.kimi_vl.families import SCRIPTED
from kvl_eval.model.registry import stored_family
from kvl_eval.references import MEAN_NOTE, ReferenceScore, kimi_value
from kvl_eval.references.protocols import protocol_of
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.result_records import PublishedRow, ResultRow
from kvl_eval.tasks.base import Task


def published_row(task: Task, row: ResultRow, manifest: Manifest) -> PublishedRow | None:
    """The published result, and the difference from it unless the two are not comparable; `note` says why.

    None where no figure is published, and for packed weights, which are another model.
    """
    facts = manifest.model.others
    rule = facts.get("family_rule")
    if manifest.model.weights is not None or not is_sure(rule if isinstance(rule, str) else None):
        return None
    family = stored_family(manifest.model.family)
    figure = kimi_value(task.reference, family.published, row.budget)
    if figure is None:
        return None
    note = _why_no_delta(task, row, manifest, bool(facts.get("scripted", family is SCRIPTED)))
    note = note or _other_protocol(task, row, figure) or _part_of_a_mean(task)
    is_comparable = note is None and row.score is not None
    low, high = row.ci95 or (0.0, 1.0)
    return PublishedRow(
        system=figure.system,
        value=figure.value,
        unit=figure.unit,
        source=figure.source,
        table=figure.table,
        delta=row.score - figure.value if is_comparable and row.score is not None else None,
        inside_ci=low <= figure.value <= high if is_comparable and row.ci95 else None,
        note=note,
    )


def _why_no_delta(task: Task, row: ResultRow, manifest: Manifest, is_scripted: bool) -> str | None:
    if manifest.demo:
        return DEMO_NOTE
    if is_scripted:
        return "scripted answers"
    if row.blind:
        return "blind run (gray images)"
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
        return f"the data differ from the published {row.split} ({total:,} rows, expected {declared:,})"
    return None if row.complete else "incomplete"


def _other_protocol(task: Task, row: ResultRow, figure: ReferenceScore) -> str | None:
    """A figure is compared with the score under its own protocol, or the default one where that is unknown."""
    known = protocol_of(figure)
    if row.thinking == "split" and row.protocol == (known or task.default_protocol):
        return None
    return "other protocol" if known is None else f"other protocol; the published result uses {known}"


def _part_of_a_mean(task: Task) -> str | None:
    parts = () if task.reference is None else task.reference.mean_of
    return MEAN_NOTE + " and ".join(parts) if parts else None
