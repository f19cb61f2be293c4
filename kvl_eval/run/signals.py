"""Signals that mean "stop" during a run: the first ends it in order, the second at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, Protocol

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK") if hasattr(signal, name)
)


SignalHandling = bool | Literal["interrupts"]
"""True: all of `STOPPING`, for a process that does nothing else. `interrupts`: SIGINT alone, for a Python session; none
in a thread, or where the caller has a handler. False: none."""


class Stoppable(Protocol):
    """What signals talk to."""

    def stop_by_signal(self, number: int) -> bool:
        """Begin to stop; False if it was stopping already."""

    def leave(self) -> None:
        """Give back what others wait for and say where the run is; the process ends right after."""


@contextmanager
def on_signals(session: Stoppable, *, enabled: SignalHandling) -> Iterator[None]:
    """Hand the signals that `enabled` names to `session` while the block runs.

    One that is ignored (`nohup` ignores SIGHUP) stays so. A second signal ends the process; of `interrupts` it raises
    KeyboardInterrupt.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if session.stop_by_signal(number):
            return
        if enabled == "interrupts":
            raise KeyboardInterrupt
        try:
            session.leave()
        finally:
            os._exit(128 + number)

    before = {number: signal.signal(number, handle) for number in _handled(enabled)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handled(enabled: SignalHandling) -> list[int]:
    if enabled == "interrupts":
        is_main = threading.current_thread() is threading.main_thread()
        return [signal.SIGINT] if is_main and _is_pythons(signal.getsignal(signal.SIGINT)) else []
    return [number for number in STOPPING if enabled and _is_heard(number)]


def _is_pythons(handler: object) -> bool:
    """Whether a handler is the interpreter's own, or that of `asyncio.run`, which no blocking call hears."""
    bound = getattr(handler, "func", handler)
    return handler is signal.default_int_handler or isinstance(getattr(bound, "__self__", None), asyncio.Runner)


def _is_heard(number: int) -> bool:
    return number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
