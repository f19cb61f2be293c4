"""What is known of a video before its frames are decoded, and what both decoders share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoIndex:
    """What is known of a video without decoding more than its first frame.

    Attributes:
        times:    presentation times in units of `tick`, rising; one per frame.
        tick:     seconds of one unit.
        keys:     (number of the first frame shown from there, time to seek to) of the keyframes; empty for decord.
        fps:      average frames per second, as the header says.
        size:     (width, height) as shown, rotation applied; samples are square, whatever the header says of them.
        rotation: degrees counter-clockwise that were applied, a multiple of 90.
        decoder:  `pyav 18.1.0`.
        notes:    what the header claims and the file does not hold.
        flags:    what may change an answer: `fallback_decoder`.
        counted:  time stamps do not tell its frames apart, or in which order they are shown: frame n is the n-th that
                  the decoder gives from the beginning.
    """

    path: Path
    name: str
    times: Sequence[float]
    tick: float
    keys: tuple[tuple[int, int], ...] = ()
    fps: float
    size: tuple[int, int]
    rotation: int = 0
    decoder: str
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    counted: bool = False

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    def seconds(self, index: int) -> float:
        """Presentation time of a frame, counted from the first one."""
        return (self.times[index] - self.times[0]) * self.tick


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A frame: the index asked for, the index it has (the nearest decodable one), and its pixels (H, W, 3) uint8."""

    asked: int
    index: int
    pixels: NDArray[np.uint8]


def check_time(name: str, deadline: float) -> None:
    """Raise MediaError `timeout` past the deadline."""
    if time.monotonic() > deadline:
        raise MediaError("timeout", f"{name}: decoding took too long", fix="raise --timeout")


def corrupt(name: str, why: str) -> MediaError:
    """The error of a video that cannot be used."""
    return MediaError("media.corrupt", f"{name} cannot be decoded", why=why)
