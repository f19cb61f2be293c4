"""What is known of a published split: how many rows it has, and how many of each category."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample

NAMED = 3  # counts that one sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCheck:
    """A count that the task expects, and the one that was counted; `what` is `rows` or `field=value`."""

    what: str
    expected: int
    found: int
    ok: bool


def labels_of(sample: Sample) -> Iterator[str]:
    """What a sample counts as: `rows`, and `field=value` for each of its categories."""
    yield "rows"
    for field, values in sample.categories.items():
        yield from (f"{field}={value}" for value in values)


def count_checks(task: Task, split: str, labels: Mapping[str, int]) -> Iterator[CountCheck]:
    """Counts that the task expects of a whole split, where this layout has the field.

    `labels` counts `labels_of` over its samples; `files` may be among them.
    """
    if not labels.get("rows"):
        return
    fields = {label.partition("=")[0] for label in labels if labels[label]}
    expected = dict(task.data.count.get(split, {}))
    known = task.splits.get(split)
    if known is not None and known.rows is not None:
        expected.setdefault("rows", known.rows)
    for what, number in expected.items():
        if what.partition("=")[0] not in fields:
            continue
        count = labels.get(what, 0)
        yield CountCheck(what=what, expected=number, found=count, ok=count == number)


def other_data(task: Task, split: str, labels: Mapping[str, int]) -> str | None:
    """In which counts a whole split differs from the published one, in one phrase; None where it does not."""
    wrong = [count for count in count_checks(task, split, labels) if not count.ok]
    if not wrong:
        return None
    named = [f"{count.what}: {count.found:,}, expected {count.expected:,}" for count in wrong[:NAMED]]
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return f"the data are not the published {split} ({'; '.join(named)}{more})"
