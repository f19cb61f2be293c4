"""Targets of grounding rows: one box, however a copy of the data set writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvl_eval.errors import DataError
from kvl_eval.scorers.grounding import Box, Size


@dataclass(frozen=True, slots=True)
class Target:
    """What must be hit: the box, normalised and in original pixels, and the screenshot's size, where known."""

    box: Box | None
    pixels: Box | None
    size: Size | None


def find_target(row: Mapping[str, Any], *, corners: bool, where: str = "row") -> Target:
    """The box of a row in whichever form it has: four numbers of at most 1 are normalised corners in every copy.

    Args:
        row:     `bbox_xyxy` or `bbox_xywh` (pixels), or `bbox`; `img_size`, or `image_width` and `image_height`.
        corners: whether `bbox` in pixels is left, top, right, bottom; otherwise left, top, width, height.
        where:   file and row, for messages.
    Raises: DataError `data.field`, where there are not four numbers.
    """
    key = next((key for key in ("bbox_xyxy", "bbox_xywh", "bbox") if row.get(key) is not None), "bbox")
    values = number_list(row.get(key), key, where)
    if len(values) != 4:
        raise DataError("data.field", f"{key} is {row.get(key)!r}", where=where, why="expected four numbers")
    left, top, third, fourth = values
    size = picture_size(row, "img_size")
    if all(0 <= value <= 1 for value in values):
        box = (left, top, third, fourth)
        return Target(box, None if size is None else times(box, size), size)
    if key == "bbox_xyxy" or (key == "bbox" and corners):
        pixels = (left, top, third, fourth)
    else:
        pixels = (left, top, left + third, top + fourth)
    return Target(None if size is None else over(pixels, size), pixels, size)


def times(box: Box, size: Size) -> Box:
    """A normalised box in pixels."""
    return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]


def over(box: Box, size: Size) -> Box:
    """A box in pixels, normalised."""
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]


def number_list(value: Any, key: str, where: str) -> list[float]:
    """A list of numbers, or its text (`[910, 78, 44, 34]`)."""
    if isinstance(value, str):
        value = [float(number) if "." in number else int(number) for number in re.findall(r"-?\d+(?:\.\d+)?", value)]
    if not isinstance(value, list | tuple) or not all(isinstance(number, int | float) for number in value):
        raise DataError("data.field", f"{key} is {value!r}", where=where, why="expected a list of numbers")
    return list(value)


def picture_size(row: Mapping[str, Any], key: str) -> Size | None:
    """Width and height that a row gives under `key`, else as `image_width` and `image_height`; None without."""
    value = row.get(key)
    if value is None and row.get("image_width") and row.get("image_height"):
        value = [row["image_width"], row["image_height"]]
    numbers = number_list(value, key, "row") if value is not None else []
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and min(numbers) > 0 else None


def plain_box(target: Target) -> Box | None:
    """The box as the data set means it."""
    return target.box


def box_on_picture(target: Target) -> Box | None:
    """The part of the box that lies on the picture, so that no point off the picture hits it."""
    if target.box is None:
        return None
    left, top, right, bottom = target.box
    return max(left, 0), max(top, 0), min(right, 1), min(bottom, 1)


def vlmevalkit_box(target: Target, shrink: int) -> Box | None:
    """The box without its last `shrink` pixels across and down; -1 counts as 0, a box beyond the picture is refused."""
    if target.box is None or target.size is None or target.pixels is None:
        return target.box
    left, top, right, bottom = target.pixels
    values = [0 if value == -1 else value for value in (left, top, right - shrink, bottom - shrink)]
    box = over((values[0], values[1], values[2], values[3]), target.size)
    return box if all(0 <= value <= 1 for value in box) else None


def json_number(value: float) -> float | str:
    """The number, or its text where JSON has none: `inf`, `nan`."""
    return value if abs(value) < float("inf") else str(value)


def json_box(box: Box | None) -> list[float | str] | None:
    """A box as records hold it, without the noise of going from 0-1 to pixels."""
    return None if box is None else [json_number(round(value, 6)) for value in box]
