"""The images of `doctor`, drawn here: shapes and digits, always the same bytes. Digits need no font."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE, BLACK, GRAY = (255, 255, 255), (0, 0, 0), (128, 128, 128)
COLORS = {"red": (220, 20, 20), "blue": (20, 40, 220), "green": (20, 160, 40), "yellow": (250, 220, 20)}
SIDE = 336  # pixels of the images that ask what is seen
ROWS, COLUMNS = 7, 5  # of a digit
DIGITS = {
    "0": "01110100011001110101110011000101110",
    "1": "00100011000010000100001000010001110",
    "2": "01110100010000100010001000100011111",
    "3": "11111000100010000010000011000101110",
    "4": "00010001100101010010111110001000010",
    "5": "11111100001111000001000011000101110",
    "6": "00110010001000011110100011000101110",
    "7": "11111000010001000100010000100001000",
    "8": "01110100011000101110100011000101110",
    "9": "01110100011000101111000010001001100",
}
HEIGHTS = (32, 24, 18, 14, 12, 10, 8, 6)  # pixels of the digits of a ladder
CANVASES = (448, 896, 1_792)  # pixels of a side
STRINGS = 3  # of each height


def png(image: Image) -> bytes:
    """An image as a file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@cache
def plain(color: tuple[int, int, int], side: int = SIDE) -> bytes:
    """A square of one color."""
    return png(_canvas(color, side))


@cache
def shapes(color: str, places: tuple[tuple[float, float], ...], *, square: bool = False) -> bytes:
    """Circles or squares of one color on white; places are shares of the side."""
    from PIL import ImageDraw

    image = _canvas(WHITE, SIDE)
    pen = ImageDraw.Draw(image)
    radius = SIDE // 9
    for across, down in places:
        box = [SIDE * across - radius, SIDE * down - radius, SIDE * across + radius, SIDE * down + radius]
        (pen.rectangle if square else pen.ellipse)(box, fill=COLORS[color])
    return png(image)


def number(text: str, height: int = 96) -> bytes:
    """Digits in the middle of a white square."""
    image = _canvas(WHITE, SIDE)
    digits = _digits(text, height)
    image.paste(digits, ((SIDE - digits.width) // 2, (SIDE - digits.height) // 2))
    return png(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Strings of digits, one below the other, each smaller than the one above, on a square canvas."""

    side: int
    strings: tuple[str, ...]

    def image(self) -> bytes:
        """The drawing."""
        image = _canvas(WHITE, self.side)
        step = self.side // (len(HEIGHTS) + 1)
        for row, (height, text) in enumerate(zip(HEIGHTS, self.strings, strict=True), 1):
            digits = _digits(text, height)
            image.paste(digits, ((self.side - digits.width) // 2, row * step - height // 2))
        return png(image)

    def read(self, reply: str) -> list[int]:
        """The heights whose strings a reply holds."""
        digits = "".join(character if character.isdigit() else " " for character in reply).split()
        return [height for height, text in zip(HEIGHTS, self.strings, strict=True) if text in digits]


@cache
def ladder_image(side: int, turn: int) -> bytes:
    """The drawing of a ladder."""
    return ladder(side, turn).image()


def ladder(side: int, turn: int) -> Ladder:
    """The ladder of a canvas; every turn has other digits."""
    strings = [_string(CANVASES.index(side) * STRINGS + turn, row) for row in range(len(HEIGHTS))]
    return Ladder(side=side, strings=tuple(strings))


def smallest(readings: Sequence[Sequence[int]]) -> int | None:
    """The smallest height that two of the ladders of a canvas read; None where none was."""
    counts = {height: sum(height in reading for reading in readings) for height in HEIGHTS}
    return min((height for height in HEIGHTS if counts[height] >= STRINGS - 1), default=None)


def _string(turn: int, row: int) -> str:
    """Five digits, the first of them not 0."""
    return str(10_000 + (7_919 * (turn * len(HEIGHTS) + row + 1) * 104_729) % 90_000)


def _digits(text: str, height: int) -> Image:
    """Black digits on white, `height` pixels high."""
    from PIL import Image

    cell = COLUMNS + 1
    small = Image.new("L", (cell * len(text) - 1, ROWS), 255)
    for place, digit in enumerate(text):
        for bit, mark in enumerate(DIGITS[digit]):
            if mark == "1":
                small.putpixel((place * cell + bit % COLUMNS, bit // COLUMNS), 0)
    large = small.resize((small.width * 16, ROWS * 16), Image.Resampling.NEAREST)
    return large.resize((round(small.width * height / ROWS), height), Image.Resampling.BOX).convert("RGB")


def _canvas(color: tuple[int, int, int], side: int) -> Image:
    from PIL import Image

    return Image.new("RGB", (side, side), color)
