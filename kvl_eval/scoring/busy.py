"""How long answers took by the clock, and on how many devices at once: what a run cost, from its records alone."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

DEVICE = re.compile(r"[a-z]+(:\d+)?:\d+")  # `cuda:0:4711`: a device and a process; servers have addresses

Period = tuple[float, float]  # begin and end, in seconds since 1970


@dataclass(slots=True)
class BusyTimes:
    """The times during which answers were under way, by who computed them."""

    _ends: dict[str, array[float]] = field(default_factory=dict)
    _lengths: dict[str, array[float]] = field(default_factory=dict)

    def add(self, worker: str, ended_at: str, seconds: float) -> None:
        """Take in one answer that took `seconds` until `ended_at`; one whose end is not a time is left out."""
        try:
            end = datetime.fromisoformat(ended_at).timestamp()
        except (ValueError, OverflowError, OSError):
            return
        self._ends.setdefault(worker, array("d")).append(end)
        self._lengths.setdefault(worker, array("d")).append(max(0.0, seconds))

    @property
    def seconds(self) -> float | None:
        """Seconds by the clock during which at least one answer was under way, to the millisecond."""
        periods = joined(chain.from_iterable(map(self._periods, self._ends)))
        total = sum(end - begin for begin, end in periods)
        return round(total, 3) if self._ends else None

    @property
    def devices(self) -> int | None:
        """The most devices that had an answer under way at the same time; None where a server or a script answered."""
        if not self._ends or not all(map(DEVICE.fullmatch, self._ends)):
            return None
        changes = sorted(
            change
            for worker in self._ends
            for begin, end in joined(self._periods(worker))
            for change in ((begin, 1), (end, -1))  # at the same moment an end comes first
        )
        most = busy = 0
        for _, change in changes:
            busy += change
            most = max(most, busy)
        return max(1, most)

    def _periods(self, worker: str) -> Iterator[Period]:
        for end, length in zip(self._ends[worker], self._lengths[worker], strict=True):
            yield end - length, end


def joined(periods: Iterable[Period]) -> list[Period]:
    """The periods with those that overlap made one, in order."""
    whole: list[Period] = []
    for begin, end in sorted(periods):
        if whole and begin <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((begin, end))
    return whole
