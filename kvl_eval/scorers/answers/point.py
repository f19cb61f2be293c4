"""A point or a box on a picture, as fractions of its width and height."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kvl_eval.scorers.answers.dress import last_of
from kvl_eval.scorers.answers.reading import NOT_ANSWERABLE, Reading, Wanted
from kvl_eval.scorers.answers.view import View
from kvl_eval.scorers.answers.wordings import denies, hedges, refuses

_N = r"[-−]?\d{0,9}\.?\d{1,20}%?"
_GAP = r"(?:\s{0,4}[,;]\s{0,4}|\s{1,4})"
_PLACES_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Spot:
    """Numbers of a point (2) or a box (4 as two corners), where they stand, and their fixed scale or 0."""

    numbers: tuple[float, ...]
    start: int
    end: int
    scale: float = 0.0  # what 1 is: 100, 1000, 1024; -1: pixels; 0: by value


Builder = Callable[[re.Match[str]], tuple[float, ...]]


def _number(text: str) -> float:
    return float(text.rstrip("%").replace("−", "-"))


def _in_order(match: re.Match[str]) -> tuple[float, ...]:
    return tuple(_number(group) for group in match.groups() if group is not None)


def _y_first(match: re.Match[str]) -> tuple[float, ...]:
    values = _in_order(match)
    return tuple(values[index ^ 1] for index in range(len(values)))


def _corner_and_size(match: re.Match[str]) -> tuple[float, ...]:
    x, y, width, height = _in_order(match)
    return x, y, x + width, y + height


def _y_equals_first(match: re.Match[str]) -> tuple[float, ...]:
    y, x = _in_order(match)
    return x, y


def _named(*names: str) -> str:
    """Values by their names, in a sentence, a call or JSON."""
    return r"(?:[\s,;}]{0,6}|,?\s+and\s+)".join(
        rf"[\"']?\b(?:{name})[\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?({_N})[\"']?(?:\s?px|\s?pixels?)?" for name in names
    )


def _from_the(first: str, second: str) -> str:
    """Distances in prose: "50% from the left and 25% from the top"."""
    distance = rf"({_N})\s?(?:px|pixels?|percent)? (?:down |across |in )?from the "
    return rf"{distance}{first}(?: edge| side)?,? (?:and |, )?{distance}{second}"


_FOUR = rf"({_N}){_GAP}({_N}){_GAP}({_N}){_GAP}({_N})"
_TWO = rf"({_N}){_GAP}({_N})"
_OPEN, _CLOSE = r"[(\[{<]\s{0,3}", r"\s{0,3}[)\]}>]"
_PRODUCTS = r"[;,\s]{1,6}".join(  # x = int(0.5 * width)
    rf"\b{name}\s{{0,3}}=\s{{0,3}}(?:(?:int|round)\s?\()?\s?({_N})\s{{0,3}}\*\s{{0,3}}\w{{1,40}}\)?" for name in "xy"
)
_CORNERS = (
    rf"{_OPEN}{_TWO}{_CLOSE}[\s,;to-]{{0,6}}(?:(?:and|bottom-right|to)\s{{0,3}}:?\s{{0,3}})?{_OPEN}{_TWO}{_CLOSE}"
)

_FORMS: tuple[tuple[re.Pattern[str], Builder, float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), build, scale)
    for pattern, build, scale in (
        (rf"(?<![a-z])[\"']?\bbox_2d[\"']?\s{{0,3}}[:=]\s{{0,3}}\[\s{{0,3}}{_FOUR}\s{{0,3}}\]", _y_first, 1000),
        (rf"[\"']?bbox_2d[\"']?\s{{0,3}}[:=]\s{{0,3}}\[\s{{0,3}}{_FOUR}\s{{0,3}}\]", _in_order, 1000),
        (rf"[\"']?point_2d[\"']?\s{{0,3}}[:=]\s{{0,3}}\[\s{{0,3}}{_TWO}\s{{0,3}}\]", _in_order, 1000),
        (r"<loc(\d{1,4})>\s?<loc(\d{1,4})>\s?<loc(\d{1,4})>\s?<loc(\d{1,4})>", _y_first, 1024),
        (rf"<\|box_start\|>\s?(?:{_CORNERS}|{_OPEN}{_FOUR}{_CLOSE}|{_OPEN}{_TWO}{_CLOSE})", _in_order, 1000),
        (rf"<(?:b?box|\|det\|)>\s?(?:\[{{1,2}}\s?{_FOUR}|{_CORNERS}|{_FOUR})", _in_order, 1000),
        (
            rf"start_box\s?=\s?[\"']?(?:<\|box_start\|>)?(?:{_CORNERS}|{_OPEN}{_FOUR}{_CLOSE}|{_OPEN}{_TWO}{_CLOSE})",
            _in_order,
            1000,
        ),
        (rf"<points>\s?{_TWO}", _in_order, 1000),
        (rf"point\s?=\s?[\"']?<point>\s?{_TWO}", _in_order, -1),
        (rf"<point>\s?{_TWO}", _in_order, -1),
        (rf"<points?\s[^<>\n]{{0,60}}?\bx1?=[\"']({_N})[\"']\s+y1?=[\"']({_N})[\"']", _in_order, 100),
        (rf"[\"']coordinate[\"']\s{{0,3}}:\s{{0,3}}\[\s{{0,3}}{_TWO}\s{{0,3}}\]", _in_order, -1),
        (_named("x", "y", "w(?:idth)?", "h(?:eight)?"), _corner_and_size, 0),
        (
            _named("x1|x_?min|xmin|x0|left", "y1|y_?min|y0|top", "x2|x_?max|x1|right", "y2|y_?max|y1|bottom"),
            _in_order,
            0,
        ),
        (_CORNERS, _in_order, 0),
        (rf"{_OPEN}{_FOUR}{_CLOSE}", _in_order, 0),
        (rf"\bbbox[\"']?\s{{0,3}}[:=]\s{{0,3}}{_FOUR}", _in_order, 0),
        (_PRODUCTS, _in_order, 0),
        (rf"(?:click|tap|move_?to|drag_?to)\s?\(\s{{0,3}}{_TWO}\s{{0,3}}[,)]", _in_order, 0),
        (_named("x", "y"), _in_order, 0),
        (_named("y", "x"), _y_equals_first, 0),
        (_from_the("left", "top"), _in_order, 0),
        (_from_the("top", "left"), _y_equals_first, 0),
        (rf"{_OPEN}{_TWO}{_CLOSE}", _in_order, 0),
        (rf"^[\s\"'`*$]*{_FOUR}[\s.\"'`*$]*$", _in_order, 0),
        (rf">\s{{0,3}}{_TWO}\s{{0,3}}<", _in_order, 0),
        (rf"^[\s\"'`*$]*{_TWO}[\s.\"'`*$]*$", _in_order, 0),
        (
            rf"(?:click|tap|coordinates?|position|point|at)\s?[(:=]?\s{{0,3}}({_N})\s{{0,3}},\s{{0,3}}({_N})(?![\d,])",
            _in_order,
            0,
        ),
    )
)
_ACTION = re.compile(r"\b(?:action\s?:|pyautogui\.|click\s?\(|tap\s?\()", re.IGNORECASE)
_NO_PLACE = re.compile(
    r"\A[\s`]*(?:json)?\s*(?:\[\s*\]|\{\s*\}|null|fail)[\s`.]*\Z|\bfail\(\s*\)|[\"']status[\"']\s*:\s*[\"']fail"
    r"|(?:point|bbox|box|coordinates?|position)(?:_2d)?[\"']\s*:\s*(?:null|none|\[\s*\])|没有(?:找到)?(?:该|这个|此|目标|对应的)",
    re.IGNORECASE,
)
"""How a format or an agent says that a target is not there."""

_CORNER_WORDS = re.compile(
    rf"\btop[- ]left\b[^\d(\[]{{0,20}}{_OPEN}{_TWO}{_CLOSE}[^\d(\[]{{0,40}}"
    rf"bottom[- ]right\b[^\d(\[]{{0,20}}{_OPEN}{_TWO}{_CLOSE}",
    re.IGNORECASE,
)


def read_place(view: View, wanted: Wanted) -> Reading:
    """The point or the box of a reply; the center of a box where a point is wanted."""
    text = view.plain.text
    if wanted.unanswerable and _NO_PLACE.fullmatch(text):
        return Reading(value=NOT_ANSWERABLE, how="whole", span=view.plain.origin(0, len(text)))
    if not text.strip() or re.fullmatch(r"[\s\W]*|\s*(?:the )?answer\s*:?\s*|\W*boxed\W*", text, re.IGNORECASE):
        return Reading(reason="empty")
    places = list(_places(text))
    if not places:
        if wanted.unanswerable and (denies(text) or refuses(text) or _NO_PLACE.search(text)):
            return Reading(value=NOT_ANSWERABLE, how="whole", span=(0, len(text)))
        return Reading(reason="refusal" if refuses(text) else "hedge" if hedges(text) else "none")
    if wanted.kind == "box":
        places = [place for place in places if len(place.numbers) == 4]
        if not places:
            return Reading(reason="none")
    values = [_fractions(place, wanted, text) for place in places]
    index = _chosen(text, places, values)
    if index is None:
        return Reading(reason="two_answers")
    value = values[index]
    if value is None:
        return Reading(reason="none")
    span = view.plain.origin(places[index].start, places[index].end)
    return Reading(value=value, how=_how(text, places[index]), span=span)


def _how(text: str, place: Spot) -> str:
    outside = text[: place.start].strip() + text[place.end :].strip()
    return "whole" if not re.sub(r"[\W_]", "", outside) else "statement"


def _chosen(text: str, places: list[Spot], values: list[tuple[float, ...] | None]) -> int | None:
    """The place that counts: the first behind an action, else the marked one, else the one that all agree on."""
    action = _ACTION.search(text)
    if action is not None:
        return next((i for i, place in enumerate(places) if place.end > action.start()), 0)
    mark = last_of(re.finditer(r"\\boxed|<answer>|\banswer\s?(?:is|:)|\*\*answer", text, re.IGNORECASE))
    if mark is not None:
        later = [i for i, place in enumerate(places) if place.start >= mark.start()]
        if later:
            return later[0]
    return 0 if all(_close(values[0], value) for value in values) else None


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(math.isclose(a, b, abs_tol=0.002) for a, b in zip(one, other, strict=True))


def _places(text: str) -> Iterator[Spot]:
    """The places of a text in order; a place inside an earlier, more special one is dropped."""
    found: list[Spot] = []
    for match in list(_CORNER_WORDS.finditer(text))[:_PLACES_LIMIT]:
        found.append(Spot(_in_order(match), match.start(), match.end()))
    for pattern, build, scale in _FORMS:
        for count, match in enumerate(pattern.finditer(text)):
            if count >= _PLACES_LIMIT:
                break
            if not any(match.start() < place.end and place.start < match.end() for place in found[: 3 * _PLACES_LIMIT]):
                found.append(Spot(build(match), match.start(), match.end(), scale))
    return iter(sorted(found, key=lambda place: place.start))


def _fractions(place: Spot, wanted: Wanted, text: str) -> tuple[float, ...] | None:
    """Fractions of width and height; None where pixels are meant and the size is not known."""
    width, height = _divisors(place, wanted, text)
    if not width or not height:
        return None
    numbers = place.numbers
    values = tuple(number / (height if index % 2 else width) for index, number in enumerate(numbers))
    if len(values) == 4:
        x0, y0, x1, y1 = values
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        return box if wanted.kind == "box" else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return values


def _divisors(place: Spot, wanted: Wanted, text: str) -> tuple[float, float]:
    if "%" in text[place.start : place.end]:
        return 100, 100
    pixels = wanted.size if wanted.size is not None else (0, 0)
    if place.scale in (100, 1024):
        return place.scale, place.scale
    if all(abs(number) <= 1 for number in place.numbers):
        return 1, 1
    if wanted.coords == "pixel":
        return pixels
    if wanted.coords == "thousand":
        return 1000, 1000
    if wanted.coords == "unit":
        return 1, 1
    return (place.scale, place.scale) if place.scale > 0 else pixels
