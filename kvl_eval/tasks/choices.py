r"""What multiple-choice tasks share: the options of a row in every layout, and VLMEvalKit's prompts.

Source: open-compass/VLMEvalKit vlmeval/dataset/image_mcq.py and vlmeval/vlm/kimi_vl.py @ e8e78f0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from kvl_eval.cells import LETTERS
from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.types import ImageRef, Message, Part, Sample

DIRECT = "Answer with the option's letter from the given choices directly."
SELECT = "Please select the correct answer from the options above. \n"
STEP_BY_STEP = (
    r"Answer the preceding question. The last line of your response should follow this format: "
    r"'Answer: $\boxed{LETTER}$' (without quotes), where LETTER is one of the options. "
    r"Think step by step logically, considering all relevant information before answering."
)
_TAG = re.compile(r"<image (\d)>")


# Rows


def row_id(row: Row, *columns: str, number: int | None = None) -> str:
    """The row's id from the first of `columns` it has, a whole number without its decimals; else `row-{number}`.

    `number` stands for the column `row` where that is missing. Raises: DataError `data.field`, where both are missing.
    """
    name = row.identity(*columns)
    if name is not None:
        return name
    place = row.get("row") if row.has("row") else number
    if place is None:
        raise DataError("data.field", f"a row has no {' or '.join(columns) or 'number'}", where=row.where)
    return f"row-{place}"


def one_label(**labels: object) -> dict[str, tuple[str, ...]]:
    """Categories of one value each, those without one left out."""
    return {field: (str(label),) for field, label in labels.items() if label}


def gold_text(row: Row, *columns: str) -> tuple[str, ...]:
    """Gold as it stands; () where none of `columns` has something in it."""
    text = row.optional_text(*columns)
    return () if text is None else (text,)


def name_of_text(*texts: str) -> str:
    """A name made of a question's text, for rows that have no id."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def split_options(text: str, form: str) -> tuple[str, tuple[str, ...]]:
    r"""A text cut at its options: what stands before them, and their texts, blanks at the ends dropped.

    `form` is how an option starts, as `\n{}. ` or `({}) `; A, B, ... must follow one another.
    """
    head, mark, rest = text.partition(form.format("A"))
    if not mark:
        return text, ()
    found = []
    for letter in LETTERS[1:]:
        before, mark, after = rest.partition(form.format(letter))
        if not mark:
            break
        found.append(before.strip())
        rest = after
    return head.strip(), (*found, rest.strip())


# Prompts


def option_lines(choices: Sequence[str]) -> str:
    """`A. text` and so on, a line each, the last one ended too."""
    return "".join(f"{letter}. {text}\n" for letter, text in lettered(choices).items())


def vlmevalkit_text(sample: Sample, question: str) -> str:
    """VLMEvalKit's text for a multiple-choice question: hint, question, options, instruction."""
    note = sample.columns.text("hint")
    hint = f"Hint: {note}\n" if note else ""
    options = f"Options:\n{option_lines(sample.choices)}{SELECT}" if any(sample.choices) else ""
    return f"{hint}Question: {question}\n{options}"


def vlmevalkit(sample: Sample) -> list[Message]:
    """Pictures, then VLMEvalKit's text."""
    return [Message.user(*sample.media, vlmevalkit_text(sample, sample.question))]


def interleaved(sample: Sample, text: str) -> list[Part]:
    """A text cut at its tags `<image 1>`, each replaced by its picture; without any tag the pictures come first."""
    pieces = _TAG.split(text)
    if len(pieces) == 1:
        return [*sample.media, text]
    return [picture(sample, int(piece)) if place % 2 else piece for place, piece in enumerate(pieces)]


def image_tags(text: str) -> set[int]:
    """The numbers of the pictures that a text names by tags."""
    return {int(number) for number in _TAG.findall(text)}


def picture(sample: Sample, number: int) -> ImageRef:
    """Picture `number`, or a reference to nothing, so that a row without it fails instead of losing it."""
    if 1 <= number <= len(sample.media):
        found = sample.media[number - 1]
        assert isinstance(found, ImageRef)
        return found
    return ImageRef(name=f"image:{number} ({sample.id})")
