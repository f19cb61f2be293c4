"""Drawn documents of 3 to 12 pages in the schema of yubo2333/MMLongBench-Doc."""

import random
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import COLOURS, Canvas, pick_style
from tools.nano.words import GOODS

REFUSAL = "Not answerable"
KINDS = {"Int": 0.36, "Str": 0.2, "Float": 0.16, "List": 0.14, "None": 0.14}
TYPES = ("Research report / Introduction", "Guidebook", "Financial report")


@dataclass(frozen=True)
class Document:
    """Pages of a number of their own, a word and a value."""

    pages: tuple[Image.Image, ...]
    words: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def reading(self) -> str:
        """Everything written."""
        lines = zip(self.words, self.values, strict=True)
        return ", ".join(f"{number} {word} {value}" for number, (word, value) in enumerate(lines, 1))


@dataclass(frozen=True)
class Asked:
    """A question about a document; `pages` hold the evidence, from 1."""

    question: str
    answer: str
    form: str  # one of KINDS
    reply: str
    pages: tuple[int, ...]


def draw(rng: random.Random, level: float) -> Document:
    """One document; longer ones are rarer."""
    count = min(rng.randint(3, 12) for _ in range(3 if level < 0.5 else 2))
    style = pick_style(rng, level)
    words = rng.sample(GOODS, count)
    values = [f"{n // 10}.{n % 10}" if rng.random() < 0.3 else str(n) for n in rng.sample(range(11, 99), count)]
    colour = COLOURS[rng.choice(("gray", "blue", "green"))]
    pages = []
    for number, (word, value) in enumerate(zip(words, values, strict=True), 1):
        canvas = Canvas(112, 56, style)
        canvas.text(0, 14, str(number), anchor="lm", ink=colour)
        canvas.text(28, 14, word, anchor="lm")
        canvas.text(28, 42, value, anchor="lm")
        canvas.pen.line((0, 27, 112, 27), fill=colour)
        pages.append(canvas.image)
    return Document(tuple(pages), tuple(words), tuple(values))


def ask(rng: random.Random, document: Document) -> Asked:
    """A question of a random type of answer that the document allows."""
    while True:
        form = rng.choices(list(KINDS), list(KINDS.values()))[0]
        pages = [k for k, value in enumerate(document.values, 1) if ("." in value) == (form == "Float")]
        asked = _ask(rng, document, form, pages)
        if asked is not None:
            return asked


def _ask(rng: random.Random, document: Document, form: str, pages: list[int]) -> Asked | None:
    count = len(document.pages)
    if form == "None":
        beyond = rng.randint(count + 1, count + 4)
        what = rng.choice(("number", "word"))
        return Asked(f"What is the {what} on page {beyond}?", REFUSAL, form, REFUSAL, ())
    if form == "Str":
        page = rng.randint(1, count)
        word = document.words[page - 1]
        return Asked(f"What is the word on page {page}?", word, form, word, (page,))
    if form == "Int" and rng.random() < 0.3:
        page = rng.randint(1, count)
        return Asked(f"On which page is the word {document.words[page - 1]}?", str(page), form, str(page), (page,))
    if form == "List":
        first = rng.randint(1, count - 1)
        values = document.values[first - 1 : first + 1]
        question = f"What are the numbers on pages {first} and {first + 1}? Answer with a list."
        return Asked(question, repr(list(values)), form, f"[{', '.join(values)}]", (first, first + 1))
    if not pages:
        return None
    page = rng.choice(pages)
    value = document.values[page - 1]
    return Asked(f"What is the number on page {page}?", value, form, value, (page,))


def row(asked: Asked, number: int) -> dict[str, object]:
    """A row with the hub's columns, all of them texts."""
    sources = ["Pure-text (Plain-text)"] if asked.pages else []
    return {
        "doc_id": name(number),
        "doc_type": TYPES[number % len(TYPES)],
        "question": asked.question,
        "answer": asked.answer,
        "evidence_pages": repr(list(asked.pages)),
        "evidence_sources": repr(sources),
        "answer_format": asked.form,
    }


def name(number: int) -> str:
    """The file name of a document."""
    return f"mini_{number + 1:02d}.pdf"
