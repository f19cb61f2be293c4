"""What differs between the runs of a report, pair by pair: settings that can change an answer, and circumstances."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from kvl_eval.audit.compare import circumstances, settings
from kvl_eval.reports.pages.compare import PairSettings
from kvl_eval.scoring.run_reader import RunReader


def pair_settings(paths: Sequence[Path]) -> list[PairSettings]:
    """One entry for each pair of runs, by their places; `problem` says why two cannot be compared."""
    readers = [RunReader.open(path) for path in paths]
    return [_pair(readers, a, b) for a, b in combinations(range(len(readers)), 2)]


def _pair(readers: Sequence[RunReader], a: int, b: int) -> PairSettings:
    left, right = readers[a], readers[b]
    tasks = [name for name in left.folder.manifest.data if name in right.folder.manifest.data]
    if not tasks:
        return PairSettings(a=a, b=b, problem="the runs have no task in common")
    return PairSettings(
        a=a,
        b=b,
        settings=tuple(settings(left, right, tasks)),
        circumstances=tuple(circumstances(left, right)),
    )
