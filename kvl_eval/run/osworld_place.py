"""Where OSWorld's own environment is. It is code, so only the user names it, never a run folder or a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from kvl_eval.agent.desk import Desk, desk_of
from kvl_eval.agent.osworld_desk import OsworldDesk, OsworldPlace
from kvl_eval.agent.osworld_machine import GuestFiles, LocalMachine
from kvl_eval.errors import UsageError
from kvl_eval.sources.media_files import cache_home
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.episode import Episode
from kvl_eval.tasks.osworld import CACHE

PYTHON, TREE = "KVL_EVAL_OSWORLD_PYTHON", "KVL_EVAL_OSWORLD_DIR"
"""Variables that name the interpreter and the clone; the command line sets them for its own process."""

SANDBOX = "xvfb"
SERVER = "desktop_env/server"


def is_osworld(task: Task) -> bool:
    """Whether a task is played in OSWorld's own environment."""
    return task.episode is not None and task.episode.environment == "osworld"


def require_osworld(tasks: Iterable[Task]) -> None:
    """Raises: UsageError `usage.osworld` where a task needs the environment and it is not named, or not there."""
    for task in tasks:
        if task.episode is not None and is_osworld(task):
            place = _place(task, None)
            if task.episode.provider == SANDBOX:
                _guest_files(task, place)


def desks_of(task: Task, cache_dir: Path | None) -> Callable[[Episode], Desk]:
    """What makes the desktops of a task. Raises: UsageError as `require_osworld`."""
    if not is_osworld(task):
        return desk_of
    return partial(_osworld_desk, task, _place(task, cache_dir))


def _osworld_desk(task: Task, place: OsworldPlace, episode: Episode) -> Desk:
    if episode.provider != SANDBOX:
        return OsworldDesk(place, episode)
    return OsworldDesk(place, episode, LocalMachine(_guest_files(task, place), episode.screen))


def _place(task: Task, cache_dir: Path | None) -> OsworldPlace:
    python, tree = (Path(os.environ[name]).absolute() if os.environ.get(name) else None for name in (PYTHON, TREE))
    if python is None or not os.access(python, os.X_OK) or python.is_dir():
        what = "no interpreter with desktop-env is named" if python is None else f"{python} is not an interpreter"
        raise _unusable(task, what, "add --osworld-python ENVIRONMENT/bin/python; see docs/agents.md")
    return OsworldPlace(python=python, tree=tree, cache=cache_home(cache_dir) / CACHE)


def _guest_files(task: Task, place: OsworldPlace) -> GuestFiles:
    """What the sandbox needs: the server of the clone, and a virtual environment over the system's own Python."""
    home = place.python.parent.parent
    if place.tree is None or not (place.tree / SERVER / "main.py").is_file():
        raise _unusable(
            task, "there is no in-guest server", f"add --osworld-dir with a clone of OSWorld, which has {SERVER}"
        )
    if not (home / "pyvenv.cfg").is_file():
        raise _unusable(
            task,
            f"{place.python} is not that of a virtual environment",
            "make one with /usr/bin/python3 -m venv --system-site-packages ENVIRONMENT; see docs/agents.md",
        )
    return GuestFiles(home=home, server=place.tree / SERVER)


def _unusable(task: Task, what: str, fix: str) -> UsageError:
    return UsageError("usage.osworld", f"{task.name} cannot be played: {what}", fix=fix)
