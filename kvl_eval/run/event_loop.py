"""Run a coroutine to its end, wherever the caller stands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns; where an event loop runs already (notebooks), it gets a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    found: list[T] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:  # handed to the caller's thread below
            failed.append(error)

    thread = threading.Thread(target=body, name="kvl-eval run")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
