"""A thread for the model: one call after the other, and no obstacle to the program's end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class ModelThread:
    """Runs calls in order on one thread, so that an event loop keeps running and torch keeps one pool of threads.

    The thread is a daemon: loading 33 GB or encoding a large picture cannot be interrupted, and must not keep a program
    alive that is to stop.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call; its result or its error is the future's."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="model", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def end(self) -> None:
        """End the thread after the calls that were queued."""
        if self._thread is not None:
            self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            del item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # whatever it is, it belongs to who waits for the result
                future.set_exception(error)
            else:
                del call  # a thread that gave a large cache back while the program ends would abort it
                future.set_result(result)
                del result
            del future
