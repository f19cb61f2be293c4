"""Where the extracted answer stands in a reply as a page shows it.

A stored span counts characters of the text that the scorer saw; a page shows the reply with control characters spelled
out, and its script counts UTF-16 units.
"""

from __future__ import annotations

from kvl_eval.decode import Json
from kvl_eval.reports.numbers import plain

CharPlace = tuple[int, int]


def shown_span(span: Json, seen: str, reply: str) -> CharPlace | None:
    """The span in UTF-16 units of the printable reply; None where it is none, or not within the reply.

    Args:
        span:  `[start, end)` in characters of `seen`.
        seen:  what the scorer saw: the reply, or a longer text with the reply in it.
        reply: what the page shows, before its characters are made printable.
    """
    place = stored_span(span, len(seen))
    offset = 0 if seen == reply else seen.rfind(reply) if reply else -1
    if place is None or offset < 0:
        return None
    start, end = place[0] - offset, place[1] - offset
    if start < 0 or end > len(reply):
        return None
    begin = units(plain(reply[:start], keep="\n\t"))
    return begin, begin + units(plain(reply[start:end], keep="\n\t"))


def stored_span(span: Json, length: int) -> CharPlace | None:
    """A span as two numbers; None for anything but a part of a text of that length."""
    if not isinstance(span, list | tuple) or len(span) != 2:
        return None
    start, end = span
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= length:
        return None
    return start, end


def units(text: str) -> int:
    """How many UTF-16 units a printable text has."""
    return len(text) + sum(char > "\uffff" for char in text)
