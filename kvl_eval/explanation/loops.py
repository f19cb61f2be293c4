"""Replies that repeat themselves until the token limit: more tokens would not help them."""

from __future__ import annotations

TAIL = 2_000  # characters at the end of a reply that are looked at
SHORTEST = 200  # characters of the suffix that repeats
LONGEST_PERIOD = 400
TIMES = 4  # how often the period fits into the suffix
PROBE = 50  # characters: of any such suffix the last ones occur earlier in it


def loops(text: str) -> bool:
    """Whether a reply ends in a loop.

    That is a suffix of at least 200 characters with a period of at most 400 that fits four times, within the last
    2,000 characters. The prefix function of the reversed end gives the shortest period of every suffix.
    """
    tail = text[-TAIL:]
    if len(tail) < SHORTEST or tail.rfind(tail[-PROBE:], 0, len(tail) - 1) < 0:
        return False
    backward = tail[::-1]
    borders = [0] * len(backward)  # of each suffix: its longest proper part that is both its beginning and its end
    border = 0
    for last in range(1, len(backward)):
        while border and backward[last] != backward[border]:
            border = borders[border - 1]
        border += backward[last] == backward[border]
        borders[last] = border
        length, period = last + 1, last + 1 - border
        if length >= SHORTEST and period <= LONGEST_PERIOD and length >= TIMES * period:
            return True
    return False
