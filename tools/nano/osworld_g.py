"""Drawn screens in the schema of OSWorld-G: boxes, polygons around icons, and instructions for what is not there."""

import random
from typing import Any

from tools.nano import screenspot
from tools.nano.draw import ICONS
from tools.nano.mini_media import LEVEL
from tools.nano.png import png_bytes

Row = dict[str, object]
TEXT, NUMBER = "string", "int64"
KINDS = ("bbox", "bbox", "bbox", "polygon", "refusal")


def row(rng: random.Random, number: int) -> Row:
    """A row of the hub's copy; boxes are left, top, width, height."""
    kind = KINDS[number % len(KINDS)]
    screen = screenspot.draw(rng, LEVEL * rng.random())
    left, top, right, bottom = screen.target.box
    shape: list[int] = [left, top, right - left, bottom - top]
    instruction = screen.target.instruction
    if kind == "polygon":
        middle = (left + right) // 2
        shape = [left, (top + bottom) // 2, middle, top, right, (top + bottom) // 2, middle, bottom]
    elif kind == "refusal":
        shape = [-1, -1, -1, -1]
        there = {element.instruction for element in screen.elements}
        instruction = rng.choice([name for name in (f"{icon} icon" for icon in sorted(ICONS)) if name not in there])
    return {
        "image": {"bytes": png_bytes(screen.image), "path": f"{number}.png"},
        "image_size": list(screen.image.size),
        "instruction": instruction,
        "box_type": kind,
        "box_coordinates": shape,
    }


SPLITS: dict[str, tuple[str, int, dict[str, Any], Any]] = {
    "osworld-g": (
        "test.parquet",
        30,
        {"image": "image", "image_size": [NUMBER], "instruction": TEXT, "box_type": TEXT, "box_coordinates": [NUMBER]},
        row,
    )
}
