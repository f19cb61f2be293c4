"""Pictures that a rule draws when they are wanted: the frames of the video haystack of `kvl-niah 1`.

Every value is an integer, so the same bytes come out everywhere. A film is a row of scenes of 16 frames; a scene has a
background that fades from one colour to another and three rectangles that move over it. A banner with lines of 5x7
letters, at most 11 each, may lie across a frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvl_eval.types import DrawnFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

LEXICON = Path(__file__).resolve().parent.parent / "data" / "niah" / "lexicon.json"
SCENE = 16  # frames
BANNER_WIDTH, LINE_HEIGHT = 66, 10  # in units of the banner's scale; a glyph's cell is 6 wide


class _Rectangle(NamedTuple):
    """A rectangle of a scene: its size, where it starts, how far it moves a frame, its colour."""

    w: int
    h: int
    x: int
    y: int
    vx: int
    vy: int
    fill: tuple[int, int, int]


def hashed_number(seed: int, *parts: object) -> int:
    """The integer of the first 16 hex digits of SHA-256 of `seed/part/part/...`."""
    text = "/".join(map(str, (seed, *parts)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)


@cache
def lexicon() -> dict[str, list[str]]:
    """Word lists and keys of the haystacks."""
    return {name: words for name, words in json.loads(LEXICON.read_text("utf-8")).items() if isinstance(words, list)}


@cache
def _glyphs() -> dict[str, list[str]]:
    """{letter: its rows of five bits}."""
    return dict(json.loads(LEXICON.read_text("utf-8"))["glyphs_5x7"])


def drawn_ppm(frame: DrawnFrame) -> bytes:
    """The frame as a PPM file."""
    return b"P6\n%d %d\n255\n" % (frame.width, frame.height) + draw(frame).tobytes()


def draw(frame: DrawnFrame) -> Pixels:
    """The frame, (height, width, 3)."""
    width, height = frame.width, frame.height
    background, boxes = _scene(frame.seed, frame.rep, frame.index // SCENE, width, height)
    pixels, step = background.copy(), frame.index % SCENE
    for box in boxes:
        x, y = (box.x + box.vx * step) % (width - box.w), (box.y + box.vy * step) % (height - box.h)
        pixels[y : y + box.h, x : x + box.w] = box.fill
    if frame.banner:
        _write(pixels, frame.banner)
    return pixels


@lru_cache(maxsize=8)
def _scene(seed: int, rep: int, scene: int, width: int, height: int) -> tuple[Pixels, tuple[_Rectangle, ...]]:
    import numpy as np

    number = partial(hashed_number, seed, "video", rep, scene)
    top, bottom = (np.array(_rgb(number(name)), dtype=np.int64) for name in ("c0", "c1"))
    y = np.arange(height)[:, None]
    rows = (top * (height - 1 - y) + bottom * y) // (height - 1)
    background = np.repeat(rows.astype(np.uint8)[:, None], width, axis=1)
    return background, tuple(_box(number, k, width, height) for k in range(3))


def _box(number: Callable[..., int], k: int, width: int, height: int) -> _Rectangle:
    return _Rectangle(
        w=width // 8 + number("w", k) % (width // 4),
        h=height // 8 + number("h", k) % (height // 4),
        x=number("x", k),
        y=number("y", k),
        vx=number("vx", k) % 9 - 4,
        vy=number("vy", k) % 9 - 4,
        fill=_rgb(number("fill", k)),
    )


def _rgb(number: int) -> tuple[int, int, int]:
    return number & 255, number >> 8 & 255, number >> 16 & 255


def _write(pixels: Pixels, lines: tuple[str, ...]) -> None:
    """A white banner over the full width, with lines of black letters in its middle."""
    height, width, _ = pixels.shape
    scale = width // BANNER_WIDTH
    top = (height - LINE_HEIGHT * scale * len(lines)) // 2
    pixels[top : top + LINE_HEIGHT * scale * len(lines)] = 255
    for number, line in enumerate(lines):
        ink = _ink(line, scale)
        x = (width - (6 * len(line) - 1) * scale) // 2
        y = top + LINE_HEIGHT * scale * number + 3 * scale // 2
        pixels[y : y + ink.shape[0], x : x + ink.shape[1]][ink] = 0


@lru_cache(maxsize=64)
def _ink(line: str, scale: int) -> NDArray[np.bool_]:
    """Where a line of letters is black."""
    import numpy as np

    cells = [[[char == "1" for char in row] + [False] for row in _glyph(letter)] for letter in line]
    return np.concatenate(cells, axis=1)[:, :-1].repeat(scale, axis=0).repeat(scale, axis=1)


def _glyph(letter: str) -> list[str]:
    return _glyphs().get(letter, ["0" * 5] * 7)
