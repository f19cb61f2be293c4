"""MathVista's answer extraction without a judge, its normalisation and its verdict.

Source: lupantech/MathVista evaluation/extract_answer.py and evaluation/calculate_score.py @ 53d5258. The official
extraction asks GPT-4 where its own rules find nothing; `find_answer` is the deterministic rule that stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvl_eval.scorers.answer_text import (
    after_cue,
    conclusion,
    declines,
    first_number,
    is_negated,
    last_boxed,
    last_list,
    last_number,
    num_sentences,
    number_word,
    plain,
    stated_number,
)
from kvl_eval.scorers.multiple_choice import letters, named_letter, spoken_choice

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


def find_answer(response: str, question: Question) -> tuple[str, str] | None:
    r"""The extraction and how it was found, without a judge; None where the response holds no answer.

    The official rules go first. Then the last `\boxed{}`, the text after the last "the answer is" and the last
    sentence that opens with "so" or "therefore" are read, and the whole text last: for a choice its letter or its
    text, for a number the one stated there, for a list the last `[...]`. A place that says there is no answer ends
    the search. Time is linear in the response.
    """
    exact = rule_extraction(response.strip(), question)
    if exact is not None:
        return (exact, "exact") if exact else None
    places = ((last_boxed(response), "boxed"), (after_cue(response), "cue"), (conclusion(response), "conclusion"))
    final = [(plain(place), method) for place, method in places if place is not None]
    if question.is_choice:
        return _find_choice(plain(response), final, question.choices)
    for text, method in final:
        found = _value(text, question, first=method != "conclusion")
        if found is not None or declines(text):
            return None if found is None else (found, method)
    found = None if question.answer_type == "list" else stated_number(response)
    found = found or _value(plain(response), question, first=False)
    return None if found is None else (found, "text")


def _value(text: str, question: Question, *, first: bool) -> str | None:
    if question.answer_type == "list":
        return last_list(text)
    return (first_number(text) if first else last_number(text)) or number_word(text)


def _find_choice(response: str, final: Sequence[tuple[str, str]], choices: tuple[str, ...]) -> tuple[str, str] | None:
    for text, method in final:
        found = named_letter(text, len(choices), first=method != "conclusion")
        found = found or (None if declines(text) else spoken_choice(text, choices))
        if found is not None or declines(text):
            return None if found is None else (found, method)
    letter = named_letter(response, len(choices), first=False)
    if letter is not None:
        return letter, "letter"
    if declines(response[:120]) or declines(response[-200:]):
        return None
    for text, method in final:  # a number beside numeric choices: the official rule takes the nearest choice
        number = last_number(text)
        if number is not None and all(first_number(choice) is not None for choice in choices):
            return number, method
    spoken = spoken_choice(response, choices)
    return (spoken, "choice") if spoken is not None else _stated(response, choices)


def _stated(response: str, choices: tuple[str, ...]) -> tuple[str, str] | None:
    """A yes/no question answered by a short statement: no where it is negated, yes where it is not."""
    if {choice.lower() for choice in choices} != {"yes", "no"} or num_sentences(response) not in (1, 2):
        return None
    return ("no" if is_negated(response) else "yes"), "statement"
