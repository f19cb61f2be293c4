"""Which form a prompt asks for, and whether an answer has it."""

from __future__ import annotations

import re
from typing import Literal, get_args

from kvl_eval.scorers.answers.marks import marks
from kvl_eval.scorers.answers.reader import read
from kvl_eval.scorers.answers.reading import Kind, Reading, Wanted
from kvl_eval.scorers.answers.view import undress

AnswerForm = Literal[
    "letter", "boxed", "answer_line", "answer_is", "tag", "json", "point", "box", "list", "yesno", "short", "free"
]
ANSWER_FORMS: tuple[str, ...] = get_args(AnswerForm)

_MARKS: dict[AnswerForm, tuple[str, ...]] = {
    "boxed": ("boxed",),
    "answer_line": ("answer_line", "heading"),
    "answer_is": ("answer_is", "answer_line"),
    "tag": ("tag",),
    "json": ("json",),
}
_KINDS: dict[AnswerForm, Kind] = {"letter": "letter", "box": "box", "list": "list", "yesno": "yesno"}
_SHORT = 12  # words of an answer that is a word, a number or a phrase alone
_YESNO = 3  # words of an answer that is yes or no alone
_LETTER = 40  # characters that may stand around a letter and its option's text
_MARKED_LIMIT = 2_000  # characters of a marked answer
_ALONE_LIMIT = 5_000  # characters of an answer that can be a value alone
_ACTION = re.compile(r"\b(?:click|tap|move_?to)\s?\(", re.IGNORECASE)
_ANY_OPTIONS = tuple(f"option {index}" for index in range(26))


def follows(answer: str, answer_form: AnswerForm, options: tuple[str, ...] = ()) -> bool:
    """Whether an answer, its thought off, has the form that a prompt asks for.

    Of a form with a mark: a mark of that name stands there with a value in it, whatever else is said. Of the others:
    the answer is nothing but a value of that kind. `free` is always followed.
    """
    if answer_form == "free":
        return True
    if answer_form in _MARKS:
        return _is_marked(answer, _MARKS[answer_form], options)
    if len(answer) > _ALONE_LIMIT:
        return False
    if answer_form == "point":
        return _is_point(answer)
    if answer_form == "short":
        return len(answer.split()) <= _SHORT and _is_whole(_read(answer, "text"))
    if answer_form == "yesno" and len(answer.split()) > _YESNO:
        return False
    if answer_form == "letter" and len(answer.strip()) > _LETTER + max(map(len, options), default=0):
        return False
    return _is_whole(_read(answer, _KINDS[answer_form], options))


def _read(answer: str, kind: Kind, options: tuple[str, ...] = ()) -> Reading:
    listed = options if 0 < len(options) <= len(_ANY_OPTIONS) else _ANY_OPTIONS
    return read(answer, Wanted(kind=kind, options=listed, size=(1000, 1000)), split=False)


def _is_whole(reading: Reading) -> bool:
    return reading.how == "whole"


def _is_marked(answer: str, hows: tuple[str, ...], options: tuple[str, ...]) -> bool:
    """Whether a mark that counts has a value: one of the options, or any text but a refusal."""
    view = undress(answer)
    kinds: tuple[Kind, ...] = ("letter", "text") if options else ("text",)
    for mark in reversed(marks(view)):
        if mark.how not in hows or mark.why_not:
            continue
        content = view.text[mark.start : min(mark.end, mark.start + _MARKED_LIMIT)]
        if any(_read(content, kind, options).value is not None for kind in kinds):
            return True
    return False


def _is_point(answer: str) -> bool:
    """Whether an answer is a point alone, or an action at one; a box is none."""
    reading = _read(answer, "point")
    if reading.value is None or _read(answer, "box").value is not None:
        return False
    return _is_whole(reading) or _ACTION.search(answer) is not None
