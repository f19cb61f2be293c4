"""How far a report is, for its user: a line on the log `kvl_eval.progress`, which the command line shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PROGRESS = logging.getLogger("kvl_eval.progress")
SECONDS = 0.5  # between two lines


class Pace:
    """Counts samples and their images, and says from time to time how many are done and how long the rest takes."""

    def __init__(self, samples: int, images: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._planned = samples, images
        self._clock = clock
        self._start = self._last = clock()
        self._samples = self._images = 0

    def step(self, images: int) -> None:
        """One more sample is done, with so many images."""
        self._samples += 1
        self._images += images
        now = self._clock()
        if now - self._last >= SECONDS:
            self._last = now
            PROGRESS.info("%s", self._text(now))

    def _text(self, now: float) -> str:
        """`samples 400/1000  images 380/1000  ETA 20s`."""
        samples, images = self._planned
        left = round((now - self._start) * (samples - self._samples) / self._samples)
        shown = f"  images {self._images}/{images}" if images else ""
        eta = f"{left}s" if left < 60 else f"{left // 60}m{left % 60:02d}s"
        return f"samples {self._samples}/{samples}{shown}  ETA {eta}"
