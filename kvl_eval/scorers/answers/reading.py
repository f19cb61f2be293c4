"""What a reader is asked for, and what it gives back."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

Kind = Literal["letter", "letters", "yesno", "integer", "float", "text", "list", "point", "box"]
Sought = Kind | Literal["unanswerable"]
"""What a task looks for in an answer: a kind of value, or that the question has no answer."""
Coords = Literal["auto", "unit", "thousand", "pixel"]

CharSpan = tuple[int, int]
Numeric = int | float


class NotAnswerable(enum.Enum):
    """The value of a reply that says that its question has no answer."""

    NOT_ANSWERABLE = "not_answerable"

    def __str__(self) -> str:
        return "Not answerable"


NOT_ANSWERABLE = NotAnswerable.NOT_ANSWERABLE

ListItem = str | int | float
Value = str | int | float | tuple[ListItem, ...] | NotAnswerable
Passed = tuple[CharSpan, str, str]  # a place that was looked at and not taken: where, how, why

REASONS = (
    "empty",
    "thought_unclosed",
    "not_an_option",
    "letter_and_text_differ",
    "range",
    "bound",
    "two_answers",
    "refusal",
    "hedge",
    "none",
)
"""Why there is no value, in the order in which one of several is named."""

HOWS = (
    "boxed",
    "tag",
    "json",
    "gsm",
    "heading",
    "answer_line",
    "answer_is",
    "whole",
    "first_line",
    "last_line",
    "own_line",
    "bold",
    "conclusion",
    "statement",
    "contained",
    "restated",
)
"""How a value was found, the surest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a question asks for.

    Attributes:
        kind:         what the value is.
        options:      texts without their letters; required for `letter` and `letters`.
        items:        what a list holds: text, integer or float.
        unanswerable: "not answerable" is an answer of this question.
        size:         (width, height) in pixels of the image as it was sent; for points and boxes.
        coords:       what coordinates above 1 mean.
        question:     what the reply may copy without answering; for `yesno` what a reply may restate.
    """

    kind: Kind
    options: tuple[str, ...] = ()
    items: Kind = "text"
    unanswerable: bool = False
    size: tuple[int, int] | None = None
    coords: Coords = "auto"
    question: str = ""

    def __post_init__(self) -> None:
        if self.kind in ("letter", "letters") and not 0 < len(self.options) <= 26:
            raise ValueError(f"a question for a {self.kind} needs 1 to 26 options, not {len(self.options)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reply says; `value` None with a `reason`, or a value with `how` it was found and where it stands.

    Attributes:
        span:   where the value's text stands in the reply as it was passed, in characters.
        unit:   "%", "cm", "$"; never part of a number.
        passed: up to 8 places that were looked at and not taken.
    """

    value: Value | None = None
    how: str = ""
    reason: str = ""
    span: CharSpan | None = None
    unit: str = ""
    passed: tuple[Passed, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundValue:
    """A value read at a place; offsets are those of the text that was parsed."""

    value: Value
    start: int
    end: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a place with an attempted answer gives no value: a name of REASONS."""

    reason: str


Attempt = FoundValue | Fault | None  # None: the place says nothing of the wanted kind
