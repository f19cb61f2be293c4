"""Run a coroutine to its end, wherever the caller stands."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns; where an event loop runs already (notebooks), it gets a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[T] = []
    failures: list[BaseException] = []
    finished = threading.Event()  # an interrupted `join` takes the thread for ended
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def watched() -> T:
        running.append((asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task())))
        return await work

    def body() -> None:
        try:
            results.append(asyncio.run(watched()))
        except BaseException as error:  # handed to the caller's thread below
            failures.append(error)
        finally:
            finished.set()

    context = contextvars.copy_context()  # by which a notebook knows the cell that its output belongs to
    thread = threading.Thread(target=context.run, args=(body,), name="kvl-eval run")
    thread.start()
    try:
        finished.wait()
    except BaseException:  # KeyboardInterrupt: the work is not left running behind the caller
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)
        finished.wait()
        raise
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return results[0]
