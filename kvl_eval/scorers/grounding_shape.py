"""Targets that are boxes, polygons or nothing at all, in pixels: whether a point hits them.

Sources: OSWorld-G's own geometry as a fork of VLMEvalKit carries it; EvolvingLMMs-Lab/lmms-eval
lmms_eval/tasks/osworld_g/utils.py @ 75571cf.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.scorers.grounding import ImageSize, hits

Point = tuple[float, float]


def as_pixels(x: float, y: float, size: ImageSize) -> Point:
    """The point in pixels: both from 0 to 1 are shares of the size, anything else is pixels already."""
    return (x * size[0], y * size[1]) if 0 <= x <= 1 and 0 <= y <= 1 else (x, y)


def official_hit(kind: str, shape: Sequence[float], point: Point) -> bool:
    """Whether a point hits a `bbox` (left, top, width, height; borders count), a `polygon`, or nothing (`refusal`)."""
    if kind == "refusal":
        return declined(point)
    if kind == "polygon":
        return inside_polygon(shape, point)
    left, top, width, height = shape
    return hits(*point, (left, top, left + width, top + height))


def lmms_hit(kind: str, shape: Sequence[float], point: Point) -> bool:
    """As `official_hit`, but four numbers of a polygon are two corners of a rectangle."""
    if kind == "polygon" and len(shape) == 4:
        left, right = sorted((shape[0], shape[2]))
        top, bottom = sorted((shape[1], shape[3]))
        return hits(*point, (left, top, right, bottom))
    return official_hit(kind, shape, point)


def declined(point: Point) -> bool:
    """Whether a point says that there is no target: both numbers below 0."""
    return point[0] < 0 and point[1] < 0


def inside_polygon(corners: Sequence[float], point: Point) -> bool:
    """Even-odd rule over the corners x0, y0, x1, y1, ... in order, closed; fewer than three corners hold nothing.

    Left and top edges are inside, right and bottom ones mostly outside. An odd number of values holds nothing either.
    """
    x, y = point
    places = list(zip(corners[::2], corners[1::2], strict=False))
    if len(places) < 3 or len(corners) % 2:
        return False
    inside = False
    before = places[-1]
    for here in places:
        if (here[1] > y) != (before[1] > y):
            crossing = (before[0] - here[0]) * (y - here[1]) / (before[1] - here[1]) + here[0]
            inside ^= x < crossing
        before = here
    return inside
