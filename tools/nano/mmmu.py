"""Drawn questions over one to four pictures in the schema of MMMU."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from tools.nano.draw import Canvas, pick_style
from tools.nano.png import png_bytes
from tools.nano.problems import PROBLEMS, near_numbers, with_choices

INSTRUCTION = (
    "Answer the preceding question. The last line of your response should follow this format: "
    "'Answer: $\\boxed{LETTER}$' (without quotes), where LETTER is one of the options. "
    "Think step by step logically, considering all relevant information before answering."
)
SUBJECTS = [
    "Accounting",
    "Agriculture",
    "Architecture_and_Engineering",
    "Art",
    "Art_Theory",
    "Basic_Medical_Science",
    "Biology",
    "Chemistry",
    "Clinical_Medicine",
    "Computer_Science",
    "Design",
    "Diagnostics_and_Laboratory_Medicine",
    "Economics",
    "Electronics",
    "Energy_and_Power",
    "Finance",
    "Geography",
    "History",
    "Literature",
    "Manage",
    "Marketing",
    "Materials",
    "Math",
    "Mechanical_Engineering",
    "Music",
    "Pharmacy",
    "Physics",
    "Psychology",
    "Public_Health",
    "Sociology",
]
MAX_IMAGES = 7


@dataclass(frozen=True)
class Question:
    """A question with image tags in its text or options; `answer` is a value, `options` may be empty."""

    images: tuple[Image.Image, ...]
    question: str
    options: tuple[str, ...]
    answer: str
    spoken: str  # what is read off before the letter is named


def draw(rng: random.Random, level: float) -> Question:
    """One question of the MMMU mixture."""
    return rng.choices((one_picture, two_pictures, picture_options, open_question), (0.5, 0.2, 0.15, 0.15))[0](
        rng, level
    )


def one_picture(rng: random.Random, level: float) -> Question:
    """A drawn problem with four options."""
    problem = _free_form(rng, level, ("bar chart", "table", "badges", "rectangle", "triangle", "legend"))
    problem = with_choices(rng, problem, near_numbers(rng, problem.answer))
    return Question(problem.images, f"<image 1> {problem.question}", problem.choices, problem.answer, problem.reply)


def two_pictures(rng: random.Random, level: float) -> Question:
    """Two numbers in two pictures; asks for the one in the first or the second."""
    numbers = rng.sample(range(10, 100), 2)
    images = tuple(_number(rng, level, number) for number in numbers)
    which = rng.randrange(2)
    answer = str(numbers[which])
    others = [str(numbers[1 - which]), *near_numbers(rng, answer)]
    options = [
        answer,
        others[0],
        *rng.sample([o for o in dict.fromkeys(others[1:]) if o not in (answer, others[0])], 2),
    ]
    rng.shuffle(options)
    place = ("first", "second")[which]
    question = f"<image 1> <image 2> Which number is in the {place} picture?"
    return Question(images, question, tuple(options), answer, answer)


def picture_options(rng: random.Random, level: float) -> Question:
    """A number and three pictures as options; asks which picture shows it."""
    numbers = rng.sample(range(10, 100), 3)
    images = tuple(_number(rng, level, number) for number in numbers)
    which = rng.randrange(3)
    options = tuple(f"<image {k}>" for k in (1, 2, 3))
    return Question(
        images, f"Which picture shows the number {numbers[which]}?", options, options[which], str(numbers[which])
    )


def open_question(rng: random.Random, level: float) -> Question:
    """A drawn problem without options."""
    problem = _free_form(rng, level, ("bar chart", "table", "rectangle", "arithmetic", "circle"))
    return Question(problem.images, f"<image 1> {problem.question}", (), problem.answer, problem.said)


def _free_form(rng: random.Random, level: float, kinds: tuple[str, ...]):  # type: ignore[no-untyped-def]
    draw_problem: Callable = PROBLEMS[rng.choice(kinds)]  # type: ignore[type-arg]
    while True:
        problem = draw_problem(rng, level)
        if not problem.choices:
            return problem


def _number(rng: random.Random, level: float, number: int) -> Image.Image:
    canvas = Canvas(56, 28, pick_style(rng, level))
    canvas.text(4, 14, str(number), anchor="lm")
    return canvas.image


def letter(question: Question) -> str:
    """The right option's letter, or the value of an open question."""
    return chr(65 + question.options.index(question.answer)) if question.options else question.answer


def prompt(question: Question) -> tuple[str | Image.Image, ...]:
    """Text and pictures, each picture where its tag stands."""
    options = "".join(f"{chr(65 + k)}. {option}\n" for k, option in enumerate(question.options))
    text = f"Question: {question.question}\n" + (f"Options:\n{options}" if options else "") + INSTRUCTION
    pieces = re.split(r"<image (\d)>", text)
    return tuple(
        question.images[int(piece) - 1] if k % 2 else piece for k, piece in enumerate(pieces) if k % 2 or piece
    )


def reply(question: Question) -> str:
    """The value read off, then the boxed letter (or value)."""
    boxed = f"Answer: $\\boxed{{{letter(question)}}}$"
    return f"{question.spoken}\n{boxed}" if question.spoken else boxed


def row(question: Question, number: int) -> dict[str, object]:
    """A row with the columns of the merged hub copy."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    pictures = [{"bytes": png_bytes(image), "path": f"{number}_{k}.png"} for k, image in enumerate(question.images, 1)]
    return {
        "id": f"validation_{subject}_{number // len(SUBJECTS) + 1}",
        "question": question.question,
        "options": repr(list(question.options)),
        "explanation": "",
        **{f"image_{k + 1}": pictures[k] if k < len(pictures) else None for k in range(MAX_IMAGES)},
        "img_type": "['Charts']",
        "answer": letter(question),
        "topic_difficulty": ("Easy", "Medium", "Hard")[number % 3],
        "question_type": "multiple-choice" if question.options else "open",
        "subfield": "Drawn questions",
    }
