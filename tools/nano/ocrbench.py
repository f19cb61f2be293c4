"""Drawn words, numbers, receipts and formulas in the schema of echo840/OCRBench."""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, SERIF, Canvas, Style, pick_style
from tools.nano.png import png_bytes
from tools.nano.problems import bar_chart, draw_rows
from tools.nano.words import GOODS, NAMES, WORDS

READ = "what is written in the image?"
READ_NUMBER = "what is the number in the image?"
FORMULA = "Please write out the expression of the formula in the image using LaTeX format."


@dataclass(frozen=True)
class Reading:
    """A picture with text, what is asked about it, and what to say; `answers` are accepted forms."""

    image: Image.Image
    question: str
    reply: str
    answers: tuple[str, ...]
    dataset: str
    question_type: str


def _line(rng: random.Random, level: float, text: str, **look: object) -> Canvas:
    """One line of text on a strip, dark on light or (seldom) light on dark; its place varies with the level."""
    style = pick_style(rng, level, (14, 16, 18))
    if rng.random() < 0.3 * level:
        style = Style(style.ink, style.paper, style.face, style.size)
    canvas = Canvas(84, 28, style)
    wiggle = round(2 * level)
    x, y = 4 + rng.randint(0, 3 * wiggle), 14 + rng.randint(-wiggle, wiggle)
    canvas.text(x, y, text, anchor="lm", **look)  # type: ignore[arg-type]
    return canvas


def plain(rng: random.Random, level: float) -> Reading:
    """The first thing to learn: one to three lines of digits, names, or a name and a number, black on white."""
    count = rng.randint(1, 3)
    style = pick_style(rng, 0.0, (14, 13, 15)) if rng.random() > level else pick_style(rng, 0.3)
    canvas = Canvas(84, 28 * count, style)
    words = rng.sample((*NAMES, *GOODS), count)
    numbers = ["".join(rng.choice(string.digits) for _ in range(rng.randint(1, 6))) for _ in range(count)]
    if rng.random() < 0.35:
        numbers = [number[:2] for number in numbers]
        draw_rows(canvas, words, numbers, ruled=False)
        text = ", ".join(f"{name} {number}" for name, number in zip(words, numbers, strict=True))
        return Reading(canvas.image, READ, text, (text,), "ORAND", "Digit String Recognition")
    lines = [word if rng.random() < 0.2 else number for word, number in zip(words, numbers, strict=True)]
    for k, line in enumerate(lines):
        canvas.text(4 + rng.randint(0, round(14 * level)), 28 * k + 14, line, anchor="lm")
    text = " ".join(lines)
    return Reading(canvas.image, READ, text, (text,), "ORAND", "Digit String Recognition")


def word(rng: random.Random, level: float) -> Reading:
    """A printed word in lower, title or upper case."""
    text = rng.choice((str.lower, str.capitalize, str.upper))(rng.choice(WORDS))
    return Reading(_line(rng, level, text).image, READ, text, (text,), "IIIT5K", "Regular Text Recognition")


def artistic(rng: random.Random, level: float) -> Reading:
    """A coloured word."""
    text = rng.choice(WORDS).capitalize()
    ink = COLOURS[rng.choice(("red", "blue", "purple", "green"))]
    return Reading(_line(rng, level, text, ink=ink).image, READ, text, (text,), "WordArt", "Artistic Text Recognition")


def handwriting(rng: random.Random, level: float) -> Reading:
    """A word in a slanted serif face, the nearest to handwriting that the bundled fonts have."""
    text = rng.choice(WORDS)
    return Reading(_line(rng, level, text, face=SERIF).image, READ, text, (text,), "IAM", "Handwriting Recognition")


def digits(rng: random.Random, level: float) -> Reading:
    """A string of 1 to 6 digits."""
    text = "".join(rng.choice(string.digits) for _ in range(rng.randint(1, 6)))
    return Reading(_line(rng, level, text).image, READ_NUMBER, text, (text,), "ORAND", "Digit String Recognition")


def letters(rng: random.Random, level: float) -> Reading:
    """Letters without meaning."""
    case = rng.choice((string.ascii_lowercase, string.ascii_uppercase))
    text = "".join(rng.choice(case) for _ in range(rng.randint(1, 5)))
    image = _line(rng, level, text).image
    return Reading(image, READ, text, (text,), "NonSemanticText", "Non-Semantic Text Recognition")


def receipt(rng: random.Random, level: float) -> Reading:
    """Items with prices and a total."""
    style = pick_style(rng, level)
    count = rng.randint(1, 2)
    canvas = Canvas(140, 28 * (count + 1), style)
    names = rng.sample(GOODS, count)
    prices = [f"{rng.randint(11, 99) / 10:.2f}" for _ in names]
    total = f"{sum(float(price) for price in prices):.2f}"
    for k, (name, price) in enumerate((*zip(names, prices, strict=True), ("Total", total))):
        canvas.text(4, 28 * k + 14, name, anchor="lm")
        canvas.text(136, 28 * k + 14, price, anchor="rm")
    question, said, answer = "what is the total amount of this receipt?", "Total", total
    if rng.random() < 0.4:
        which = rng.randrange(count)
        question, said, answer = f"what is the price of {names[which]}?", names[which], prices[which]
    question += " Answer this question using the text in the image directly."
    return Reading(canvas.image, question, f"{said} {answer}", (answer,), "SROIE", "Key Information Extraction")


def sign(rng: random.Random, level: float) -> Reading:
    """A street sign: a word and a number."""
    style = pick_style(rng, level)
    canvas = Canvas(84, 56, Style(COLOURS[rng.choice(("blue", "green", "purple"))], (255, 255, 255), style.face, 14))
    text, number = rng.choice(WORDS).capitalize(), str(rng.randint(2, 999))
    canvas.text(4, 14, text, anchor="lm")
    canvas.text(4, 42, number, anchor="lm")
    question, answer = rng.choice((("What number is on the sign?", number), ("What word is on the sign?", text)))
    return Reading(canvas.image, question, answer, (answer,), "textVQA", "Scene Text-centric VQA")


def chart(rng: random.Random, level: float) -> Reading:
    """A question about a bar chart that asks for a value."""
    while True:
        problem = bar_chart(rng, level)
        if not problem.choices:
            break
    image = problem.images[0]
    return Reading(image, problem.question, problem.reply, (problem.answer,), "ChartQA", "Doc-oriented VQA")


def formula(rng: random.Random, level: float) -> Reading:
    """A small formula with a power or an index; answered in LaTeX."""
    style = pick_style(rng, level, (16,))
    canvas = Canvas(112, 28, style)
    letter, raised = rng.choice("abxyz"), rng.random() < 0.6
    small, number = str(rng.randint(2, 9)), str(rng.randint(1, 99))
    operator = rng.choice("+-=")
    canvas.text(7, 14, letter)
    canvas.free_text(21, 7 if raised else 21, small, 13)
    canvas.text(42, 14, operator)
    canvas.text(77, 14, number)
    mark = "^" if raised else "_"
    spaced = f"{letter} {mark} {{ {small} }} {operator} {' '.join(number)}\n"
    plain = f"{letter}{mark}{small} {operator} {number}"
    return Reading(
        canvas.image,
        FORMULA,
        plain,
        (spaced, plain + "\n"),
        "HME100k",
        "Handwritten Mathematical Expression Recognition",
    )


READINGS: dict[Callable[[random.Random, float], Reading], float] = {
    word: 0.2,
    artistic: 0.08,
    handwriting: 0.08,
    digits: 0.14,
    letters: 0.12,
    receipt: 0.12,
    sign: 0.1,
    chart: 0.06,
    formula: 0.1,
}


def draw(rng: random.Random, level: float) -> Reading:
    """One picture of the OCRBench mixture."""
    return rng.choices(list(READINGS), list(READINGS.values()))[0](rng, level)


def row(reading: Reading, number: int) -> dict[str, object]:
    """A row with the hub's columns."""
    return {
        "dataset": reading.dataset,
        "question": reading.question,
        "question_type": reading.question_type,
        "answer": list(reading.answers),
        "image": {"bytes": png_bytes(reading.image), "path": f"{number}.png"},
    }
