"""A run folder together with the tasks it was made of: all that scoring, comparing and exporting read of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kvl_eval.store.records import Record
from kvl_eval.store.replies import Replies
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.task_records import RecordIndex
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task


class RunReader:
    """What a run holds, read once and kept: answers that come later are not seen.

    Attributes:
        folder: the run.
        tasks:  the caller's own tasks.
    """

    def __init__(self, folder: RunFolder, tasks: Iterable[Task] = ()) -> None:
        """`tasks` go before registered ones of the same name."""
        self.folder = folder
        self.tasks = tuple(tasks)
        self._indexes: dict[str, RecordIndex] = {}
        self._replies: dict[str, Replies] = {}

    @staticmethod
    def open(path: Path | str, tasks: Iterable[Task] = ()) -> RunReader:
        """The run in that folder. Raises as `RunFolder.open`."""
        return RunReader(RunFolder.open(path), tasks)

    @property
    def task_names(self) -> list[str]:
        """The run's tasks in plan order: from the manifest, or, where that is unknown, from the plan."""
        named = list(self.folder.manifest.data)
        return named or list(dict.fromkeys(entry.task for entry in self.folder.plan()))

    def task(self, name: str) -> Task:
        """One of the caller's tasks, or a registered one. Raises UsageError."""
        return task_named(name, self.tasks)

    def index(self, task: str, *, strict: bool = False) -> RecordIndex:
        """Where each record of a task is. Raises as `RunFolder.index`."""
        if task not in self._indexes:
            self._indexes[task] = self.folder.index(task, strict=strict)
        return self._indexes[task]

    def read(self, task: str, each: Callable[[Record], object]) -> RecordIndex:
        """Hand over every record of a task, in the order they were written. Raises as `RunFolder.index`, strict."""
        self._indexes[task] = self.folder.index(task, strict=True, each=each)
        return self._indexes[task]

    def replies(self, task: str) -> Replies:
        """What judges said about a task's answers."""
        if task not in self._replies:
            self._replies[task] = replies = Replies(self.folder, task)
            self.folder.notices += [notice for notice in replies.damage if notice not in self.folder.notices]
        return self._replies[task]
