"""Grounding: where an answer points on a screenshot, and whether that lies in the target.

Five readers of the same text. `reader` is this project's own; the other four repeat what published code reads, faults
included, so that numbers can be compared. Coordinates here are normalised: 0 to 1 across and down
the original picture, whatever size the model saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from kvl_eval.scorers.answers import Coords, Wanted, read
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN

ImageSize = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class PointReading:
    """What a reader found.

    Attributes:
        x, y: a normalised point.
        form: in which written form, or how the reader found it.
        box:  the box whose center it is, if one was.
        span: where it stands in the text, in characters; None where a copied reader does not say.
    """

    x: float
    y: float
    form: str
    box: Box | None = None
    span: tuple[int, int] | None = None

    @property
    def inside(self) -> bool:
        """Whether the point lies on the picture."""
        return 0 <= self.x <= 1 and 0 <= self.y <= 1


class WrongFormat(ValueError):
    """The text holds nothing this reader takes for a point; the message says what was wrong with it."""


PointReader = Callable[[str, ImageSize], PointReading]
"""(text, size in pixels of the image as it was sent) -> what it points at. Raises WrongFormat."""


def hits(x: float, y: float, box: Box) -> bool:
    """Whether the point lies in `box`, borders included; both in the same units. NaN lies nowhere."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


# --- screenspot_pro_kimivl ---------------------------------------------------------------------------------------

_PRO_XY = re.compile(r"x=(0(?:\.\d+)?|1(?:\.0+)?), y=(0(?:\.\d+)?|1(?:\.0+)?)")


def read_screenspot_pro(raw: str, size: ImageSize) -> PointReading:
    """The first `x=<n>, y=<n>` with both between 0 and 1, written exactly so; `y=12` is read as 1.

    Takes the raw output: it drops the thought itself. Where the authors' code stops with a ValueError (a thought that
    is never closed, a closing marker without an opening one) the format is wrong.

    Source: likaixin2000/ScreenSpot-Pro-GUI-Grounding models/kimivl.py @ bd8bbbb.
    """
    del size
    if THINK_OPEN in raw and THINK_CLOSE not in raw:
        raise WrongFormat("think_unclosed")
    if THINK_CLOSE in raw and THINK_OPEN not in raw:
        raise WrongFormat("think_unopened")
    match = _PRO_XY.search(raw.partition(THINK_CLOSE)[2] if THINK_CLOSE in raw else raw)
    if match is None:
        raise WrongFormat("wrong_format")
    return PointReading(float(match[1]), float(match[2]), "xy")


# --- vlmevalkit --------------------------------------------------------------------------------------------------

_VLM_XY = re.compile(r"x=([\d.]+), y=([\d.]+)")


def read_vlmevalkit(text: str, size: ImageSize) -> PointReading:
    """The first `x=<n>, y=<n>`, divided by the picture's size if either is above 1; without one, the point (0, 0).

    So an answer without a point is a miss, and only `0.5.5` is a wrong format.

    Source: open-compass/VLMEvalKit vlmeval/dataset/GUI/screenspot.py @ e8e78f0 (parse_bbox_aguvis).
    """
    match = _VLM_XY.search(text)
    if match is None:
        return PointReading(0.0, 0.0, "none")
    try:
        x, y = float(match[1]), float(match[2])
    except ValueError:
        raise WrongFormat("not_a_number") from None
    return _down_if_above_one(x, y, size, "xy")


# --- lmms_eval ---------------------------------------------------------------------------------------------------

_LMMS_NUMBER = r"-?\d+(?:\.\d+)?%?"
_LMMS_NUMBERS = re.compile(_LMMS_NUMBER)
_LMMS_OPEN = re.compile(r"<\s*+bbox", re.I)
_LMMS_CLOSE = re.compile(r"<\s*+/\s*+bbox\s*+>", re.I)
_LMMS_PAIR = re.compile(rf"[\[(]\s*+({_LMMS_NUMBER})(?:\s*,\s*|\s+)({_LMMS_NUMBER})\s*[\])]")
_LMMS_X = re.compile(rf"x['\"]?\s*+[:=]\s*+({_LMMS_NUMBER})", re.I)
_LMMS_Y = re.compile(rf"y['\"]?\s*+[:=]\s*+({_LMMS_NUMBER})", re.I)


def read_lmms_eval(text: str, size: ImageSize) -> PointReading:
    """A `<bbox>` tag's centre, else the first bracketed pair, else x..y, else the first two (or four) numbers.

    Four numbers count as a box where the text has `box` or `rect` in it. Numbers above 1 are divided by the size.

    Source: lmms-eval lmms_eval/tasks/screenspot_v2/utils.py @ 75571cf.
    """
    found = lmms_point(text)
    if found is None:
        raise WrongFormat("wrong_format")
    return _down_if_above_one(found[0], found[1], size, "numbers")


def lmms_point(text: str) -> tuple[float, float] | None:
    """The point as `read_lmms_eval` finds it, before any scaling; None where there is none."""
    return _lmms_tag(text) or _lmms_pair(text) or _lmms_xy(text) or _lmms_numbers(text)


def _lmms_tag(text: str) -> tuple[float, float] | None:
    opened = _LMMS_OPEN.search(text)
    start = text.find(">", opened.end()) if opened else -1
    closed = _LMMS_CLOSE.search(text, start + 1) if start >= 0 else None
    numbers = _LMMS_NUMBERS.findall(text, start + 1, closed.start()) if closed else []
    return _lmms_centre(numbers) if len(numbers) >= 4 else None


def _lmms_pair(text: str) -> tuple[float, float] | None:
    match = _LMMS_PAIR.search(text)
    return (_percent(match[1]), _percent(match[2])) if match else None


def _lmms_xy(text: str) -> tuple[float, float] | None:
    x = _LMMS_X.search(text)
    y = _LMMS_Y.search(text, x.end()) if x else None
    return (_percent(x[1]), _percent(y[1])) if x and y else None


def _lmms_numbers(text: str) -> tuple[float, float] | None:
    numbers = _LMMS_NUMBERS.findall(text)
    lower = text.lower()
    if len(numbers) >= 4 and ("box" in lower or "rect" in lower):
        return _lmms_centre(numbers)
    return (_percent(numbers[0]), _percent(numbers[1])) if len(numbers) >= 2 else None


def _lmms_centre(numbers: list[str]) -> tuple[float, float]:
    left, top, right, bottom = (_percent(number) for number in numbers[:4])
    return (left + right) / 2, (top + bottom) / 2


def _percent(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith(("%", "％")) else float(text)


# --- seeclick ----------------------------------------------------------------------------------------------------

_SEECLICK_BOX = re.compile(r"<box>\((\d+),(\d+)\),\((\d+),(\d+)\)</box>")
_SEECLICK_NUMBER = re.compile(r"-?\d+\.?\d*")


def read_seeclick(text: str, size: ImageSize) -> PointReading:
    """With `box` in the text, the centre of its first `<box>(a,b),(c,d)</box>` in thousandths; else all its numbers.

    There must be exactly two numbers (a point) or four (a box), and they are taken as normalised.

    Source: njucckevin/SeeClick pretrain/screenspot_test.py and process_utils.py @ 0ef37ac.
    """
    del size
    if "box" in text:
        match = _SEECLICK_BOX.search(text)
        if match is None:
            raise WrongFormat("wrong_format")
        left, top, right, bottom = (float(number) for number in match.groups())
        return PointReading((left + right) / 2 / 1000, (top + bottom) / 2 / 1000, "box")
    numbers = [float(number) for number in _SEECLICK_NUMBER.findall(text)]
    if len(numbers) == 2:
        return PointReading(numbers[0], numbers[1], "two-numbers")
    if len(numbers) == 4:
        return PointReading((numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2, "four-numbers")
    raise WrongFormat("wrong_format")


def _down_if_above_one(x: float, y: float, size: ImageSize, form: str) -> PointReading:
    return PointReading(x / size[0], y / size[1], form) if x > 1 or y > 1 else PointReading(x, y, form)


# --- reader ------------------------------------------------------------------------------------------------------

_GIVEN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def read_point(text: str, size: ImageSize, *, coords: Coords = "auto") -> PointReading:
    """The point that an answer names, in any of the forms that models write; of a box its center.

    Points off the picture are returned as they are. Raises WrongFormat with the reader's reason where there is none.
    """
    reading = read(text, Wanted(kind="point", size=size, coords=coords), split=False)
    if not isinstance(reading.value, tuple):
        raise WrongFormat(reading.reason)
    x, y = (float(number) for number in reading.value)
    box = read(text, Wanted(kind="box", size=size, coords=coords), split=False)
    corners = tuple(float(number) for number in box.value) if isinstance(box.value, tuple) else ()
    if len(corners) != 4 or box.span != reading.span:
        return PointReading(x, y, reading.how, span=reading.span)
    return PointReading(x, y, reading.how, (corners[0], corners[1], corners[2], corners[3]), reading.span)


def read_point_thousand(text: str, size: ImageSize) -> PointReading:
    """As `read_point`, with numbers above 1 as thousandths instead of pixels."""
    return read_point(text, size, coords="thousand")


def read_given(text: object) -> PointReading:
    """A normalised point that was extracted elsewhere, `[0.5, 0.25]`. Raises WrongFormat where there is none."""
    numbers = _GIVEN.findall(text) if isinstance(text, str) else []
    if len(numbers) != 2:
        raise WrongFormat("nothing_extracted")
    return PointReading(float(numbers[0]), float(numbers[1]), "given")


READERS: dict[str, PointReader] = {
    "reader": read_point,
    "reader-thousand": read_point_thousand,
    "screenspot_pro_kimivl": read_screenspot_pro,
    "vlmevalkit": read_vlmevalkit,
    "lmms_eval": read_lmms_eval,
    "seeclick": read_seeclick,
}
"""PointReader modes by name. `screenspot_pro_kimivl` takes the raw output, the others the answer part."""
