"""The benchmarks. `TASKS` is the list; a new task is one module and one entry here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from kvl_eval.errors import UsageError
from kvl_eval.sources import Source
from kvl_eval.tasks import mathvista
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample

TASKS: dict[str, Task] = {task.name: task for task in (mathvista.TASK,)}
MINI = Path(__file__).resolve().parent.parent / "data" / "mini"


def groups() -> dict[str, list[str]]:
    """{group: names of its tasks}, `all` first."""
    found: dict[str, list[str]] = {"all": list(TASKS)}
    for task in TASKS.values():
        for group in task.groups:
            found.setdefault(group, []).append(task.name)
    return found


def get_task(name: str) -> Task:
    """The task of that name; `_` stands for `-`. Raises UsageError with the nearest names."""
    task = TASKS.get(name.lower().replace("_", "-"))
    if task is None:
        raise unknown("task", name, [*TASKS, *groups()], "kvl-eval list tasks")
    return task


def select(names: Sequence[str]) -> list[Task]:
    """Tasks for names, groups and globs (each may hold several, separated by commas or spaces), without repeats.

    Raises: UsageError, naming the nearest names, if one of them fits nothing.
    """
    chosen: dict[str, Task] = {}
    for name in [part for text in names for part in text.replace(",", " ").split()]:
        key = name.lower().replace("_", "-")
        fitting = groups().get(key) or [known for known in TASKS if fnmatchcase(known, key)]
        for known in fitting or [get_task(name).name]:
            chosen[known] = TASKS[known]
    if not chosen:
        raise UsageError("usage.task", "no task is named", fix="give --task NAME; `kvl-eval list tasks` shows them")
    return list(chosen.values())


def open_split(task: Task, source: Source, split: str) -> Iterator[Sample]:
    """The samples of one split, `mini` being the bundled one. Raises UsageError for a split the task has not."""
    if split not in task.split_names():
        raise unknown("split", split, task.split_names(), f"kvl-eval describe {task.name}")
    if split == "mini":
        assert task.mini is not None
        return task.load(replace(source, repo=None, data_dir=MINI / task.mini), task.default_split)
    return task.load(source, split)


def unknown(kind: str, name: str, known: Sequence[str], listing: str) -> UsageError:
    """The error for a name nobody has, with the three nearest that exist."""
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.3) or list(known)[:3]
    return UsageError(
        f"usage.{kind}", f"there is no {kind} {name!r}", why=f"nearest: {', '.join(near)}", fix=f"see `{listing}`"
    )
