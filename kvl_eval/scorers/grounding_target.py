"""Targets of grounding rows: one box, however a copy of the data set writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvl_eval.cells import number_list
from kvl_eval.rows import Row
from kvl_eval.scorers.grounding import Box, ImageSize

BoxForm = Literal["corners", "size"]
"""Of four numbers in pixels: left, top, right, bottom; or left, top, width, height."""


@dataclass(frozen=True, slots=True)
class Target:
    """What must be hit: the box, normalised and in original pixels, and the screenshot's size, where known."""

    box: Box | None
    pixels: Box | None
    size: ImageSize | None


def find_target(row: Row, box_form: BoxForm) -> Target:
    """The box of a row in whichever form it has: four numbers of at most 1 are normalised corners in every copy.

    Args:
        row:      `bbox_xyxy` or `bbox_xywh` (pixels), or `bbox`; `img_size`, or `image_width` and `image_height`.
        box_form: how `bbox` in pixels is written.
    Raises: DataError `data.field`, where there are not four numbers.
    """
    key = next((key for key in ("bbox_xyxy", "bbox_xywh", "bbox") if row.has(key)), "bbox")
    values = row.numbers(key)
    if len(values) != 4:
        raise row.fault(key, "expected four numbers")
    left, top, third, fourth = values
    size = picture_size(row, "img_size")
    if all(0 <= value <= 1 for value in values):
        box = (left, top, third, fourth)
        return Target(box, None if size is None else times(box, size), size)
    if key == "bbox_xyxy" or (key == "bbox" and box_form == "corners"):
        pixels = (left, top, third, fourth)
    else:
        pixels = (left, top, left + third, top + fourth)
    return Target(None if size is None else over(pixels, size), pixels, size)


def times(box: Box, size: ImageSize) -> Box:
    """A normalised box in pixels."""
    return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]


def over(box: Box, size: ImageSize) -> Box:
    """A box in pixels, normalised."""
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]


def picture_size(row: Row, column: str) -> ImageSize | None:
    """Width and height that a row gives under `column`, else as `image_width` and `image_height`; None without."""
    if row.has(column):
        numbers = row.numbers(column)
    elif row.get("image_width") and row.get("image_height"):
        numbers = number_list([row.get("image_width"), row.get("image_height")], column, row.where)
    else:
        return None
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
