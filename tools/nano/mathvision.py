"""Drawn contest-style problems in the schema of MathLLMs/MathVision."""

import dataclasses
import random

from tools.nano.png import png_bytes
from tools.nano.problems import PROBLEMS, Problem, near_numbers, with_choices

INSTRUCTION = (
    'Please solve the problem step by step and put your answer in one "\\boxed{}". '
    'If it is a multiple choice question, only one letter is allowed in the "\\boxed{}".\n'
)
# kind -> (subject, level)
SUBJECTS = {
    "rectangle": ("metric geometry - area", 2),
    "triangle": ("metric geometry - length", 2),
    "circle": ("metric geometry - length", 1),
    "counting": ("counting", 1),
    "arithmetic": ("arithmetic", 3),
    "bar chart": ("statistics", 4),
    "legend": ("logic", 5),
}


@dataclasses.dataclass(frozen=True)
class Contest:
    """A problem with its subject and level."""

    problem: Problem
    subject: str
    level: int


def draw(rng: random.Random, level: float) -> Contest:
    """One problem of the MathVision mixture: half free-form, half with five options."""
    kind = rng.choice(sorted(SUBJECTS))
    while True:
        problem = PROBLEMS[kind](rng, level)
        if not problem.choices:
            break
    if rng.random() < 0.5:
        problem = with_choices(rng, problem, near_numbers(rng, problem.answer), count=5)
    subject, grade = SUBJECTS[kind]
    return Contest(problem, subject, grade)


def question(contest: Contest) -> str:
    """The row's question, with the picture's tag."""
    return f"{contest.problem.question}\n<image1>"


def prompt(contest: Contest) -> str:
    """The text after the picture."""
    options = "".join(f"({chr(65 + k)}) {choice}\n" for k, choice in enumerate(contest.problem.choices))
    return f"{INSTRUCTION}{question(contest)}\n{options}"


def reply(contest: Contest) -> str:
    """What was read, then the boxed value or letter."""
    problem = contest.problem
    if not problem.choices:
        return f"{problem.said} \\boxed{{{problem.answer}}}".strip()
    return f"{problem.reply} \\boxed{{{chr(65 + problem.choices.index(problem.answer))}}}"


def row(contest: Contest, number: int) -> dict[str, object]:
    """A row with the hub's columns."""
    problem = contest.problem
    letter = chr(65 + problem.choices.index(problem.answer)) if problem.choices else problem.answer
    return {
        "id": str(number),
        "question": question(contest),
        "options": list(problem.choices),
        "image": f"images/{number}.png",
        "decoded_image": {"bytes": png_bytes(problem.images[0]), "path": f"{number}.png"},
        "answer": letter,
        "solution": None,
        "level": contest.level,
        "subject": contest.subject,
    }
