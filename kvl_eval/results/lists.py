"""Tasks, and the runs of a results folder, as data frames."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.names import same_name
from kvl_eval.reports import numbers
from kvl_eval.reports.listed_runs import main_scores
from kvl_eval.store import run_list
from kvl_eval.store.run_entry import RunEntry

if TYPE_CHECKING:
    import pandas as pd


def list_tasks(pattern: str = "*") -> pd.DataFrame:
    """The tasks that a pattern or the name of a group means, one row each.

    `samples` counts the split that is used by default; a missing `download_bytes` is not known.
    """
    import pandas as pd

    from kvl_eval.tasks import TASKS, groups

    names = groups().get(pattern) or [name for name in TASKS if fnmatchcase(name, pattern.lower().replace("_", "-"))]
    tasks = [TASKS[name] for name in names]
    splits = [task.splits.get(task.default_split) for task in tasks]
    return pd.DataFrame(
        {
            "task": _texts([task.name for task in tasks]),
            "samples": pd.Series([split.rows if split else None for split in splits], dtype="Int64"),
            "modality": _texts([task.modality for task in tasks]),
            "access": _texts([task.access for task in tasks]),
            "download_bytes": pd.Series([task.download_bytes for task in tasks], dtype="Int64"),
            "title": _texts([task.title for task in tasks]),
            "split": _texts([task.default_split for task in tasks]),
            "splits": pd.Series([list(task.split_names()) for task in tasks], dtype="object"),
            "groups": pd.Series([list(task.groups) for task in tasks], dtype="object"),
        }
    )


def list_runs(
    results_dir: str | Path = "results", *, task: str | None = None, model: str | None = None
) -> pd.DataFrame:
    """The runs of a results folder, the newest first, one row each.

    Args:
        task:  only runs that have this task.
        model: only runs whose model's name contains this text or matches this pattern.
    """
    import pandas as pd

    runs = [run for run in reversed(run_list.list_runs(Path(results_dir))) if _is_meant(run, task, model)]
    counts = [run.counts for run in runs]
    created = pd.Series(pd.array([run.created for run in runs], dtype="string"))
    return pd.DataFrame(
        {
            "run_id": _texts([run.run_id for run in runs]),
            "model": _texts([run.model for run in runs]),
            "tasks": pd.Series([list(run.tasks) for run in runs], dtype="object"),
            "answered": pd.Series([count and count.ok for count in counts], dtype="Int64"),
            "planned": pd.Series([count and count.planned for count in counts], dtype="Int64"),
            "scores": _texts([_scores(run) for run in runs]),
            "status": _texts([run.status for run in runs]),
            "created": pd.to_datetime(created, utc=True, format="ISO8601", errors="coerce"),
            "demo": pd.Series([run.demo for run in runs], dtype="bool"),
            "path": _texts([run.path for run in runs]),
        }
    )


def _is_meant(run: RunEntry, task: str | None, model: str | None) -> bool:
    is_task = task is None or same_name(task, run.tasks) is not None
    return is_task and (model is None or model in (run.model or "") or fnmatchcase(run.model or "", model))


def _scores(run: RunEntry) -> str | None:
    """`mathvista 67.9, mmmu 56.1` in percent, under the protocols of `list runs`; None without results."""
    scores = [f"{score.task} {numbers.percent(score.score) or '-'}" for score in main_scores(run)]
    return ", ".join(scores) or None


def _texts(values: Sequence[str | None]) -> pd.Series[str]:
    import pandas as pd

    return pd.Series(pd.array(values, dtype="string"))
