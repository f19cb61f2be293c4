"""How well answers are extracted: counts, and the command that measures them.

`python -m benchmarks.answers --people FOLDER` prints them all. A test holds those of generated replies; those of people
were counted by that command, because their replies may not be copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvl_eval.scorers.answers.reading import Sought

COMMAND = "python -m benchmarks.answers"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Counts over replies whose answer is known.

    Attributes:
        replies:        in all.
        agree:          those from which the right value was extracted, or nothing where there is no answer.
        without:        those without an answer.
        read_as_answer: those of them from which something was extracted.
    """

    replies: int
    agree: int
    without: int
    read_as_answer: int

    @property
    def percent(self) -> float:
        """Share of replies that agree, in percent, rounded down to a decimal, so that 100.0 means all."""
        return 1000 * self.agree // self.replies / 10


GENERATED: Mapping[Sought, Accuracy] = {
    "letter": Accuracy(618, 618, 96, 0),
    "letters": Accuracy(88, 88, 15, 0),
    "yesno": Accuracy(352, 352, 45, 0),
    "integer": Accuracy(632, 632, 73, 0),
    "float": Accuracy(337, 337, 21, 0),
    "text": Accuracy(278, 278, 29, 0),
    "list": Accuracy(306, 306, 15, 0),
    "unanswerable": Accuracy(52, 52, 0, 0),
    "point": Accuracy(292, 292, 34, 0),
    "box": Accuracy(96, 96, 0, 0),
}
"""Replies generated from templates, with right and wrong values."""

LABELED = Accuracy(2500, 2467, 123, 15)
"""Replies of Llama 2, Mistral, Mixtral and Gemma to multiple-choice questions, labeled by people.

Source: mainlp/MCQ-Robustness @ 04ca490 and mainlp/MCQ-Mismatch @ b41aa0f.
"""
