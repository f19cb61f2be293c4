"""Drawn problems of many steps: tables of letters and digits to add up, to count in and to walk through.

A cell of a table is a letter and what belongs to it side by side, 28 x 28 pixels, which is one visual token: looking a
letter up is one glance, and the number of glances that a question needs is the problem's own choice. The worked steps
name the cell that was looked at and carry the running result, one line each.
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
    return _worked(rng, "total", [cells], "What is the sum of all digits?", result, steps)


def count(rng: random.Random, level: float) -> Worked:
    """How many digits of a table are above a limit."""
    cells = _numbered(rng, steps_at(level, 3, 24), "0123456789")
    limit, steps, result = rng.randint(2, 6), [], 0
    for cell in cells:
        result += int(cell[1]) > limit
        steps.append(f"{cell} {result}")
    return _worked(rng, "count", [cells], f"How many digits are above {limit}?", result, steps)


def path(rng: random.Random, level: float) -> Worked:
    """How many steps lead from one letter to another, when each letter names the next."""
    length = steps_at(level, 2, 23)
    letters = LETTERS[: rng.randint(length + 1, min(length + 4, len(LETTERS)))]
    way = rng.sample(letters, length + 1)
    after = {letter: rng.choice([other for other in letters if other != letter]) for letter in letters}
    after |= dict(pairwise(way))
    cells = [letter + after[letter] for letter in letters]
    question = f'Walk from "{way[0]}" to "{way[-1]}". How many steps is it?'
    steps = [f"{letter} {number}" for number, letter in enumerate(way)]
    return _worked(rng, "path", [cells], question, length, steps)


def walk(rng: random.Random, level: float) -> Worked:
    """The sum of the digits on a walk of so many steps: one table names each letter's next, the other its digit."""
    length = steps_at(level, 2, 45)
    letters = LETTERS[: rng.randint(4, 14)]
    ring = rng.sample(letters, len(letters))
    digits = {letter: rng.choice("12345") for letter in letters}
    start = rng.randrange(len(ring))
    steps, result = [], 0
    for number in range(1, length + 1):
        letter = ring[(start + number) % len(ring)]
        result += int(digits[letter])
        steps.append(f"{letter}{digits[letter]} {number} {result}")
    after = {letter: ring[(k + 1) % len(ring)] for k, letter in enumerate(ring)}
    tables = [[letter + after[letter] for letter in letters], [letter + digits[letter] for letter in letters]]
    question = f'Begin at "{ring[start]}" and walk {length} steps. What is the sum of the digits?'
    return _worked(rng, "walk", tables, question, result, steps)


def _numbered(rng: random.Random, size: int, digits: str) -> list[str]:
    return [letter + rng.choice(digits) for letter in LETTERS[:size]]


def _worked(
    rng: random.Random, kind: str, tables: Sequence[Sequence[str]], question: str, answer: int, steps: Sequence[str]
) -> Worked:
    widest = max(map(len, tables))
    image = draw_tables(rng, tables, columns=min(widest, 7 if len(tables) > 1 else rng.randint(4, 6)))
    written = ", ".join(cell for table in tables for cell in table)
    return Worked(Problem((image,), question, str(answer), "integer", kind, written), tuple(steps))


def draw_tables(rng: random.Random, tables: Sequence[Sequence[str]], columns: int) -> Image.Image:
    """The tables below each other, rows of so many ruled cells; each begins a row."""
    rows = [table[k : k + columns] for table in tables for k in range(0, len(table), columns)]
    canvas = Canvas(2 * CELL * columns, LINE * len(rows), pick_style(rng, STYLE))
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            left, top = 2 * CELL * x, LINE * y
            canvas.pen.rectangle((left, top, left + 2 * CELL - 1, top + LINE - 1), outline=RULE)
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
