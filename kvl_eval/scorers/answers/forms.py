"""Which form a prompt asks for, and whether an answer has it."""

from __future__ import annotations

from typing import Literal, get_args

from kvl_eval.scorers.answers.reader import read
from kvl_eval.scorers.answers.reading import Kind, Wanted

AnswerForm = Literal[
    "letter", "boxed", "answer_line", "answer_is", "tag", "json", "point", "box", "list", "yesno", "short", "free"
]
ANSWER_FORMS: tuple[str, ...] = get_args(AnswerForm)

_MARKS: dict[str, tuple[str, ...]] = {
    "boxed": ("boxed",),
    "answer_line": ("answer_line", "heading"),
    "answer_is": ("answer_is", "answer_line"),
    "tag": ("tag",),
    "json": ("json",),
}
_KINDS: dict[str, tuple[Kind, ...]] = {
    "letter": ("letter",),
    "yesno": ("yesno",),
    "point": ("point",),
    "box": ("box",),
    "list": ("list",),
    "short": ("integer", "yesno", "text"),
}
_SHORT = 12  # words of an answer that is a word, a number or a phrase alone


def follows(answer: str, answer_form: AnswerForm, options: tuple[str, ...] = ()) -> bool:
    """Whether an answer, its thought off, has the form that a prompt asks for; `free` is always followed."""
    if answer_form == "free":
        return True
    if answer_form in _MARKS:
        kinds: tuple[Kind, ...] = ("letter", "text") if options else ("text",)
        readings = [read(answer, Wanted(kind=kind, options=options), split=False) for kind in kinds]
        return any(reading.how in _MARKS[answer_form] for reading in readings)
    for kind in _KINDS[answer_form]:
        if kind == "letter" and not options:
            options = tuple(f"option {index}" for index in range(26))
        reading = read(answer, Wanted(kind=kind, options=options, size=(1000, 1000)), split=False)
        if reading.how == "whole" and (answer_form != "short" or len(answer.split()) <= _SHORT):
            return True
    return False
