"""MathVista's answer extraction without a judge, its normalisation and its verdict.

Source: lupantech/MathVista evaluation/extract_answer.py and evaluation/calculate_score.py @ 53d5258. The official
extraction asks GPT-4 where its own rules find nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvl_eval.scorers.multiple_choice import letters

_PARENTHESISED = re.compile(r"\(([a-zA-Z])\)")
_QUICK = re.compile(r'The answer is "(.*)"\.')


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the scorer needs to know of a question. `precision` counts decimals, for floats only."""

    question_type: str  # multi_choice, free_form
    answer_type: str  # text, integer, float, list
    choices: tuple[str, ...] = ()
    precision: int | None = None

    @property
    def is_choice(self) -> bool:
        """Whether options are given."""
        return self.question_type == "multi_choice"


def rule_extraction(response: str, question: Question, *, quick: bool = False) -> str | None:
    """What the official `extract_answer` returns without calling its model; None where it would call it.

    `quick` is its flag `quick_extract`.
    """
    if response == "":
        return ""
    if question.is_choice and response in question.choices:
        return response
    try:
        if question.answer_type == "integer":
            return str(int(response))
        if question.answer_type == "float":
            return str(float(response))
    except ValueError:
        pass
    found = _QUICK.search(response) if quick else None
    return found[1] if found else None


def normalise(extraction: Any, question: Question, *, ignore_empty: bool = False) -> str | None:
    """The prediction that is compared with the answer; None where the extraction has no such value.

    A choice question always gets one of its choices, the nearest by edit distance if need be, an empty extraction
    included unless `ignore_empty` (the official flag `ignore_empty_extractions`).
    """
    if question.is_choice:
        text = extraction.strip() if isinstance(extraction, str) else str(extraction)
        return None if ignore_empty and not text else _choice(text, question.choices)
    if question.answer_type == "list":
        return str(extraction)
    try:
        if question.answer_type == "integer":
            return str(int(float(extraction)))
        if question.answer_type == "float":
            return str(round(float(extraction), int(question.precision)))  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None
    return None if extraction is None else str(extraction)


def _choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that `text` names by letter, else the nearest one; of equally near ones the first."""
    found = _PARENTHESISED.search(text)
    name = found[1].upper() if found else text
    options = letters(len(choices))
    if name in options:
        return choices[options.index(name)]
    from rapidfuzz.distance import Levenshtein

    return min(choices, key=lambda choice: Levenshtein.distance(name, choice), default=None)
