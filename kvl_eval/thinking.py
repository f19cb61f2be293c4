"""Split a model's output into its thought and its answer.

Kimi-VL Thinking models write `◁think▷ ... ◁/think▷` as ordinary text before the answer (model card of
Kimi-VL-A3B-Thinking-2506). Rules: decisions of this project, `docs/decisions.md`.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

THINK_OPEN = "◁think▷"
THINK_CLOSE = "◁/think▷"
MARKERS = (THINK_OPEN, THINK_CLOSE)


@dataclass(frozen=True, slots=True)
class SplitOutput:
    """The two parts of an output; `closed` is None where there is no thought."""

    thinking: str
    answer: str
    closed: bool | None


def split_thinking(raw: str, markers: tuple[str, str] = MARKERS) -> SplitOutput:
    """The thought and the answer of `raw`; an unclosed thought leaves an empty answer.

    A closing marker ends the thought at its first occurrence, whether or not an opening marker stands before it
    (chat templates of some servers swallow the opening one). A marker that appears after the answer began is text.
    The answer after a thought is stripped; output without a thought is the answer as it is, since white space counts
    in some scores (ANLS divides by raw lengths).
    """
    opening, closing = markers
    before, close, after = raw.partition(closing)
    if close:
        return SplitOutput(_without(opening, before), after.strip(), True)
    if raw.lstrip().startswith(opening):
        return SplitOutput(_without(opening, raw), "", False)
    return SplitOutput("", raw, None)


def _without(opening: str, text: str) -> str:
    head, marker, tail = text.partition(opening)
    return tail if marker and not head.strip() else text


class ThoughtScan:
    """Finds the markers in an output that grows token by token, in time linear in its length.

    Attributes:
        opened:    whether the output opens with a thought; None while that is undecided.
        closed_at: tokens up to and including the one with the closing marker's last byte; None before it came.
        count:     tokens seen.
    """

    def __init__(self, prefix: bytes = b"", markers: tuple[str, str] = MARKERS) -> None:
        self.opened: bool | None = None
        self.closed_at: int | None = None
        self.count = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._opening, self._closing = markers[0], markers[1].encode()
        self._head = ""
        self._tail = b""
        if prefix:
            self._take(prefix)

    def push(self, token: bytes) -> None:
        """Take the bytes of the next token."""
        self.count += 1
        self._take(token)

    def _take(self, data: bytes) -> None:
        if self.opened is None:
            self._head = (self._head + self._decoder.decode(data)).lstrip()
            if self._head.startswith(self._opening):
                self.opened = True
            elif not self._opening.startswith(self._head):
                self.opened = False
        if self.closed_at is None:
            window = self._tail + data
            if self._closing in window:
                self.closed_at = self.count
            self._tail = window[-len(self._closing) + 1 :]


def unfinished_close(data: bytes, closing: str = THINK_CLOSE) -> int:
    """Bytes at the end of `data` that begin a closing marker without ending it; 0 where none do."""
    marker = closing.encode()
    return max(size for size in range(len(marker)) if data.endswith(marker[:size]))
