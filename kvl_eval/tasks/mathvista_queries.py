"""The texts that MathVista's questions are asked with: the authors' query, and what lmms-eval makes of it."""

from __future__ import annotations

from kvl_eval.rows import Row
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.types import Message, Sample

HINTS = {
    "multi_choice": "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "integer": "Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, "
    "at the end.",
    "float 1": "Please answer the question requiring a floating-point number with one decimal place and provide the "
    "final value, e.g., 1.2, 1.3, 1.4, at the end.",
    "float 2": "Please answer the question requiring a floating-point number with two decimal places and provide the "
    "final value, e.g., 1.23, 1.34, 1.45, at the end.",
    "list": "Please answer the question requiring a Python list as an answer and provide the final list, e.g., "
    "[1, 2, 3], [1.2, 1.3, 1.4], at the end.",
}
SHORT_INSTRUCTIONS = {
    "multi_choice": "Answer with the option's letter from the given choices directly.",
    "integer": "Answer the question using a single integer number.",
    "float 1": "Answer the question using a single floating-point number with one decimal place.",
    "float 2": "Answer the question using a single floating-point number with two decimal places.",
    "list": "Answer the question using a Python list.",
}


def build_query(row: Row) -> str:
    """The text of the official column `query`: hint, question, choices."""
    return "\n".join([f"Hint: {HINTS[_form(row)]}", *_question_lines(row)])


def _question_lines(row: Row) -> list[str]:
    lines = [f"Question: {_with_unit(row)}"]
    choices = row.written_options("choices")
    if choices:
        lines += ["Choices:", *(f"({letter}) {text}" for letter, text in lettered(choices).items())]
    return lines


def _with_unit(row: Row) -> str:
    unit = row.optional_text("unit")
    return row.text("question") if unit is None else f"{row.text('question')} (Unit: {unit})"


def _form(row: Row) -> str:
    """Which hint a question gets."""
    kind = row.text("answer_type")
    if row.text("question_type") == "multi_choice":
        return "multi_choice"
    if kind == "float":
        return f"float {2 if row.integer('precision') == 2 else 1}"
    return "list" if kind == "list" else "integer"


def _after_pictures(sample: Sample, text: str) -> list[Message]:
    return [Message.user(*sample.media, text)]


def query_prompt(sample: Sample) -> list[Message]:
    """The data set's own `query`."""
    return _after_pictures(sample, sample.columns.text("query"))


def cot_prompt(sample: Sample) -> list[Message]:
    """Question, choices, hint: lmms-eval's `cot`."""
    row = sample.columns
    return _after_pictures(sample, "\n".join([*_question_lines(row), f"Hint: {HINTS[_form(row)]}"]))


def solution_prompt(sample: Sample) -> list[Message]:
    """As `cot`, ending in `Solution:`: what the authors' `build_query.py` writes, and lmms-eval's `solution`."""
    row = sample.columns
    return _after_pictures(sample, "\n".join([*_question_lines(row), f"Hint: {HINTS[_form(row)]}", "Solution:"]))


def format_prompt(sample: Sample) -> list[Message]:
    """Question, choices, one short instruction: lmms-eval's `format`."""
    row = sample.columns
    options = [f"{letter}. {text}" for letter, text in lettered(sample.choices).items()]
    return _after_pictures(sample, "\n".join([_with_unit(row), *options, SHORT_INSTRUCTIONS[_form(row)]]))
