"""How running time grows with the length of a response, in processor time of this thread."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORT, LONG = 20_000, 200_000  # characters
RATIO = 20  # what grows with the square takes 100 times as long
NOISE = 0.005  # s; what grows with the square takes longer than this for SHORT
TRIES = 3


def is_linear(run: Callable[[str], object], unit: str, prefix: str = "") -> bool:
    """Whether `run` takes on LONG characters of repeated `unit` at most RATIO times what it takes on SHORT ones.

    LONG is read first: what takes at most RATIO * NOISE needs no second length and no second try.
    """
    long = _best(run, _text(unit, prefix, LONG), enough=RATIO * NOISE)
    if long <= RATIO * NOISE:
        return True
    return long <= RATIO * _best(run, _text(unit, prefix, SHORT), enough=0.0)


def _text(unit: str, prefix: str, length: int) -> str:
    return prefix + (unit * (length // len(unit) + 1))[:length]


def _best(run: Callable[[str], object], text: str, enough: float) -> float:
    """The shortest of TRIES times, or the first of at most `enough` seconds."""
    best = float("inf")
    for _ in range(TRIES):
        started = time.thread_time()
        run(text)
        best = min(best, time.thread_time() - started)
        if best <= enough:
            break
    return best
