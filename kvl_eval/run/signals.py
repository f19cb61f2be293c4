"""SIGINT and SIGTERM during a run: the first ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """What signals talk to."""

    def stop_by_signal(self, number: int) -> bool:
        """Begin to stop; False if it was stopping already."""

    def leave(self) -> None:
        """Give back what others wait for; the process ends right after."""


@contextmanager
def on_signals(session: Stoppable, *, enabled: bool) -> Iterator[None]:
    """Hand SIGINT and SIGTERM to `session` while the block runs; nothing if not `enabled`."""

    def handle(number: int, _: FrameType | None) -> None:
        if session.stop_by_signal(number):
            return
        try:
            session.leave()
        finally:
            os._exit(128 + number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)} if enabled else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
