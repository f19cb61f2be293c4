"""How far a run is: one line a task, rewritten in place on a terminal, a plain line every 10 s elsewhere."""

from __future__ import annotations

import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar, cast

from kvl_eval.decode import Json
from kvl_eval.printable import printable, visible
from kvl_eval.scorers.statistics import wilson

if TYPE_CHECKING:
    from rich.live import Live

T = TypeVar("T")

TERMINAL_SECONDS = 0.5
PLAIN_SECONDS = 10.0
ETA_AFTER = 5  # answers before a rate is worth showing


@dataclass(slots=True)
class TaskCounts:
    """What a progress line shows of one task.

    Attributes:
        weight:      what is planned, in units of one answer plus one for each picture or frame.
        weight_done: how much of it is done, by this process alone.
        done_here:   answers finished by this process.
        points:      sum of the scores so far, over `scored` answers.
        cut:         thoughts that reached their budget or limit.
        load, model: seconds spent preparing media and in the model.
        server:      what a server made us do: `retries`, `limited` (429), `room` (requests at once, now).
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
    thinking: array[int] = field(default_factory=lambda: array("q"))
    load: float = 0.0
    model: float = 0.0
    server: Mapping[str, Json] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None

    @property
    def done(self) -> int:
        """Finished, failed ones included."""
        return self.ok + self.failed.total()


class Progress(Protocol):
    """Who is told how far a run is."""

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """The run begins."""

    def update(self) -> None:
        """Something may have changed; called often."""

    def notice(self, text: str) -> None:
        """A line the user should see."""

    def close(self) -> None:
        """The run is over; may be called twice."""


class Silent:
    """Nobody is told."""

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Nothing."""

    def update(self) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Steady:
    """A stream whose reader may go away: then what is written goes nowhere, and nobody hears of it.

    rich would end the process there, and point standard output elsewhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def write(self, text: str) -> int:
        """Write, or pretend to."""
        return self._try(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        """Flush, or pretend to."""
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        """As the stream says."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream says."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """As the stream says."""
        return self._stream.encoding or "utf-8"

    def _try(self, action: Callable[[], T]) -> T | None:
        if self._gone:
            return None
        try:
            return action()
        except (OSError, ValueError):
            self._gone = True
            return None


class Lines:
    """Plain lines on a stream, at most one a task every `seconds`; a closed stream ends the telling, not the run."""

    def __init__(
        self, stream: TextIO | None = None, seconds: float = PLAIN_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = Steady(stream or sys.stderr)
        self._seconds = seconds
        self._clock = clock
        self._tasks: Sequence[TaskCounts] = ()
        self._shown: dict[str, int] = {}
        self._last = clock()

    def start(self, tasks: Sequence[TaskCounts]) -> None:
        """Remember what to tell of."""
        self._tasks = tasks
        self._shown = {task.name: task.done for task in tasks}

    def update(self) -> None:
        """A line for each task that moved, if it is time."""
        if self._clock() - self._last >= self._seconds:
            self._last = self._clock()
            self._tell()

    def notice(self, text: str) -> None:
        """One line, or several."""
        self._stream.write(visible(text) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """The last state of each task that moved."""
        self._tell()
        self._tasks = ()

    def _tell(self) -> None:
        for task in self._tasks:
            if task.done != self._shown[task.name]:
                self._shown[task.name] = task.done
                self.notice(progress_line(task, self._clock()))


class Terminal:
    """Lines rewritten in place, at most twice a second."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
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
            self._live.console.print(visible(text), markup=False)

    def close(self) -> None:
        """Leave the last state on the screen, and the cursor visible."""
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        from rich.text import Text

        if self._live is not None:
            shown = "\n".join(
                progress_line(task, self._clock()) for task in self._tasks if task.started is not None or task.done
            )
            self._live.update(Text(visible(shown), overflow="ellipsis", no_wrap=True), refresh=True)


def make_progress(quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """What suits the stream (standard error): in place on a terminal, plain lines elsewhere, nothing if `quiet`."""
    import os

    stream = stream or sys.stderr
    if quiet:
        return Silent()
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return Terminal(stream)
    return Lines(stream)


def progress_line(task: TaskCounts, now: float) -> str:
    """The line of one task, as `ux` sketches it."""
    parts = [f"{printable(task.name, keep='')}  {task.done}/{task.planned}", f"ok {task.ok}"]
    if task.failed:
        kinds = ", ".join(f"{reason} {count}" for reason, count in task.failed.most_common())
        parts.append(f"failed {task.failed.total()} ({kinds})")
    if task.scored:
        low, high = wilson(task.points, task.scored)
        parts.append(f"acc so far {task.points / task.scored:.3f} [{low:.3f}–{high:.3f}]")
    if any(task.thinking):
        median = sorted(task.thinking)[len(task.thinking) // 2]
        parts.append(f"think {_thousands(median)} tok" + (f", {task.cut / task.ok:.0%} cut" if task.cut else ""))
    if task.started is not None and task.done_here:
        elapsed = (task.finished or now) - task.started
        parts.append(f"{elapsed / task.done_here:.2f} s/sample")
        if task.load:
            parts.append(f"cpu-prep {task.load / task.done_here:.2f} s, model {task.model / task.done_here:.2f} s")
    if task.server:
        limited = f", {task.server['limited']} for too many requests" if task.server["limited"] else ""
        parts.append(f"{task.server['retries']} retries{limited}, {task.server['room']} at once")
    parts.append(f"eta {_eta(task, now)}" if task.done < task.planned else "done")
    return "  ".join(parts)


def _eta(task: TaskCounts, now: float) -> str:
    if task.started is None or task.done_here < ETA_AFTER or not task.weight_done:
        return "unknown"
    left = task.weight_left - task.weight_done
    return duration((now - task.started) * left / task.weight_done)


def duration(seconds: float) -> str:
    """`45s`, `8m20s`, `3h05m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _thousands(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.1f}k"
