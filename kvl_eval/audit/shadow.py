"""Scoring of a run without touching it: a temporary folder that shares the run's primary files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kvl_eval.scoring.rescore import rescore
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from kvl_eval.types import ThinkingView

PRIMARY = ("run.json", "plan.jsonl", "samples", "judge")

Wanted = Collection[tuple[str, str, ThinkingView]]  # (task, protocol, what a scorer sees)


@contextmanager
def shadow(folder: RunFolder) -> Iterator[RunFolder]:
    """A run folder of the same name whose derived files go to a temporary place."""
    with TemporaryDirectory(prefix="kvl-eval-") as temporary:
        original = folder.path.resolve()
        path = Path(temporary) / original.name
        path.mkdir()
        for name in PRIMARY:
            if (original / name).exists():
                (path / name).symlink_to(original / name)
        yield RunFolder.open(path)


def score_again(folder: RunFolder, wanted: Wanted, lookup: Callable[[str], Task]) -> None:
    """Write scores and results of exactly the wanted protocols; names that a task has not are left out."""
    views: tuple[ThinkingView, ...] = ("split", "raw")
    for view in views:
        names = {(task, protocol) for task, protocol, seen in wanted if seen == view}
        if names:
            rescore(folder, "all", view, lambda name, names=names: _only(lookup(name), names))  # type: ignore[misc]


def _only(task: Task, names: Collection[tuple[str, str]]) -> Task:
    kept = {name: protocol for name, protocol in task.protocols.items() if (task.name, name) in names}
    return replace(task, protocols=kept)
