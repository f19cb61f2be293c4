"""The boards of a sample that is played on drawn screens: on each the box of the named thing, and that of another."""

from __future__ import annotations

from collections.abc import Mapping

MOST_BOARDS = 3
BOXES = tuple(f"box_{number}" for number in range(1, MOST_BOARDS + 1))
OTHERS = tuple(f"other_{number}" for number in range(1, MOST_BOARDS + 1))
Corners = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def targets(row: Mapping[str, object]) -> list[Corners]:
    """The box of the named thing on each board; empty where it is missing."""
    return [box for name in BOXES if (box := corners(row.get(name))) is not None]


def is_feasible(row: Mapping[str, object]) -> bool:
    """Whether the named thing is on the boards."""
    return bool(row.get("feasible"))


def corners(value: object) -> Corners | None:
    """A box of a row; None where the cell has none."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    left, top, right, bottom = (int(number) for number in value)
    return left, top, right, bottom
