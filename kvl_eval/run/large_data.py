"""Large files that a run needs beside its tables: fetched before the plan is made, or said to be missing."""

from __future__ import annotations

from collections.abc import Iterable

from kvl_eval.run.config import RunConfig
from kvl_eval.sources.fetch import bring, is_here
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task


def bring_large(config: RunConfig, own: Iterable[Task] = ()) -> None:
    """Fetch and unpack what the tasks' archives hold and is not here, as far as `--yes` or their size allows.

    Raises: DataError `data.too_large`, `data.offline` and those of `sources.fetch.bring`.
    """
    for task in config.tasks:
        if task.split != "mini":
            bring(task.source, task_named(task.task, own).data.archives, task=task.task)


def not_here(config: RunConfig) -> list[str]:
    """The tasks whose large files are not here."""
    return [
        task.task
        for task in config.tasks
        if task.split != "mini" and not is_here(task.source, task_named(task.task).data.archives)
    ]
