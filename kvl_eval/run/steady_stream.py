"""A stream of text whose reader may close it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO, TypeVar

T = TypeVar("T")


class Steady:
    """A stream whose reader may close it: what is written then is dropped, without an error.

    rich would end the process there, and point standard output elsewhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def write(self, text: str) -> int:
        """Write, or pretend to."""
        return self._try(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        """Flush, or pretend to."""
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        """As the stream says."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream says."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """As the stream says."""
        return self._stream.encoding or "utf-8"

    def _try(self, action: Callable[[], T]) -> T | None:
        if self._gone:
            return None
        try:
            return action()
        except (OSError, ValueError):
            self._gone = True
            return None
