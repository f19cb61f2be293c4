"""Which task, data source and split the data options of a verb name."""

from __future__ import annotations

from collections.abc import Mapping

from kvl_eval.errors import UsageError
from kvl_eval.sources import Source
from kvl_eval.tasks.base import Task


def task_and_source(name: str, flags: Mapping[str, object], default: str | None = None) -> tuple[Task, Source, str]:
    """The task, where its data comes from, and the split, as the data options say. Raises UsageError."""
    from kvl_eval.run.config import task_source
    from kvl_eval.run.options import options_among
    from kvl_eval.tasks import get_task

    task = get_task(name)
    split = flags.get("split") or (
        default if default in task.split_names() and not flags.get("data_dir") else task.default_split
    )
    source = task_source(task, options_among(flags))
    if source.data_dir is not None and not source.data_dir.is_dir():
        raise UsageError(
            "usage.data_dir",
            f"--data-dir: no such folder: {source.data_dir}",
            fix="name the folder that holds the data set",
        )
    return task, source, str(split)
