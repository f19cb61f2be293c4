"""What surrounds a value without being part of it: quotes, brackets, bullets, a full stop."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

QUOTES = "\"'“”„‘’«»‹›「」『』`"
PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">", "【": "】", "《": "》"}
_LEADING = re.compile(rf"[\s{QUOTES}]*")
_BULLET = re.compile(r"#{1,6}(?:\s+|(?=[A-Z]\b))|[-*•·‣▪–—]\s+|(?:[-=]{0,3}>{1,3}|[☑✅✓✔→➡∴…👉]\ufe0f?)\s*")
_ALIKE = str.maketrans({"’": "'", "‘": "'", "−": "-", "–": "-", "—": "-", "“": '"', "”": '"'})
_BLANKS = re.compile(r"\s+")


def last_of(matches: Iterable[re.Match[str]]) -> re.Match[str] | None:
    """The last of some matches, or None."""
    kept = deque(matches, maxlen=1)
    return kept[0] if kept else None


def trimmed(text: str, start: int, end: int, *, ends: str = ".。") -> tuple[int, int]:
    """A span without outer blanks, quotes and final full stops."""
    while start < end:
        if text[start].isspace() or text[start] in QUOTES:
            start += 1
        elif text[end - 1].isspace() or text[end - 1] in QUOTES or text[end - 1] in ends:
            end -= 1
        else:
            break
    return start, end


def unwrapped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the quotes, full stops and brackets that enclose all of it, from outside inwards."""
    while True:
        start, end = trimmed(text, start, end)
        if end - start < 2 or PAIRS.get(text[start]) != text[end - 1] or not _encloses(text, start, end):
            return start, end
        start, end = start + 1, end - 1


def _encloses(text: str, start: int, end: int) -> bool:
    """Whether the bracket at the start is closed by the one at the end."""
    opening, closing, depth = text[start], PAIRS[text[start]], 0
    for index in range(start, end):
        depth += (text[index] == opening) - (text[index] == closing)
        if not depth:
            return index == end - 1
    return False


def after_bullet(text: str, start: int, end: int) -> int:
    """Where the text of a line begins behind a bullet or a tick."""
    match = _LEADING.match(text, start, end)
    start = match.end() if match else start
    bullet = _BULLET.match(text, start, end)
    return bullet.end() if bullet else start


def alike(text: str) -> str:
    """A text as its words are looked for: no case, one sort of quotes and dashes, no line ends; as long as before."""
    lowered = text.lower()
    return (lowered if len(lowered) == len(text) else text).translate(_ALIKE).replace("\n", " ")


def folded(text: str) -> str:
    """A text as it is compared: no case, no dress, no final full stop, single blanks."""
    start, end = trimmed(text, 0, len(text), ends=".。!;,:")
    return _BLANKS.sub(" ", text[start:end]).casefold().translate(_ALIKE)
