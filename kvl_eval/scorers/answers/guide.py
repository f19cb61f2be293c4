"""What `describe` tells of how answers are extracted: forms, places, examples. Tests read every example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvl_eval.scorers.answers.reading import Kind, Sought

FORMS: Mapping[str, str] = {
    "letter": "a letter alone",
    "boxed": "the answer in \\boxed{}",
    "answer_line": "a line `Answer: ...`",
    "answer_is": "a sentence `The answer is ...`",
    "tag": "the answer in <answer> tags",
    "json": "a JSON object with the key `answer`",
    "point": "a point or a click alone",
    "box": "a box alone",
    "list": "a list alone",
    "yesno": "yes or no alone",
    "short": "a word, a number or a phrase alone",
    "free": "any form",
}
"""What each form of an answer is, for people."""

KINDS: Mapping[Sought, str] = {
    "letter": "the letter of one option",
    "letters": "the letters of several options",
    "yesno": "yes or no",
    "integer": "a whole number",
    "float": "a number",
    "text": "a text",
    "list": "a list",
    "point": "a point on the image",
    "box": "a box on the image",
    "unanswerable": "that the question has no answer",
}

PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "marked": (
        "the last place that is marked as the answer",
        ("boxed", "tag", "json", "gsm", "heading", "answer_line", "answer_is"),
    ),
    "alone": (
        "the whole answer, a line or a bold span that is nothing but a value",
        ("whole", "first_line", "last_line", "own_line", "bold"),
    ),
    "stated": ("a conclusion or a plain statement", ("conclusion", "statement")),
    "contained": ("the only value that a short answer contains", ("contained", "restated")),
}
"""{place, the surest first: what it is, and the values of `Reading.how` that belong to it}."""

OPTIONS = ("blue", "red", "green", "yellow")
"""Options of the examples: A to D."""


@dataclass(frozen=True, slots=True)
class Example:
    """An answer and what is extracted from it: the value as text, or a name of REASONS where there is none."""

    answer: str
    extracted: str


EXAMPLES: Mapping[Kind, Mapping[str, Example]] = {
    "letter": {
        "marked": Example("Red at first. Answer: C", "C"),
        "alone": Example("B. red", "B"),
        "stated": Example("Blue is out. So it must be option B", "B"),
        "contained": Example("A lamp that looks red", "B"),
    },
    "yesno": {
        "marked": Example("The lamp is lit. Answer: yes", "yes"),
        "alone": Example("No. It is dark.", "no"),
    },
    "integer": {
        "marked": Example("8 and 4 make \\boxed{12}", "12"),
        "alone": Example("12 apples", "12"),
        "stated": Example("I count 8, then 4. So there are 12.", "12"),
        "contained": Example("One can see 12 of them on page 3.", "12"),
    },
    "float": {
        "marked": Example("Half of it: \\boxed{\\frac{7}{2}}", "3.5"),
        "alone": Example("3.5 cm", "3.5"),
        "stated": Example("The bar is long. So the length is 3.5 cm.", "3.5"),
        "contained": Example("In the chart one reads 3.5 for that bar.", "3.5"),
    },
    "text": {
        "marked": Example("It is on the sign. Answer: Main Street", "Main Street"),
        "alone": Example("Main Street", "Main Street"),
        "stated": Example("The sign says Main Street", "Main Street"),
    },
    "list": {
        "marked": Example("Two bars. Answer: [2014, 2016]", "2014, 2016"),
        "alone": Example("2014, 2016", "2014, 2016"),
    },
    "point": {
        "alone": Example("(0.5, 0.25)", "0.5, 0.25"),
        "stated": Example("Click the button at (0.5, 0.25).", "0.5, 0.25"),
    },
}
"""{kind: {place: an example}}, of the kinds that tasks want."""

_OF_ALL = (Example("", "empty"), Example("I cannot tell from the image.", "refusal"))
_OF_NUMBERS = (
    *_OF_ALL,
    Example("It is either 10 or 12.", "two_answers"),
    Example("10-12", "range"),
    Example("more than 12", "bound"),
)
NO_ANSWER: Mapping[Kind, tuple[Example, ...]] = {
    "letter": (
        *_OF_ALL,
        Example("I am torn between them.", "hedge"),
        Example("B or C", "two_answers"),
        Example("F", "not_an_option"),
        Example("A. red", "letter_and_text_differ"),
    ),
    "yesno": (*_OF_ALL, Example("It depends.", "hedge")),
    "integer": _OF_NUMBERS,
    "float": _OF_NUMBERS,
    "text": (*_OF_ALL, Example("Main Street or Broadway", "two_answers")),
    "list": _OF_ALL,
    "point": (*_OF_ALL, Example("(0.1, 0.1) or (0.9, 0.9)", "two_answers")),
}
"""{kind: replies without an answer}."""

UNANSWERABLE = Example("The document does not mention it.", "Not answerable")
"""Where the question may have no answer, that is one."""

REASON_TEXTS: Mapping[str, str] = {
    "empty": "nothing is said",
    "thought_unclosed": "the thought never ends",
    "not_an_option": "a letter beyond the options",
    "letter_and_text_differ": "a letter with the text of another option",
    "range": "a range",
    "bound": "a bound",
    "two_answers": "two different answers",
    "refusal": "a refusal",
    "hedge": "a hedge",
    "none": "nothing of the wanted kind",
}
"""What each reason means."""
