"""Drawn MathVista rows in the schema of AI4Math/MathVista, split testmini."""

import random

from tools.nano.png import png_bytes
from tools.nano.problems import PROBLEMS, Problem

SHARES = {
    "bar chart": 0.22,
    "table": 0.2,
    "badges": 0.08,
    "rectangle": 0.14,
    "triangle": 0.1,
    "circle": 0.07,
    "counting": 0.05,
    "arithmetic": 0.04,
    "sequence": 0.04,
    "legend": 0.06,
}
HINTS = {
    "choice": "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "integer": (
        "Hint: Please answer the question requiring an integer answer and provide the final value, "
        "e.g., 1, 2, 3, at the end."
    ),
    "float1": (
        "Hint: Please answer the question requiring a floating-point number with one decimal place and provide "
        "the final value, e.g., 1.2, 1.3, 1.4, at the end."
    ),
    "float2": (
        "Hint: Please answer the question requiring a floating-point number with two decimal places and provide "
        "the final value, e.g., 1.23, 1.34, 1.45, at the end."
    ),
    "list": (
        "Hint: Please answer the question requiring a Python list as an answer and provide the final list, "
        "e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end."
    ),
}
# kind -> (task, context, skills)
LABELS = {
    "bar chart": ("figure question answering", "bar chart", ["statistical reasoning"]),
    "table": ("figure question answering", "table", ["statistical reasoning", "numeric commonsense"]),
    "badges": ("math word problem", "table", ["arithmetic reasoning"]),
    "geometry": ("geometry problem solving", "geometry diagram", ["geometry reasoning"]),
    "counting": ("visual question answering", "synthetic scene", ["arithmetic reasoning"]),
    "arithmetic": ("textbook question answering", "puzzle test", ["arithmetic reasoning", "algebraic reasoning"]),
    "sequence": ("math word problem", "abstract scene", ["logical reasoning"]),
    "legend": ("visual question answering", "abstract scene", ["logical reasoning"]),
    "total": ("math word problem", "table", ["arithmetic reasoning"]),
    "count": ("math word problem", "table", ["arithmetic reasoning"]),
    "path": ("textbook question answering", "puzzle test", ["logical reasoning"]),
    "walk": ("textbook question answering", "puzzle test", ["logical reasoning", "arithmetic reasoning"]),
}


def draw(rng: random.Random, level: float) -> Problem:
    """One problem of the MathVista mixture."""
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    return PROBLEMS[kind](rng, level)


def query(problem: Problem) -> str:
    """The `query` text: hint, question with unit, choices."""
    hint = "choice" if problem.choices else f"{problem.answer_type}{problem.precision or ''}"
    unit = f" (Unit: {problem.unit})" if problem.unit else ""
    lines = [HINTS[hint], f"Question: {problem.question}{unit}"]
    if problem.choices:
        lines += ["Choices:", *(f"({chr(65 + k)}) {choice}" for k, choice in enumerate(problem.choices))]
    return "\n".join(lines)


def reply(problem: Problem) -> str:
    """What nano learns to say: the value, for a choice the option's text, sometimes after what it belongs to."""
    return problem.reply


def row(problem: Problem, number: int) -> dict[str, object]:
    """A row with the hub's columns."""
    image = problem.images[0]
    task, context, skills = LABELS[problem.kind]
    return {
        "pid": str(number),
        "question": problem.question,
        "image": f"images/{number}.png",
        "decoded_image": {"bytes": png_bytes(image), "path": f"{number}.png"},
        "choices": list(problem.choices) or None,
        "unit": problem.unit,
        "precision": float(problem.precision) if problem.precision else None,
        "answer": problem.answer,
        "question_type": "multi_choice" if problem.choices else "free_form",
        "answer_type": problem.answer_type,
        "metadata": {
            "category": "general-vqa" if task.startswith("visual") else "math-targeted-vqa",
            "context": context,
            "grade": "elementary school",
            "img_height": image.height,
            "img_width": image.width,
            "language": "english",
            "skills": skills,
            "source": "kvl-eval mini",
            "split": "testmini",
            "task": task,
        },
        "query": query(problem),
    }
