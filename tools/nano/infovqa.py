"""Drawn infographic cards in the schema of lmms-lab/DocVQA, config InfographicVQA."""

import random
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, ICONS, Canvas, pick_style
from tools.nano.png import png_bytes
from tools.nano.words import GOODS, NAMES, WORDS

INSTRUCTION = "Answer the question using a single word or phrase."


@dataclass(frozen=True)
class Card:
    """A card, a question about it, and the texts written on it."""

    image: Image.Image
    question: str
    answer: str
    answer_type: str
    operation: str | None
    reading: str


def draw(rng: random.Random, level: float) -> Card:
    """One card of the InfoVQA mixture."""
    return rng.choices((shares, facts), (0.6, 0.4))[0](rng, level)


def shares(rng: random.Random, level: float) -> Card:
    """A title and two or three lines of a percentage and what it belongs to."""
    count = rng.randint(2, 3)
    style = pick_style(rng, level)
    canvas = Canvas(112, 28 * (count + 1), style)
    title = rng.choice(WORDS).capitalize()
    names = rng.sample(GOODS if rng.random() < 0.5 else NAMES, count)
    values = [f"{number}%" for number in rng.sample(range(2, 100), count)]
    _head(canvas, title, rng)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 28 * (k + 1) + 14
        canvas.text(4, y, value, anchor="lm", ink=COLOURS[rng.choice(("red", "blue", "purple"))])
        canvas.text(60, y, name, anchor="lm")
    reading = f"{title} " + " ".join(f"{value} {name}" for name, value in zip(names, values, strict=True))
    which = rng.randrange(count)
    ask = rng.random()
    if ask < 0.5:
        question, answer, operation = f"What percentage is shown for {names[which]}?", values[which], None
    elif ask < 0.75:
        question, answer, operation = f"What has a share of {values[which]}?", names[which], None
    elif ask < 0.9:
        best = max(range(count), key=lambda k: int(values[k][:-1]))
        question, answer, operation = "What has the highest share?", names[best], "comparison"
    else:
        question, answer, operation = "What is the title of the card?", title, None
    return Card(canvas.image, question, answer, "single span", operation, reading)


def facts(rng: random.Random, level: float) -> Card:
    """A title and lines of an icon and a number."""
    count = rng.randint(2, 3)
    style = pick_style(rng, level)
    canvas = Canvas(112, 28 * (count + 1), style)
    title = rng.choice(WORDS).capitalize()
    names = rng.sample(sorted(ICONS), count)
    values = [str(number) for number in rng.sample(range(10, 1000), count)]
    _head(canvas, title, rng)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        canvas.icon(name, 20, 28 * (k + 1) + 14, 8)
        canvas.text(48, 28 * (k + 1) + 14, value, anchor="lm")
    which = rng.randrange(count)
    if rng.random() < 0.8:
        question, answer = f"Which number is beside the {names[which]} icon?", values[which]
    else:
        question, answer = "What is the title of the card?", title
    reading = f"{title} " + " ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
    return Card(canvas.image, question, answer, "single span", None, reading)


def _head(canvas: Canvas, title: str, rng: random.Random) -> None:
    colour = COLOURS[rng.choice(("blue", "green", "purple"))]
    canvas.pen.rectangle((0, 0, canvas.width, 27), fill=colour)
    canvas.text(4, 14, title, ink=(255, 255, 255), anchor="lm")


def prompt(card: Card) -> str:
    """The text after the picture."""
    return f"{card.question}\n{INSTRUCTION}"


def row(card: Card, number: int) -> dict[str, object]:
    """A row with the hub's columns."""
    return {
        "questionId": str(90000 + number),
        "question": card.question,
        "answers": [card.answer],
        "answer_type": ["image span" if card.answer_type == "single span" else card.answer_type],
        "image": {"bytes": png_bytes(card.image), "path": f"{90000 + number}.png"},
        "image_url": "",
        "operation/reasoning": [card.operation] if card.operation else [],
        "ocr": "",
        "data_split": "val",
    }
