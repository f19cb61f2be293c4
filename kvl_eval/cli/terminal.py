"""The one door to the terminal: what verbs and logs say goes through here, printable and as loud as -q and -v allow.

    echo     as it is: errors, and whatever a verb without levels prints
    result   the result of a verb, on standard output; nothing under -qq
    note     what a user may want to know, on standard error; nothing under -q
    warn     what can mislead about a score; nothing under -qq
    step     what is happening; nothing under -q
    detail   only under -v

A note or warning is printed once in a process.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import click

from kvl_eval.printable import printable, visible, whole

STEPS = logging.getLogger("kvl_eval.steps")  # what is happening, as the package says it
PROGRESS = logging.getLogger("kvl_eval.progress")  # how far a verb is: a line that replaces the last one
PLAIN_SECONDS = 10.0  # between two lines of progress where none can be replaced
SHORT_STEP = 0.5  # seconds after which a step that lasts is announced


class _Loudness:
    """How loud this process is, what it has said, and whether it has written to standard output."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.said: set[str] = set()
        self.wrote_output = False


_STATE = _Loudness()


def set_verbosity(level: int) -> None:
    """How much this process prints from now on: -2 for `-qq`, -1 for `-q`, 0, 1 for `-v`, 2 for `-vv`."""
    _STATE.verbosity = max(-2, min(2, level))
    _STATE.said.clear()
    log = logging.getLogger("kvl_eval")
    log.setLevel({-2: logging.ERROR, 1: logging.INFO, 2: logging.DEBUG}.get(_STATE.verbosity, logging.WARNING))
    for quiet_below in (STEPS, PROGRESS):
        quiet_below.setLevel(logging.INFO if _STATE.verbosity >= 0 else logging.ERROR)


def verbosity() -> int:
    """How much this process prints, from -2 to 2."""
    return _STATE.verbosity


def begin() -> None:
    """A command begins: nothing was written yet."""
    _STATE.wrote_output = False


def wrote_output() -> bool:
    """Whether anything was written to standard output since `begin`."""
    return _STATE.wrote_output


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write `text` to standard output, or to standard error."""
    hush()
    _STATE.wrote_output |= not err
    click.echo(visible(text), err=err, nl=nl)


def hush() -> None:
    """Drop the step that waits, and take the line of progress off the screen: something else is printed now."""
    StepHandler.hush()
    ProgressHandler.clear()


def result(text: str) -> None:
    """The result of a verb, on standard output."""
    if _STATE.verbosity > -2:
        echo(text)


def note(text: str) -> None:
    """`note: TEXT` on standard error."""
    _say("note", text, 0)


def warn(text: str) -> None:
    """`warning: TEXT` on standard error."""
    _say("warning", text, -1)


def step(text: str) -> None:
    """A line about what is happening, on standard error."""
    if _STATE.verbosity >= 0:
        echo(whole(text), err=True)


def detail(text: str) -> None:
    """A line that only `-v` shows, on standard error."""
    if _STATE.verbosity >= 1:
        echo(whole(text), err=True)


def is_said(text: str) -> bool:
    """Whether a note or warning with this text was printed already."""
    return text in _STATE.said


def mark_said(text: str) -> None:
    """Take a warning as printed: something that says the same was."""
    _STATE.said.add(text)


def _say(kind: str, text: str, least: int) -> None:
    if is_said(text):
        return
    mark_said(text)
    if _STATE.verbosity >= least:
        echo(f"{kind}: {text}", err=True)


def table_width() -> int | None:
    """Cells that a table on standard output may take; None where that is not a terminal."""
    if not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def is_plain(stream: object) -> bool:
    """Whether a stream gets plain lines alone: no terminal, `CI` or `NO_COLOR` set, or a terminal that cannot move."""
    isatty = getattr(stream, "isatty", None)
    environment = os.environ
    is_dumb = environment.get("TERM", "") in ("", "dumb")
    return not (isatty and isatty()) or is_dumb or bool(environment.get("CI") or environment.get("NO_COLOR"))


class LogHandler(logging.Handler):
    """Log records of the package, one line each, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = printable(record.getMessage(), keep="")
        kind = {logging.WARNING: "warning: ", logging.DEBUG: "debug: "}.get(record.levelno, "")
        echo(text if text.startswith((kind, "note: ")) else f"{kind}{text}", err=True)


class StepHandler(logging.Handler):
    """Steps of a run, on standard error: those that last longer than half a second."""

    _waiting: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Announce a step soon, unless something else is printed or begins before."""
        self.hush()
        StepHandler._waiting = threading.Timer(SHORT_STEP, _announce, [printable(record.getMessage(), keep="")])
        StepHandler._waiting.daemon = True
        StepHandler._waiting.start()

    @classmethod
    def hush(cls) -> None:
        """Leave out the step that waits: it is over."""
        if cls._waiting is not None:
            cls._waiting.cancel()
            cls._waiting = None


class ProgressHandler(logging.Handler):
    """The progress of a verb, on standard error: a line rewritten in place, or a plain one every ten seconds."""

    _is_drawn = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last = clock()

    def emit(self, record: logging.LogRecord) -> None:
        """Show how far the verb is."""
        text = printable(record.getMessage(), keep="")
        if not is_plain(sys.stderr):
            StepHandler.hush()
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)
            ProgressHandler._is_drawn = True
        elif self._clock() - self._last >= PLAIN_SECONDS:
            self._last = self._clock()
            echo(text, err=True)

    @classmethod
    def clear(cls) -> None:
        """Take the line off the screen, if there is one."""
        if cls._is_drawn:
            cls._is_drawn = False
            click.echo("\r\x1b[K", err=True, nl=False)


def _announce(text: str) -> None:
    with suppress(OSError, ValueError):  # the stream may have been closed meanwhile
        echo(text, err=True)


def show_logs() -> None:
    """What the package logs goes through `echo` from now on, as far as the verbosity allows."""
    for log, kind in ((logging.getLogger("kvl_eval"), LogHandler), (STEPS, StepHandler), (PROGRESS, ProgressHandler)):
        if not any(isinstance(handler, kind) for handler in log.handlers):
            log.addHandler(kind())
    STEPS.propagate = PROGRESS.propagate = False
    set_verbosity(0)


def end() -> None:
    """A command ends: nothing that happens in this process later is announced as a step of it."""
    StepHandler.hush()
    for log in (STEPS, PROGRESS):
        log.handlers = [handler for handler in log.handlers if not isinstance(handler, StepHandler | ProgressHandler)]
