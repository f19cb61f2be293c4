"""A run folder together with the tasks it was made of: all that scoring, comparing and exporting read of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kvl_eval.store.records import Record
from kvl_eval.store.replies import Replies
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.task_records import KeptRecords, RecordIndex, Room, TaskRecords
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task


class RunReader:
    """What a run holds, read once and kept: answers that come later are not seen.

    Attributes:
        folder: the run.
        tasks:  the caller's own tasks.
    """

    def __init__(self, folder: RunFolder, tasks: Iterable[Task] = (), room: Room | None = None) -> None:
        """`tasks` go before registered ones of the same name; records are kept as far as there is `room`."""
        self.folder = folder
        self.tasks = tuple(tasks)
        self._room = room
        self._indexes: dict[str, RecordIndex] = {}
        self._records: dict[str, TaskRecords] = {}
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
        """Where each record of a task is. Raises: as `RunFolder.index`."""
        index = self._indexes[task] if task in self._indexes else self.read(task)
        if strict:
            index.require_whole()
        return index

    def read(self, task: str, see: Callable[[Record], None] | None = None) -> RecordIndex:
        """The same of the files as they are now; `see` is shown each record. Raises: as `RunFolder.index`."""
        self._indexes[task] = self.folder.index(task, see=see)
        return self._indexes[task]

    def records(self, task: str) -> TaskRecords:
        """The records of a task, to be used as a context any number of times. Raises as `RunFolder.index`."""
        if task not in self._records:
            index = self.index(task)
            kept = None if self._room is None else KeptRecords(self.folder.samples_path(task), index, self._room)
            self._records[task] = kept or self.folder.reader(task, index)
        return self._records[task]

    def replies(self, task: str) -> Replies:
        """What judges said about a task's answers."""
        if task not in self._replies:
            self._replies[task] = replies = Replies(self.folder, task)
            self.folder.notices += [notice for notice in replies.damage if notice not in self.folder.notices]
        return self._replies[task]
