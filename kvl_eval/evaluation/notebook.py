"""Progress of a call from Python: on a terminal, in a notebook, or none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Protocol

from kvl_eval.printable import visible
from kvl_eval.run.progress import Progress, Silent, TaskCounts, make_progress, progress_lines

SECONDS = 0.5  # between two updates of the output
WIDTH = 80  # cells of a line


def chosen_progress(progress: bool | Progress | None) -> Progress:
    """What `progress` of `evaluate` stands for; None means a notebook or a terminal, if there is one."""
    if not isinstance(progress, bool | None):
        return progress
    if progress is False:
        return Silent()
    if in_notebook():
        return NotebookProgress()
    return make_progress() if progress or sys.stderr.isatty() else Silent()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code. Imports nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class CellOutput(Protocol):
    """An output of a cell that can be replaced."""

    def update(self, content: Mapping[str, str], *, raw: bool) -> None:
        """Show other content: {type: text}."""


class NotebookProgress:
    """Progress lines in one output of the cell, updated in place."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tasks: Sequence[TaskCounts] = ()
        self._notices: list[str] = []
        self._last = 0.0
        self._text = ""
        self._output: CellOutput | None = None

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Remember whose progress to show."""
        self._tasks = tasks

    def update(self) -> None:
        """Update the output if the last update is long enough ago."""
        if self._clock() - self._last >= SECONDS:
            self._show()

    def notice(self, text: str) -> None:
        """Add a line above the progress lines."""
        self._notices.append(visible(text))
        self._show()

    def close(self) -> None:
        """Show the last state, once."""
        if self._tasks:
            self._show()
        self._tasks = ()

    def _show(self) -> None:
        self._last = self._clock()
        begun = [task for task in self._tasks if task.started is not None or task.done]
        lines = progress_lines(begun, self._clock(), WIDTH, of=self._tasks)
        text = "\n".join([*self._notices, *map(visible, lines)])
        if text == self._text or not text:
            return
        self._text = text
        content = {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
        if self._output is None:
            self._output = import_module("IPython.display").display(content, raw=True, display_id=True)
        else:
            self._output.update(content, raw=True)
