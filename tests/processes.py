"""Processes that tests start: whatever becomes of the test, they end with it, and their pipes are closed."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kvl_eval.backends.base import Backend

B = TypeVar("B", bound=Backend)


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process, killed at the end of the block if it still runs; `options` are those of `Popen`."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def closed_after(backend: B) -> Iterator[B]:
    """The backend, closed at the end of the block with the media processes that it may have started for a plan."""
    try:
        yield backend
    finally:
        asyncio.run(backend.close())
