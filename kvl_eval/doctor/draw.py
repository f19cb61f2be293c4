"""Which samples of a task `doctor` asks, and what their rows say of the data."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

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
    """`count` samples, each value of the first category by its share, picked by a hash of their ids.

    Raises: DataError, where no table can be read.
    """
    best: dict[str, list[tuple[int, int, Sample]]] = {}
    sizes: Counter[str] = Counter()
    faults: list[DataError] = []
    labels: Counter[str] = Counter()
    for number, sample in enumerate(open_split(task, config.source, config.split, Reporter(bad_row=faults.append))):
        labels.update(labels_of(sample))
        group = ", ".join(next(iter(sample.categories.values()), ()))
        sizes[group] += 1
        entry = (-_hash(sample.id), number, sample)
        kept = best.setdefault(group, [])
        if len(kept) < count:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
    chosen = [
        entry for group, share in _shares(sizes, count).items() for entry in sorted(best[group], reverse=True)[:share]
    ]
    return DrawnSamples(
        samples=tuple(sample for _, _, sample in sorted(chosen, key=lambda entry: entry[1])),
        rows=labels["rows"],
        faults=tuple(faults),
        other_data=other_data(task, config.split, labels),
    )


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` samples each group gives: by its size, what is left over to the largest remainders."""
    total = sum(sizes.values())
    wanted = min(count, total)
    exact = {group: wanted * size / total for group, size in sizes.items()}
    shares = {group: int(value) for group, value in exact.items()}
    order = sorted(exact, key=lambda group: (shares[group] - exact[group], _hash(group)))
    for group in order[: wanted - sum(shares.values())]:
        shares[group] += 1
    return shares


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
