"""How running time grows with the length of a response; counts nothing in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORT, LONG = 10**5, 10**6
NOISE = 0.01  # of processor time; what grows with the square takes seconds for 10^5 characters


def is_linear(run: Callable[[str], object], unit: str) -> bool:
    """Whether `run` takes on 10^6 characters of repeated `unit` at most 20 times what it takes on 10^5."""
    return _best(run, unit, LONG) <= 20 * max(_best(run, unit, SHORT), NOISE)


def _best(run: Callable[[str], object], unit: str, length: int) -> float:
    text = (unit * (length // len(unit) + 1))[:length]
    taken = []
    for _ in range(2):
        started = time.thread_time()
        run(text)
        taken.append(time.thread_time() - started)
    return min(taken)
