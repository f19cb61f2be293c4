"""Progress of a run: one line per task, rewritten in place on a terminal, plain lines every 10 s elsewhere."""

from __future__ import annotations

import os
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO, cast

from rich.cells import cell_len

from kvl_eval.decode import Json
from kvl_eval.printable import cut_middle, printable, visible
from kvl_eval.run.steady_stream import Steady
from kvl_eval.scorers.statistics import wilson

if TYPE_CHECKING:
    from rich.live import Live

TERMINAL_SECONDS = 0.5
PLAIN_SECONDS = 10.0
ETA_AFTER = 5  # answers before a rate is worth showing
SHOWN_WAIT = 0.1  # share of the time from which waiting for media is shown


@dataclass(slots=True)
class TaskCounts:
    """What a progress line shows of one task.

    Attributes:
        weight:      what is planned, in units of one answer plus one for each image or frame.
        weight_done: how much of it is done, by this process alone.
        done_here:   answers finished by this process.
        points:      sum of the scores so far, over `scored` answers.
        cut:         replies whose thought reached its budget.
        steps:       of agents, taken by this process.
        waited:      seconds in which the model waited for media.
        server:      of a server: `retries`, `limited` (429), `room` (connections in use now).
    """

    name: str
    planned: int
    weight: float
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    weight_left: float = 0.0
    weight_done: float = 0.0
    done_here: int = 0
    points: float = 0.0
    scored: int = 0
    cut: int = 0
    steps: int = 0
    thinking: array[int] = field(default_factory=lambda: array("q"))
    waited: float = 0.0
    server: Mapping[str, Json] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None

    @property
    def done(self) -> int:
        """Finished, failed ones included."""
        return self.ok + self.failed.total()


class Progress(Protocol):
    """Receives the progress of a run."""

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """The run begins."""

    def update(self) -> None:
        """Something may have changed; called often."""

    def notice(self, text: str) -> None:
        """A line the user should see."""

    def close(self) -> None:
        """The run is over; may be called twice."""


class Silent:
    """No progress output."""

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Nothing."""

    def update(self) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Notices(Silent):
    """No progress lines; notices are printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._lines = Lines(stream)

    def notice(self, text: str) -> None:
        """One line, or several."""
        self._lines.notice(text)


class Lines:
    """Plain lines on a stream, at most one per task every `seconds`; a closed stream ends the output, not the run.

    `is_verbose` says whether every failure is printed, and every field.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        seconds: float = PLAIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_verbose: bool = False,
    ) -> None:
        self.is_verbose = is_verbose
        self._stream = Steady(stream or sys.stderr)
        self._seconds = seconds
        self._clock = clock
        self._tasks: Sequence[TaskCounts] = ()
        self._shown: dict[str, tuple[int, int]] = {}
        self._last = clock()

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Remember what is counted."""
        self._tasks = tasks
        self._shown = {task.name: (task.done, task.steps) for task in tasks}

    def update(self) -> None:
        """A line for each task that moved, if it is time."""
        if self._clock() - self._last >= self._seconds:
            self._last = self._clock()
            self._print()

    def notice(self, text: str) -> None:
        """One line, or several."""
        self._stream.write(visible(text) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """The last state of each task that moved."""
        self._print()
        self._tasks = ()

    def _print(self) -> None:
        lines = progress_lines(self._tasks, self._clock(), FULL_WIDTH, verbose=self.is_verbose)
        moved = [(task.done, task.steps) != self._shown[task.name] for task in self._tasks]
        self._shown = {task.name: (task.done, task.steps) for task in self._tasks}
        has_total = len(self._tasks) > 1 and any(moved)
        for line, is_new in zip(lines, [*moved, *([has_total] if len(lines) > len(moved) else [])], strict=True):
            if is_new:
                self.notice(line)


class Terminal:
    """Lines rewritten in place, at most twice a second. `is_verbose` as of `Lines`."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, *, is_verbose: bool = False
    ) -> None:
        self.is_verbose = is_verbose
        self._stream = stream or sys.stderr
        self._clock = clock
        self._tasks: Sequence[TaskCounts] = ()
        self._last = 0.0
        self._live: Live | None = None

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Show the lines."""
        from rich.console import Console
        from rich.live import Live

        self._tasks = tasks
        console = Console(file=cast(TextIO, Steady(self._stream)), highlight=False)
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def update(self) -> None:
        """Rewrite the lines, if it is time."""
        if self._clock() - self._last >= TERMINAL_SECONDS:
            self._last = self._clock()
            self._draw()

    def notice(self, text: str) -> None:
        """A line above those that move."""
        if self._live is None:
            Lines(self._stream).notice(text)
        else:
            self._live.console.print(visible(text), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the screen, and the cursor visible."""
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        from rich.text import Text

        if self._live is None:
            return
        begun = [task for task in self._tasks if task.started is not None or task.done] or self._tasks[:1]
        width = self._live.console.width
        lines = progress_lines(begun, self._clock(), width, verbose=self.is_verbose, of=self._tasks)
        self._live.update(Text(visible("\n".join(lines)), overflow="crop", no_wrap=True), refresh=True)


def make_progress(quiet: bool = False, stream: TextIO | None = None, *, verbosity: int = 0) -> Progress:
    """What suits the stream (standard error) and how much is to be printed.

    In place on a terminal, plain lines elsewhere and in CI; notices alone if `quiet`, nothing under -q.
    """
    stream = stream or sys.stderr
    if verbosity < 0:
        return Silent()
    if quiet:
        return Notices(stream)
    environment = os.environ
    is_dumb = environment.get("TERM", "") in ("", "dumb")
    if stream.isatty() and not is_dumb and not environment.get("CI") and not environment.get("NO_COLOR"):
        return Terminal(stream, is_verbose=verbosity > 0)
    return Lines(stream, is_verbose=verbosity > 0)


FULL_WIDTH = 120  # cells at which a line shows everything
NAME_WIDTH = 16  # cells of the longest name
SHORTEST_NAME = 6


def progress_lines(
    tasks: Sequence[TaskCounts],
    now: float,
    width: int,
    *,
    verbose: bool = False,
    of: Sequence[TaskCounts] | None = None,
) -> list[str]:
    """A line per task, and the total of several; fields that a line of `width` cells has no room for are left out.

    Args:
        verbose: show the fields of wide terminals wherever they fit.
        of:      all tasks, where some have no line yet.
    """
    heads = [_Head.of(task, now) for task in tasks]
    fields = [_fields(task, now, verbose) for task in tasks]
    if len(of or tasks) > 1:
        heads.append(_total(of or tasks, now))
        fields.append([])
    if not heads:
        return []
    counts, states = max(len(head.done) for head in heads), max(len(head.state) for head in heads)
    name = min(NAME_WIDTH, max(cell_len(head.name) for head in heads))
    name = max(SHORTEST_NAME, min(name, width - counts - states - len("100%") - 6))
    lines = []
    for head, more in zip(heads, fields, strict=True):
        label = cut_middle(head.name, name)
        label += " " * (name - cell_len(label))
        line = f"{label}  {head.done:>{counts}}  {head.percent:>4}  {head.state:<{states}}"
        lines.append(_with_fields(line, more, width))
    return lines


class _Head(NamedTuple):
    """What every line begins with."""

    name: str
    done: str
    state: str
    percent: str

    @classmethod
    def of(cls, task: TaskCounts, now: float) -> _Head:
        return cls(
            printable(task.name, keep=""),
            f"{task.done}/{task.planned}",
            _state(task, now),
            _percent(task.done, task.planned),
        )


class _Field(NamedTuple):
    """What a line may show besides: the widest of `texts` that fits, from a width of the line on."""

    least: int
    texts: tuple[str, ...]


def _with_fields(line: str, fields: Sequence[_Field], width: int) -> str:
    for least, texts in fields:
        room = width - cell_len(line) - 2
        fitting = [text for text in texts if cell_len(text) <= room]
        if width >= least and fitting:
            line += f"  {fitting[0]}"
    return line.rstrip()


def _fields(task: TaskCounts, now: float, verbose: bool) -> list[_Field]:
    """The fields of a line by priority."""
    fields = []
    if task.failed:
        count = f"{task.failed.total()} failed"
        kinds = ", ".join(f"{reason} {number}" for reason, number in task.failed.most_common())
        fields.append(_Field(60, (f"{count} ({printable(kinds, keep='')})", count)))
    if task.scored:
        score = f"{100 * task.points / task.scored:.1f}"
        low, high = wilson(task.points, task.scored)
        fields.append(_Field(60, (score if task.done == task.planned else f"{score} so far",)))
        fields.append(_Field(80, (f"[{100 * low:.1f}, {100 * high:.1f}]",)))
    if task.steps:
        fields.append(_Field(60, (f"{task.steps:,} steps",)))
    if any(task.thinking):
        median = sorted(task.thinking)[len(task.thinking) // 2]
        truncated = f", {task.cut / task.ok:.0%} truncated" if task.cut else ""
        fields.append(_Field(100, (f"think {_thousands(median)}{truncated}",)))
    wide = 0 if verbose else FULL_WIDTH
    if task.started is not None and task.done_here:
        elapsed = (task.finished or now) - task.started
        if elapsed > 0:
            fields.append(_Field(100, (f"{elapsed / task.done_here:.2f} s/sample",)))
        if task.waited > SHOWN_WAIT * elapsed > 0:
            fields.append(_Field(wide, (f"waiting for media {task.waited / elapsed:.0%}",)))
    if task.server:
        limited = f" ({task.server['limited']} rate limited)" if task.server["limited"] else ""
        fields.append(_Field(wide, (f"{task.server['retries']} retries{limited}, {task.server['room']} connections",)))
    return fields


def _total(tasks: Sequence[TaskCounts], now: float) -> _Head:
    """All tasks together; the time left goes by what is left of each, weighed as in its own line."""
    done, planned = sum(task.done for task in tasks), sum(task.planned for task in tasks)
    begun = [task.started for task in tasks if task.started is not None]
    whole = TaskCounts(
        "total",
        planned,
        sum(task.weight for task in tasks),
        ok=done,
        weight_left=sum(task.weight_left for task in tasks),
        weight_done=sum(task.weight_done for task in tasks),
        done_here=sum(task.done_here for task in tasks),
        started=min(begun, default=None),
        finished=max((task.finished or now for task in tasks), default=None),
    )
    return _Head.of(whole, now)


def _state(task: TaskCounts, now: float) -> str:
    """`ETA 8m20s`, `ETA ?`, `done 12s`."""
    if task.done >= task.planned:
        is_timed = task.started is not None and task.finished is not None
        return f"done {duration((task.finished or 0) - (task.started or 0))}" if is_timed else "done"
    if task.started is None or task.done_here < ETA_AFTER or not task.weight_done:
        return "ETA ?"
    left = task.weight_left - task.weight_done
    return f"ETA {duration((now - task.started) * left / task.weight_done)}"


def _percent(done: int, planned: int) -> str:
    """Whole percent, rounded down, so that 100% means all."""
    return f"{100 * done // planned if planned else 100}%"


def duration(seconds: float) -> str:
    """`45s`, `8m20s`, `31m`, `3h05m`, `5d04h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 3600:
        return f"{whole // 60}m"
    hours = whole // 3600
    return f"{hours}h{whole % 3600 // 60:02d}m" if hours < 100 else f"{hours // 24}d{hours % 24:02d}h"


def _thousands(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.1f}k"
