"""What Pillow, libtiff and decord say beside their results: kept for the sample they speak of, never on the terminal.

Pillow logs; C libraries write to standard error. A worker process takes both while it does a job (`caught`); in other
processes only the logging is heard (`heard`), as their standard error belongs to somebody else.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

LONGEST = 300  # characters of a note
STREAMS = (1, 2)  # standard output and standard error


class _Heard(threading.local):
    """The lines of one thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class _Listener(logging.Handler):
    """Takes the warnings that one thread's libraries log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            _heard.lines.append(record.getMessage())


_heard = _Heard()
_file: IO[bytes] | None = None  # what standard output and error of a worker lead to while it does a job


@contextmanager
def heard() -> Iterator[None]:
    """A time in which what Pillow logs on this thread is kept for `library_lines`."""
    logger, listener = logging.getLogger("PIL"), _Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)


@contextmanager
def caught() -> Iterator[None]:
    """A time in which everything that this process writes to its standard streams is kept for `library_lines`.

    For worker processes, which do one job at a time; kvl-eval's own warnings still go where they went.
    """
    global _file
    saved = {stream: os.dup(stream) for stream in STREAMS}
    own = logging.StreamHandler(os.fdopen(os.dup(2), "w"))
    logger = logging.getLogger("kvl_eval")
    logger.addHandler(own)
    with tempfile.TemporaryFile() as _file:
        for stream in STREAMS:
            os.dup2(_file.fileno(), stream)
        try:
            yield
        finally:
            for stream, place in saved.items():
                os.dup2(place, stream)
                os.close(place)
            _file = None
            logger.removeHandler(own)
            own.stream.close()


def library_lines() -> str | None:
    """What libraries said since the last call on this thread, as one line; None where they were silent."""
    lines, _heard.lines = _heard.lines, []
    if _file is not None:
        sys.stderr.flush()
        _file.seek(0)
        lines += _file.read().decode("utf-8", "replace").splitlines()
        _file.seek(0)
        _file.truncate()
    text = "; ".join(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    return text[:LONGEST] or None


def library_note() -> str | None:
    """The same as a note of a picture."""
    lines = library_lines()
    return None if lines is None else f"library: {lines}"
