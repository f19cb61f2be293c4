"""Signals that mean "stop" during a run: the first ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK") if hasattr(signal, name)
)


class Stoppable(Protocol):
    """What signals talk to."""

    def stop_by_signal(self, number: int) -> bool:
        """Begin to stop; False if it was stopping already."""

    def leave(self) -> None:
        """Give back what others wait for and say where the run is; the process ends right after."""


@contextmanager
def on_signals(session: Stoppable, *, enabled: bool) -> Iterator[None]:
    """Hand the signals of `STOPPING` to `session` while the block runs; nothing if not `enabled`.

    One that is ignored (`nohup` ignores SIGHUP) stays so.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if session.stop_by_signal(number):
            return
        try:
            session.leave()
        finally:
            os._exit(128 + number)

    heard = [number for number in STOPPING if enabled and _is_heard(number)]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_heard(number: int) -> bool:
    return number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
