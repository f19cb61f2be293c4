"""Drawing primitives: seeded styles, text, shapes and icons on small Pillow canvases."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT_DIR = Path(__file__).parent / "fonts"
SANS, MONO, SERIF = "DejaVuSans", "DejaVuSansMono", "DejaVuSerif-BoldItalic"
CELL, LINE, GLYPH = 14, 28, 22  # pixels: width of a character's cell, height of a line, size of the type

COLOURS = {
    "red": (200, 30, 30),
    "blue": (30, 60, 200),
    "green": (20, 130, 40),
    "orange": (235, 130, 10),
    "purple": (130, 30, 150),
    "gray": (110, 110, 110),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")


@lru_cache(maxsize=256)
def font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A bundled face at a pixel size, laid out by Pillow itself so that the result is the same everywhere."""
    return ImageFont.truetype(FONT_DIR / f"{face}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True)
class Style:
    """Paper, ink and face of one drawing."""

    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    face: str
    size: int


def pick_style(rng: random.Random, level: float, sizes: tuple[int, ...] = (14, 13, 15)) -> Style:
    """Black on white at the first size at level 0; tinted paper, dark inks, other sizes and faces towards level 1."""
    paper, ink, face, size = (255, 255, 255), (0, 0, 0), SANS, sizes[0]
    if rng.random() < level:
        paper = (rng.randint(215, 255), rng.randint(215, 255), rng.randint(215, 255))
    if rng.random() < level:
        ink = (rng.randint(0, 70), rng.randint(0, 70), rng.randint(0, 90))
    if rng.random() < 0.25 * level:
        face = MONO
    if rng.random() < 0.5 * level:
        size = rng.choice(sizes)
    return Style(paper, ink, face, size)


class Canvas:
    """A picture under construction; `texts` keeps what was written, in drawing order."""

    def __init__(self, width: int, height: int, style: Style) -> None:
        self.style = style
        self.image = Image.new("RGB", (width, height), style.paper)
        self.pen = ImageDraw.Draw(self.image)
        self.width, self.height = width, height

    def text(
        self,
        x: float,
        y: float,
        value: str,
        *,
        ink: tuple[int, int, int] | None = None,
        face: str = MONO,
        anchor: str = "mm",
    ) -> None:
        """Write a value near x, y, each character in a cell of CELL x LINE pixels on a fixed grid.

        So every character fills the two patches it stands in the same way everywhere, which a small model can learn
        in minutes. `anchor` says whether x is the left end ("lm"), the middle or the right end ("rm") of the value.
        """
        width = CELL * len(value)
        left = {"l": x, "m": x - width / 2, "r": x - width}[anchor[0]]
        column = max(0, min(round(left / CELL), self.width // CELL - len(value)))
        middle = LINE * max(0, min(int(y // LINE), self.height // LINE - 1)) + LINE // 2
        for k, char in enumerate(value):
            centre = CELL * (column + k) + CELL // 2
            self.pen.text((centre, middle), char, fill=ink or self.style.ink, font=font(face, GLYPH), anchor="mm")

    def free_text(self, x: float, y: float, value: str, size: int, ink: tuple[int, int, int] | None = None) -> None:
        """Write a value in ordinary type, its middle at x, y."""
        self.pen.text((x, y), value, fill=ink or self.style.ink, font=font(self.style.face, size), anchor="mm")

    def fit(self, value: str, width: float, size: int | None = None) -> int:
        """The largest size not above the style's at which a value is at most so wide."""
        size = size or self.style.size
        while size > 8 and font(self.style.face, size).getlength(value) > width:
            size -= 1
        return size

    def shape(self, name: str, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
        """A filled shape of radius r about x, y."""
        if name == "circle":
            self.pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif name == "square":
            self.pen.rectangle((x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r), fill=colour)
        elif name == "triangle":
            self.pen.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=colour)
        elif name == "star":
            self.pen.polygon(_star(x, y, r), fill=colour)
        else:
            w = r * 0.35
            self.pen.rectangle((x - w, y - r, x + w, y + r), fill=colour)
            self.pen.rectangle((x - r, y - w, x + r, y + w), fill=colour)

    def polygon(self, sides: int, x: float, y: float, r: float, turn: float = 0.0) -> None:
        """The outline of a regular polygon."""
        points = [
            (x + r * math.cos(turn + 2 * math.pi * k / sides), y + r * math.sin(turn + 2 * math.pi * k / sides))
            for k in range(sides)
        ]
        self.pen.polygon(points, outline=self.style.ink, width=2)

    def icon(self, name: str, x: float, y: float, r: float) -> None:
        """One of ICONS, drawn in ink with radius r about x, y."""
        ICONS[name](self, x, y, r)


def _star(x: float, y: float, r: float) -> list[tuple[float, float]]:
    return [
        (
            x + (r if k % 2 == 0 else 0.42 * r) * math.sin(math.pi * k / 5),
            y - (r if k % 2 == 0 else 0.42 * r) * math.cos(math.pi * k / 5),
        )
        for k in range(10)
    ]


def _close(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.line((x - r, y - r, x + r, y + r), fill=c.style.ink, width=3)
    c.pen.line((x - r, y + r, x + r, y - r), fill=c.style.ink, width=3)


def _search(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.ellipse((x - r, y - r, x + 0.4 * r, y + 0.4 * r), outline=c.style.ink, width=2)
    c.pen.line((x + 0.2 * r, y + 0.2 * r, x + r, y + r), fill=c.style.ink, width=3)


def _menu(c: Canvas, x: float, y: float, r: float) -> None:
    for dy in (-0.8, 0.0, 0.8):
        c.pen.line((x - r, y + dy * r, x + r, y + dy * r), fill=c.style.ink, width=2)


def _home(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.polygon([(x, y - r), (x - r, y), (x + r, y)], fill=c.style.ink)
    c.pen.rectangle((x - 0.6 * r, y, x + 0.6 * r, y + r), fill=c.style.ink)


def _back(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.polygon([(x - r, y), (x, y - r), (x, y + r)], fill=c.style.ink)
    c.pen.line((x, y, x + r, y), fill=c.style.ink, width=4)


def _play(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.polygon([(x - 0.7 * r, y - r), (x - 0.7 * r, y + r), (x + r, y)], fill=c.style.ink)


def _mail(c: Canvas, x: float, y: float, r: float) -> None:
    c.pen.rectangle((x - r, y - 0.7 * r, x + r, y + 0.7 * r), outline=c.style.ink, width=2)
    c.pen.line((x - r, y - 0.7 * r, x, y + 0.1 * r, x + r, y - 0.7 * r), fill=c.style.ink, width=2)


def _more(c: Canvas, x: float, y: float, r: float) -> None:
    for dx in (-0.8, 0.0, 0.8):
        c.pen.ellipse((x + dx * r - 2, y - 2, x + dx * r + 2, y + 2), fill=c.style.ink)


ICONS: dict[str, Callable[[Canvas, float, float, float], None]] = {
    "close": _close,
    "search": _search,
    "menu": _menu,
    "home": _home,
    "back": _back,
    "play": _play,
    "mail": _mail,
    "more": _more,
    "add": lambda c, x, y, r: c.shape("cross", x, y, r, c.style.ink),
    "favorite": lambda c, x, y, r: c.shape("star", x, y, r, c.style.ink),
    "stop": lambda c, x, y, r: c.shape("square", x, y, r, c.style.ink),
    "record": lambda c, x, y, r: c.shape("circle", x, y, r, COLOURS["red"]),
}
