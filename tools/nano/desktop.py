"""Boards of the split `desktop-mini`: drawn screens in a row, each with the one thing that the instruction names."""

import random

from PIL import Image

from tools.nano import mini_media, screenspot
from tools.nano.draw import ICONS
from tools.nano.png import png_bytes
from tools.nano.words import BUTTONS

PLATFORMS = ("desktop", "web")  # screens of one size
BOARDS = (*[1] * 6, *[2] * 4, *[3] * 2)  # of the tasks that can be done
INFEASIBLE = 3
MOST = max(BOARDS)
COLUMNS = {
    "id": "string",
    "level": "string",
    "domain": "string",
    "instruction": "string",
    "feasible": "bool",
    **{f"box_{number}": ["int64"] for number in range(1, MOST + 1)},
    **{f"other_{number}": ["int64"] for number in range(1, MOST + 1)},
    **{f"image_{number}": "image" for number in range(1, MOST + 1)},
}
Box = tuple[int, int, int, int]


def row(rng: random.Random, number: int) -> dict[str, object]:
    """Row `number`: a task of one, two or three boards, or one whose thing is not on its board."""
    feasible = number < len(BOARDS)
    name = rng.choice([f"click {word}" for word in sorted(BUTTONS)] + [f"{icon} icon" for icon in sorted(ICONS)])
    boards = [_board(rng, name, feasible) for _ in range(BOARDS[number] if feasible else 1)]
    level, place = ("A", number + 1) if feasible else ("C", number - len(BOARDS) + 1)
    return {
        "id": f"{'board' if feasible else 'missing'}-{place}",
        "level": level,
        "domain": "boards" if feasible else "infeasible",
        "instruction": name,
        "feasible": feasible,
        **{f"box_{k}": list(boards[k - 1][1]) if feasible and k <= len(boards) else None for k in range(1, MOST + 1)},
        **{f"other_{k}": list(boards[k - 1][2]) if k <= len(boards) else None for k in range(1, MOST + 1)},
        **{f"image_{k}": _picture(number, k, boards) for k in range(1, MOST + 1)},
    }


def _board(rng: random.Random, name: str, has_it: bool) -> tuple[Image.Image, Box, Box]:
    """A screen with or without the thing of this name: its picture, that thing's box and the box of another thing."""
    while True:
        screen = screenspot.draw(rng, mini_media.LEVEL * rng.random(), rng.choice(PLATFORMS))
        named = [element for element in screen.elements if element.instruction == name]
        others = [element for element in screen.elements if element.instruction != name]
        if others and bool(named) == has_it:
            return screen.image, (named or others)[0].box, others[-1].box


def _picture(number: int, k: int, boards: list[tuple[Image.Image, Box, Box]]) -> dict[str, object] | None:
    if k > len(boards):
        return None
    return {"bytes": png_bytes(boards[k - 1][0]), "path": f"image_{number}_{k}.png"}


SPLITS = {"desktop-mini": ("test.parquet", len(BOARDS) + INFEASIBLE, COLUMNS, row)}
