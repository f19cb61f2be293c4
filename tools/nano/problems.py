"""Drawn problems: a picture, a question about it, its answer, and everything that is written in the picture."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, SHAPES, Canvas, Style, pick_style
from tools.nano.words import GOODS, NAMES


@dataclass(frozen=True)
class Problem:
    """One question about one or more drawings; `choices` holds option texts, `answer` the value itself.

    `said` is what nano learns to say before it names a letter: what it read, ending in the answer.
    """

    images: tuple[Image.Image, ...]
    question: str
    answer: str
    answer_type: str  # integer, float, list or text
    kind: str
    reading: str
    choices: tuple[str, ...] = ()
    precision: int | None = None
    unit: str | None = None
    said: str = ""

    @property
    def reply(self) -> str:
        return self.said or self.answer


def with_choices(rng: random.Random, problem: Problem, others: Sequence[str], count: int = 4) -> Problem:
    """The same problem as multiple choice: its answer among `count` - 1 distinct others, shuffled."""
    distinct = list(dict.fromkeys(other for other in others if other != problem.answer))
    choices = [*rng.sample(distinct, count - 1), problem.answer]
    rng.shuffle(choices)
    return dataclasses.replace(problem, choices=tuple(choices), answer_type="text", precision=None)


def near_numbers(rng: random.Random, answer: str) -> list[str]:
    """Numbers of the same form as the answer, for wrong options."""
    digits = len(answer.replace(".", ""))
    low = 10 ** (digits - 1) if digits > 1 else 0
    values = rng.sample(range(low, 10**digits), min(9, 10**digits - low))
    if "." not in answer:
        return [str(value) for value in values]
    places = len(answer) - answer.index(".") - 1
    return [f"{value / 10**places:.{places}f}" for value in values]


def _value(rng: random.Random, level: float) -> int:
    return rng.randint(2, 9) if rng.random() < 0.3 * (1 - level) else rng.randint(10, 99)


def _distinct_values(rng: random.Random, level: float, count: int) -> list[int]:
    values: list[int] = []
    while len(values) < count:
        value = _value(rng, level)
        if value not in values:
            values.append(value)
    return values


def _pairs(names: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


ORDINALS = ("first", "second", "third")


def bar_chart(rng: random.Random, level: float) -> Problem:
    """Two to four bars with a value above and a name below; asks for a value, an extreme or a name."""
    count = rng.randint(2, 3)
    style = pick_style(rng, level)
    names, values = rng.sample(NAMES, count), _distinct_values(rng, level, count)
    canvas = Canvas(56 * count, 112, style)
    draw_bars(canvas, names, values, rng.choice(list(COLOURS.values())))
    reading = _pairs(names, values)
    ask, which = rng.random(), rng.randrange(count)
    said = ""
    if ask < 0.5:
        answer, question = str(values[which]), f"What is the value of the {ORDINALS[which]} bar?"
    elif ask < 0.7:
        answer, question = str(values[which]), f"What is the value of {names[which]}?"
        said = f"{names[which]} {answer}"
    elif ask < 0.79:
        answer, question = str(max(values)), "What is the highest value?"
    elif ask < 0.88:
        answer, question = str(min(values)), "What is the lowest value?"
    else:
        word, pick = rng.choice((("highest", max), ("lowest", min)))
        base = Problem(
            (canvas.image,),
            f"Which bar has the {word} value?",
            names[values.index(pick(values))],
            "text",
            "bar chart",
            reading,
        )
        return with_choices(rng, base, (*names, *rng.sample(NAMES, 4)) if count < 4 else names)
    problem = Problem((canvas.image,), question, answer, "integer", "bar chart", reading, said=said)
    if rng.random() < 0.2:
        others = [str(value) for value in values] + near_numbers(rng, answer)
        return with_choices(rng, problem, others)
    return problem


def draw_bars(canvas: Canvas, names: Sequence[str], values: Sequence[int], colour: tuple[int, int, int]) -> None:
    """Bars of 56 pixels each, the value above its bar and the name below; values from 50 on stand in the first line."""
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        x, line = 56 * k + 28, 0 if value >= 50 else 1
        top = 28 * (line + 1) + round(20 * (1 - value / 50)) % 20
        canvas.pen.rectangle((x - 12, top, x + 12, 83), fill=colour)
        canvas.text(x, 28 * line + 14, str(value))
        canvas.text(x, 98, name)


def table(rng: random.Random, level: float) -> Problem:
    """Rows of a name and a number (whole, or with one or two decimals); asks for one of them."""
    count = rng.randint(2, 3)
    style = pick_style(rng, level)
    names = rng.sample(GOODS, count)
    places = rng.choices((0, 1, 2), (0.35, 0.45, 0.2))[0]
    values = _decimals(rng, count, places)
    canvas = Canvas(140 if places == 2 else 112, 28 * count, style)
    draw_rows(canvas, names, values, ruled=rng.random() < level)
    which = rng.randrange(count)
    name, answer = names[which], values[which]
    by_name = rng.random() < 0.35
    question = f"What is the price of {name}?" if by_name else f"What is the price in the {ORDINALS[which]} row?"
    problem = Problem(
        (canvas.image,),
        question,
        answer,
        "float" if places else "integer",
        "table",
        _pairs(names, values),
        precision=places or None,
        said=f"{name} {answer}" if by_name else "",
    )
    if rng.random() < 0.2:
        return with_choices(rng, problem, values + near_numbers(rng, answer))
    return problem


def _decimals(rng: random.Random, count: int, places: int) -> list[str]:
    """Distinct numbers as text with so many decimals, the last one never 0 (as the data set writes them)."""
    values: list[str] = []
    while len(values) < count:
        number = rng.randint(11, 99) if places < 2 else rng.randint(101, 999)
        text = f"{number / 10**places:.{places}f}"
        if text not in values and not (places and text.endswith("0")):
            values.append(text)
    return values


def draw_rows(canvas: Canvas, names: Sequence[str], values: Sequence[str], *, ruled: bool) -> None:
    """Two columns of text, names at the left and values at the right, rows of 28 pixels."""
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 28 * k + 14
        canvas.text(4, y, name, anchor="lm")
        canvas.text(canvas.width - 4, y, value, anchor="rm")
        if ruled and k:
            canvas.pen.line((0, 28 * k, canvas.width, 28 * k), fill=(170, 170, 170))


def badges(rng: random.Random, level: float) -> Problem:
    """Names with their ages; asks for the age of one (unit years)."""
    count = rng.randint(2, 3)
    style = pick_style(rng, level)
    names, values = rng.sample(NAMES, count), [rng.randint(3, 98) for _ in range(count)]
    canvas = Canvas(84, 28 * count, style)
    draw_rows(canvas, names, [str(value) for value in values], ruled=True)
    which = rng.randrange(count)
    name, answer = names[which], str(values[which])
    by_name = rng.random() < 0.4
    return Problem(
        (canvas.image,),
        f"What is the age of {name}?" if by_name else f"What is the age in the {ORDINALS[which]} row?",
        answer,
        "integer",
        "badges",
        _pairs(names, values),
        unit="years",
        said=f"{name} {answer}" if by_name else "",
    )


def rectangle(rng: random.Random, level: float) -> Problem:
    """A rectangle with labelled width and height; asks for a side, or the perimeter or area of small ones."""
    style = pick_style(rng, level)
    canvas = Canvas(112, 112, style)
    ask = rng.choices(("width", "height", "area", "perimeter"), (0.3, 0.3, 0.2, 0.2))[0]
    small = ask in ("area", "perimeter")
    width, height = (rng.randint(2, 9 if small else 99) for _ in range(2))
    left, top = rng.randint(4, 18), rng.randint(4, 10)
    canvas.pen.rectangle((left, top, 80, 82), outline=style.ink, width=2)
    canvas.text(42, canvas.height - 14, str(width))
    canvas.text(98, 42, str(height))
    values = {"width": width, "height": height, "area": width * height, "perimeter": 2 * (width + height)}
    problem = Problem(
        (canvas.image,),
        f"What is the {ask} of the rectangle?",
        str(values[ask]),
        "integer",
        "geometry",
        f"width {width}, height {height}",
        said={
            "area": f"{width} x {height} = {width * height}",
            "perimeter": f"{width} + {height} = {width + height}, perimeter {2 * (width + height)}",
        }.get(ask, ""),
    )
    if rng.random() < 0.2:
        return with_choices(rng, problem, near_numbers(rng, problem.answer))
    return problem


def triangle(rng: random.Random, level: float) -> Problem:
    """A triangle with labelled corners and side lengths; asks for the length of a side."""
    style = pick_style(rng, level)
    canvas = Canvas(112, 112, style)
    corners = ((18, 84), (94, 84), (56, 18))
    letters = ("A", "B", "C")
    values = [str(value) for value in _distinct_values(rng, level, 3)]
    canvas.pen.polygon(corners, outline=style.ink, width=2)
    for letter, (x, y) in zip(letters, ((7, 98), (105, 98), (77, 14)), strict=True):
        canvas.text(x, y, letter)
    for value, (x, y) in zip(values, ((56, 98), (98, 42), (14, 42)), strict=True):
        canvas.text(x, y, value)
    sides = ("AB", "BC", "CA")
    which = rng.randrange(3)
    problem = Problem(
        (canvas.image,),
        f"What is the length of side {sides[which]}?",
        values[which],
        "integer",
        "geometry",
        _pairs(sides, values),
    )
    return with_choices(rng, problem, values + near_numbers(rng, values[which])) if rng.random() < 0.2 else problem


def circle(rng: random.Random, level: float) -> Problem:
    """A circle whose radius is written in it; asks for the radius or the diameter."""
    style = pick_style(rng, level)
    canvas = Canvas(112, 112, style)
    radius = rng.randint(2, 49)
    canvas.pen.ellipse((6, 6, 106, 106), outline=style.ink, width=2)
    canvas.pen.line((56, 57, 106, 57), fill=style.ink, width=2)
    canvas.text(77, 42, str(radius))
    ask, answer = rng.choice((("radius", radius), ("diameter", 2 * radius)))
    reading = f"radius {radius}"
    said = reading if ask == "radius" else f"{reading}, diameter {answer}"
    return Problem(
        (canvas.image,), f"What is the {ask} of the circle?", str(answer), "integer", "geometry", reading, said=said
    )


def counting(rng: random.Random, level: float) -> Problem:
    """Shapes of one or two kinds on a grid; asks how many there are of one."""
    style = pick_style(rng, level)
    columns, rows = rng.choice(((3, 2), (4, 2), (3, 3), (4, 3)))
    canvas = Canvas(28 * columns, 28 * rows, style)
    cells = [(x, y) for y in range(rows) for x in range(columns)]
    kinds = rng.sample(SHAPES, 1 if rng.random() > 0.3 + 0.5 * level else 2)
    colours = [COLOURS[name] for name in rng.sample(sorted(COLOURS), len(kinds))]
    total = rng.randint(1, min(9, len(cells)))
    split = (total,) if len(kinds) == 1 else (rng.randint(1, total), len(cells) - total)
    counts = [split[0], min(split[1], rng.randint(1, 4))] if len(kinds) == 2 else [total]
    places = rng.sample(cells, sum(counts))
    for kind, colour, number in zip(kinds, colours, counts, strict=True):
        for _ in range(number):
            x, y = places.pop()
            r = rng.randint(8, 11)
            canvas.shape(kind, 28 * x + 14 + rng.randint(-2, 2), 28 * y + 14 + rng.randint(-2, 2), r, colour)
    question = f"How many {plural(kinds[0])} are there?"
    reading = ", ".join(f"{number} {plural(kind)}" for kind, number in zip(kinds, counts, strict=True) if number)
    return Problem((canvas.image,), question, str(counts[0]), "integer", "counting", reading)


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def arithmetic(rng: random.Random, level: float) -> Problem:
    """A written sum, difference or product; asks for its value."""
    style = pick_style(rng, level)
    sign = rng.choices("+-x", (0.5, 0.25, 0.25))[0]
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    if sign == "+" and rng.random() < 0.4:
        a = rng.randint(10, 40)
    if sign == "-":
        a, b = a + b, b
    answer = a + b if sign == "+" else a - b if sign == "-" else a * b
    canvas = Canvas(112, 28, style)
    written = f"{a}{sign}{b}=?"
    canvas.text(4, 14, written, anchor="lm")
    said = written.replace("?", str(answer))
    problem = Problem(
        (canvas.image,), "What number is missing?", str(answer), "integer", "arithmetic", written, said=said
    )
    return with_choices(rng, problem, near_numbers(rng, problem.answer)) if rng.random() < 0.2 else problem


def sequence(rng: random.Random, level: float) -> Problem:
    """Three numbers in a row; asks for the list."""
    style = pick_style(rng, level)
    values = [rng.randint(2, 99) for _ in range(3)]
    canvas = Canvas(112, 28, style)
    for k, value in enumerate(values):
        canvas.text(14 + 42 * k, 14, str(value))
    question = "What are the numbers from left to right?"
    return Problem((canvas.image,), question, str(values), "list", "sequence", " ".join(map(str, values)))


def figure_name(rng: random.Random, level: float) -> Problem:
    """A coloured shape among others with numbers beside them; asks which number belongs to a shape."""
    style: Style = pick_style(rng, level)
    count = rng.randint(2, 3)
    canvas = Canvas(84, 28 * count, style)
    shapes, values = rng.sample(SHAPES, count), [str(value) for value in _distinct_values(rng, level, count)]
    for k, (shape, value) in enumerate(zip(shapes, values, strict=True)):
        canvas.shape(shape, 18, 28 * k + 14, 10, COLOURS[rng.choice(sorted(COLOURS))])
        canvas.text(60, 28 * k + 14, value)
    which = rng.randrange(count)
    by_name = rng.random() < 0.4
    problem = Problem(
        (canvas.image,),
        f"Which number is beside the {shapes[which]}?" if by_name else f"Which number is {ORDINALS[which]}?",
        values[which],
        "integer",
        "legend",
        _pairs(shapes, values),
        said=f"{shapes[which]} {values[which]}" if by_name else "",
    )
    return with_choices(rng, problem, values + near_numbers(rng, values[which])) if rng.random() < 0.25 else problem


PROBLEMS: dict[str, Callable[[random.Random, float], Problem]] = {
    "bar chart": bar_chart,
    "table": table,
    "badges": badges,
    "rectangle": rectangle,
    "triangle": triangle,
    "circle": circle,
    "counting": counting,
    "arithmetic": arithmetic,
    "sequence": sequence,
    "legend": figure_name,
}
