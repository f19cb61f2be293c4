"""Drawn problems of many steps: tables of letters and digits to add up, to count in and to walk through.

A cell of a table is a letter and its digit (`A7`, 28 x 28 pixels, which is one visual token), or a letter, the next one
and what is picked up on the way there (`A-C5`, two visual tokens). How many cells a question leads through is the
problem's own choice. The worked steps name the cell that was looked at and carry the running result, one line each;
before a walk the whole table is written down, since finding a letter again is easier in text than in a picture.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image

from tools.nano.draw import CELL, LINE, Canvas, pick_style
from tools.nano.problems import Problem

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWX"
STYLE = 0.4  # share of tinted papers and inks
RULE = (190, 190, 190)
ROWS = 7


@dataclass(frozen=True)
class Worked:
    """A problem and the lines that lead to its answer."""

    problem: Problem
    steps: tuple[str, ...]


def steps_at(level: float, low: int, high: int) -> int:
    """A number of steps: `low` at level 0, `high` at level 1, growing by ratio."""
    return round(low * (high / low) ** level**0.8)


def total(rng: random.Random, level: float) -> Worked:
    """The sum of all digits of a table."""
    cells = _numbered(rng, steps_at(level, 3, 24), "123456789")
    steps, result = [], 0
    for cell in cells:
        result += int(cell[1])
        steps.append(f"{cell} {result}")
    return _worked(rng, "total", cells, "What is the sum of all digits?", result, steps)


def count(rng: random.Random, level: float) -> Worked:
    """How many digits of a table are above a limit."""
    cells = _numbered(rng, steps_at(level, 3, 24), "0123456789")
    limit, steps, result = rng.randint(2, 6), [], 0
    for cell in cells:
        result += int(cell[1]) > limit
        steps.append(f"{cell} {result}")
    return _worked(rng, "count", cells, f"How many digits are above {limit}?", result, steps)


def path(rng: random.Random, level: float) -> Worked:
    """How many steps lead from one letter to another, when each letter names the next."""
    length = steps_at(level, 2, 23)
    letters = LETTERS[: rng.randint(length + 1, min(length + 4, len(LETTERS)))]
    way = rng.sample(letters, length + 1)
    after = {letter: rng.choice([other for other in letters if other != letter]) for letter in letters}
    after |= dict(pairwise(way))
    cells = {letter: f"{letter}-{after[letter]}" for letter in letters}
    question = f'Walk from "{way[0]}" to "{way[-1]}". How many steps is it?'
    steps = [f"{cells[letter]} {number}" for number, letter in enumerate(way[:-1], 1)]
    return _worked(rng, "path", list(cells.values()), question, length, [*cells.values(), *steps])


def walk(rng: random.Random, level: float) -> Worked:
    """The sum of the digits that are picked up on a walk of so many steps."""
    length = steps_at(level, 2, 36)
    letters = LETTERS[: rng.randint(4, 14)]
    ring = rng.sample(letters, len(letters))
    after = {letter: ring[(k + 1) % len(ring)] for k, letter in enumerate(ring)}
    cells = {letter: f"{letter}-{after[letter]}{rng.choice('12345')}" for letter in letters}
    place, steps, result = ring[0], [], 0
    for number in range(1, length + 1):
        result += int(cells[place][-1])
        steps.append(f"{cells[place]} {number} {result}")
        place = after[place]
    question = f'Begin at "{ring[0]}" and walk {length} steps. What is the sum of the digits?'
    return _worked(rng, "walk", list(cells.values()), question, result, [*cells.values(), *steps])


def _numbered(rng: random.Random, size: int, digits: str) -> list[str]:
    return [letter + rng.choice(digits) for letter in LETTERS[:size]]


def _worked(
    rng: random.Random, kind: str, cells: Sequence[str], question: str, answer: int, steps: Sequence[str]
) -> Worked:
    image = draw_cells(rng, cells, columns=rng.randint(3, 4) if len(cells[0]) > 2 else rng.randint(4, 6))
    return Worked(Problem((image,), question, str(answer), "integer", kind, ", ".join(cells)), tuple(steps))


def draw_cells(rng: random.Random, cells: Sequence[str], columns: int) -> Image.Image:
    """A ruled table; a cell is as wide as the whole visual tokens that its text fills, fewer columns for few cells."""
    columns = max(min(columns, len(cells)), -(-len(cells) // ROWS))
    width = 2 * CELL * -(-len(cells[0]) // 2)
    canvas = Canvas(width * columns, LINE * -(-len(cells) // columns), pick_style(rng, STYLE))
    for k, cell in enumerate(cells):
        left, top = width * (k % columns), LINE * (k // columns)
        canvas.pen.rectangle((left, top, left + width - 1, top + LINE - 1), outline=RULE)
        canvas.text(left, top, cell, anchor="lm")
    return canvas.image


WORKED: dict[str, Callable[[random.Random, float], Worked]] = {
    "total": total,
    "count": count,
    "path": path,
    "walk": walk,
}


def draw(rng: random.Random, level: float, kinds: Sequence[str] = tuple(WORKED)) -> Worked:
    """One problem of many steps."""
    return WORKED[rng.choice(kinds)](rng, level)
