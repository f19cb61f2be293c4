"""MMMU's parsers and verdicts: the letter of a multiple-choice reply, the candidate values of an open one.

Every quirk of the authors' code is kept because it moves verdicts, except that a reply without a letter yields None
here, where their code draws one at random. Time is linear in the response.
Source: MMMU-Benchmark/MMMU mmmu/utils/eval_utils.py @ bb0b95a; `lmms_letter`: EvolvingLMMs-Lab/lmms-eval
lmms_eval/tasks/_task_utils/mmmu_mcq_utils.py @ 75571cf.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from kvl_eval.scorers.multiple_choice import letters

Candidate = str | float

_STRIPPED = ",.!?;:'"
_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_EMPTY_TAILS = {"", *_STRIPPED}
_GROUPED = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
# The authors' patterns are `-?\d+(?:\.\d+)?[eE][+-]?\d+` and `-?(?:\d+\.\d+|\.\d+|\d+\b)` followed by neither an
# exponent nor `[,\d]`. They take quadratic time on a long run of digits, these linear time: what cannot match from a
# run's first digit cannot match from a later one.
_SCIENTIFIC = re.compile(r"(?:-|(?<!\d))\d++(?:\.\d++)?+[eE][+-]?\d+")
_NOT_FOLLOWED = r"(?![eE][+-]?\d+)(?![,\d])"
_WHOLE = r"(?:-\d++|(?<!\d)\d++)"
_SIMPLE = re.compile(rf"{_WHOLE}\.\d++{_NOT_FOLLOWED}|-?\.\d++{_NOT_FOLLOWED}|{_WHOLE}\b{_NOT_FOLLOWED}")


class Letter(NamedTuple):
    """A letter and how it was found: `bracket`, `letter`, `dot` or `text`."""

    letter: str
    method: str


def official_letter(response: str, choices: Sequence[str]) -> Letter | None:
    """The letter that the official parser reads; None where it draws one at random.

    The last of all `(X)` counts, without any the last of all standalone ` X `, without any and with more than five
    words the last option text contained in the reply. Of equal places the first letter wins.
    """
    text = _padded(response)
    names = letters(len(choices))
    return (
        _last("bracket", {name: text.rfind(f"({name})") for name in names})
        or _last("letter", {name: text.rfind(f" {name} ") for name in names})
        or _by_text(text, choices)
    )


def lmms_letter(response: str, choices: Sequence[str]) -> Letter | None:
    """The letter that lmms-eval reads; None where it draws one at random.

    `X ` needs no blank before it and `X.` counts too; among several of these the last standalone ` X ` wins, else the
    first letter.
    """
    text = _padded(response)
    names = letters(len(choices))
    found = _last("bracket", {name: text.rfind(f"({name})") for name in names})
    for method, suffix in (("letter", " "), ("dot", ".")):
        if found is None:
            named = [name for name in names if f"{name}{suffix}" in text]
            standing = _last(method, {name: text.rfind(f" {name} ") for name in named})
            found = standing or (Letter(named[0], method) if named else None)
    return found or _by_text(text, choices)


def open_candidates(response: str, more_cues: Sequence[str] = ()) -> list[Candidate]:
    """The values an open reply may mean, without repeats: numbers ascending, then texts in code-point order.

    `more_cues` are words before an answer that other benchmarks' copies of the parser know besides.
    """
    tails = _tails(response, (*_CUES, *more_cues))
    texts = [*tails, *(number for tail in tails for number in _numbers(tail))]
    return in_order({candidate for text in texts for candidate in normalised(text)})


def normalised(text: str) -> list[Candidate]:
    """A number rounded to two decimals, or lower-case text; a single character gets a blank on either side."""
    text = text.strip()
    number = _as_number(text)
    if number is not None:
        return [round(number, 2)]
    text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def open_correct(answers: Sequence[str], candidates: Sequence[Candidate]) -> bool:
    """Whether a number equals a gold number, or a text contains a gold text."""
    gold = [one for answer in answers for one in normalised(answer)]
    numbers = {one for one in gold if isinstance(one, float)}
    texts = [one for one in gold if isinstance(one, str)]
    return any(
        any(text in candidate for text in texts) if isinstance(candidate, str) else candidate in numbers
        for candidate in candidates
    )


def in_order(candidates: set[Candidate]) -> list[Candidate]:
    """Numbers ascending (those that are none last), then texts in code-point order."""
    numbers = sorted((one for one in candidates if isinstance(one, float)), key=lambda one: (math.isnan(one), one))
    return [*numbers, *sorted(one for one in candidates if isinstance(one, str))]


def _padded(response: str) -> str:
    for sign in _STRIPPED:
        response = response.strip(sign)
    return f" {response} "


def _last(method: str, places: dict[str, int]) -> Letter | None:
    """The letter at the largest place, the first of equals; places below 0 are none."""
    found = max(places, key=lambda name: places[name], default=None)
    return Letter(found, method) if found is not None and places[found] >= 0 else None


def _by_text(text: str, choices: Sequence[str]) -> Letter | None:
    if len(text.split()) <= 5:
        return None
    lowered = text.lower()
    names = letters(len(choices))
    return _last("text", {name: lowered.rfind(choice.lower()) for name, choice in zip(names, choices, strict=True)})


def _tails(response: str, cues: Sequence[str]) -> list[str]:
    """For each line the shortest text after a cue; the whole reply where no line has one."""
    text = response.strip().strip(".").lower()
    lines = text.split("\n")
    found = []
    for index, line in enumerate(lines):
        best = ""
        for cue in (*cues, "=") if index == len(lines) - 1 else cues:
            if cue in line:
                tail = line.rsplit(cue, 1)[1].strip()
                best = tail if not best or len(tail) < len(best) else best
        if best not in _EMPTY_TAILS:
            found.append(best)
    return found or [text]


def _numbers(text: str) -> list[str]:
    return [match[0] for pattern in (_GROUPED, _SCIENTIFIC, _SIMPLE) for match in pattern.finditer(text)]


def _as_number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
