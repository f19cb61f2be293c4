"""How running time grows with the length of a response, in processor time of this thread."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORT, LONG = 10_000, 100_000  # characters
RATIO = 20  # what grows with the square takes 100 times as long
NOISE = 0.00125  # s; what grows with the square takes longer than this for SHORT
TRIES = 3


def is_linear(run: Callable[[str], object], unit: str, prefix: str = "") -> bool:
    """Whether `run` takes on LONG characters of repeated `unit` at most RATIO times what it takes on SHORT ones.

    Each time is the shortest of TRIES. What takes at most RATIO * NOISE on LONG needs no second length, and LONG is
    read again only where a first try finds it out of proportion.
    """
    long = short = float("inf")
    for _ in range(TRIES):
        long = min(long, _seconds(run, _text(unit, prefix, LONG)))
        if long <= RATIO * NOISE:
            return True
        short = min(short, *(_seconds(run, _text(unit, prefix, SHORT)) for _ in range(TRIES)))
        if long <= RATIO * short:
            return True
    return False


def _text(unit: str, prefix: str, length: int) -> str:
    return prefix + (unit * (length // len(unit) + 1))[:length]


def _seconds(run: Callable[[str], object], text: str) -> float:
    started = time.thread_time()
    run(text)
    return time.thread_time() - started
