"""A desktop with a thread of its own and a time limit for every call: one that hangs ends its own episode alone."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from kvl_eval.agent.desk import Desk, desktop_died
from kvl_eval.errors import SampleError

T = TypeVar("T")

SETUP_LIMIT = 300.0  # seconds of a reset
OBSERVE_LIMIT = 10.0
ACT_LIMIT = 120.0
EVALUATE_LIMIT = 300.0


class WatchedDesk:
    """Calls a desktop from one thread that lives as long as it does.

    Attributes:
        desk:  the desktop.
        limit: seconds of a call, in place of the usual ones; for tests.
    """

    def __init__(self, desk: Desk, limit: float | None = None) -> None:
        self.desk = desk
        self._limit = limit
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], object]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="kvl-eval desktop", daemon=True).start()

    async def do(self, call: Callable[[], T], limit: float) -> T:
        """What a call of the desktop returns.

        Raises: DesktopDied after `limit` seconds, and for whatever is not a SampleError: then it is closed.
        """
        future: Future[T] = Future()
        self._calls.put((future, call))
        seconds = limit if self._limit is None else self._limit
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            self.close()
            raise desktop_died(f"the desktop did not answer within {seconds:g} s") from None
        except SampleError:
            raise
        except Exception as error:  # the boundary of one desktop: whatever it raises costs its own episode
            self.close()
            raise desktop_died(f"{type(error).__name__}: {str(error)[:300]}") from error

    def close(self) -> None:
        """Let go of the desktop; its thread ends with the call that it is in. May be called twice."""
        self.desk.close()
        self._calls.put(None)

    def _work(self) -> None:
        while (entry := self._calls.get()) is not None:
            future, call = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # handed to the caller
                future.set_exception(error)
