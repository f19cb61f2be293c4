"""Which samples of a task `doctor` asks, and what their rows say of the data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from kvl_eval.errors import DataError
from kvl_eval.run.config import TaskConfig
from kvl_eval.sources import Reporter
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.expected import labels_of, other_data
from kvl_eval.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSamples:
    """Samples of a split, drawn over its categories.

    Attributes:
        samples:    in the order in which they are asked.
        rows:       of the whole split.
        faults:     rows that cannot be used.
        other_data: in what the split differs from the published one; None where it does not.
    """

    samples: tuple[Sample, ...]
    rows: int
    faults: tuple[DataError, ...]
    other_data: str | None


def drawn_samples(task: Task, config: TaskConfig, count: int) -> DrawnSamples:
    """`count` samples in the data set's order, the values of each category by their shares; always the same ones.

    The split is read twice. Raises: DataError, where no table can be read.
    """
    faults: list[DataError] = []
    labels: Counter[str] = Counter()
    rows: list[_LabelledRow] = []
    for sample in open_split(task, config.source, config.split, Reporter(bad_row=faults.append)):
        labels.update(labels_of(sample))
        digest = hashlib.sha256(sample.id.encode("utf-8", "surrogatepass")).digest()
        rows.append(_LabelledRow(digest, {field: ", ".join(values) for field, values in sample.categories.items()}))
    places = _places(rows, count)
    again = open_split(task, config.source, config.split, Reporter(bad_row=lambda error: None))
    return DrawnSamples(
        samples=tuple(
            sample for place, sample in enumerate(islice(again, max(places, default=-1) + 1)) if place in places
        ),
        rows=len(rows),
        faults=tuple(faults),
        other_data=other_data(task, config.split, labels),
    )


class _LabelledRow(NamedTuple):
    """A row of the split: a hash of its id, and its labels by category."""

    digest: bytes
    labels: Mapping[str, str]


def _places(rows: Sequence[_LabelledRow], count: int) -> set[int]:
    """Where the drawn rows stand: at equal distances once rows are sorted, by the category of fewest labels first."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for field, label in row.labels.items():
            values.setdefault(field, set()).add(label)
    fields = sorted(values, key=lambda field: (len(values[field]), field))
    order = sorted(
        range(len(rows)),
        key=lambda place: (*(rows[place].labels.get(field, "") for field in fields), rows[place].digest),
    )
    wanted = min(count, len(rows))
    return {order[(2 * turn + 1) * len(rows) // (2 * wanted)] for turn in range(wanted)}
