r"""What multiple-choice tasks share: the options of a row in every layout, and VLMEvalKit's prompts.

Source: open-compass/VLMEvalKit vlmeval/dataset/image_mcq.py and vlmeval/vlm/kimi_vl.py @ e8e78f0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kvl_eval.errors import DataError
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.sources import literal_list
from kvl_eval.types import ImageRef, Message, Part, Sample

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIRECT = "Answer with the option's letter from the given choices directly."
SELECT = "Please select the correct answer from the options above. \n"
STEP_BY_STEP = (
    r"Answer the preceding question. The last line of your response should follow this format: "
    r"'Answer: $\boxed{LETTER}$' (without quotes), where LETTER is one of the options. "
    r"Think step by step logically, considering all relevant information before answering."
)
_TAG = re.compile(r"<image (\d)>")


# Rows


def row_id(row: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """The row's id from the first of `keys` it has, a whole number without its decimals; else `row-{number}`.

    Raises: DataError `data.field`, where it has no number either.
    """
    for key in keys:
        if is_there(row.get(key)):
            value = row[key]
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if row.get("row") is None:
        raise DataError("data.field", f"a row has no {' or '.join(keys) or 'number'}", where=where)
    return f"row-{row['row']}"


def kept(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Those of `columns` that the row has a value for."""
    return {key: row[key] for key in columns if is_there(row.get(key))}


def is_there(value: Any) -> bool:
    """Whether a cell holds a value: neither None nor the NaN that tables have for it."""
    return value is not None and value == value


def list_or_text(text: str, where: str) -> tuple[str, ...]:
    """The items of a list written as text, or the text itself where it only begins like one."""
    try:
        return tuple(literal_list(text, where=where))
    except DataError:
        return (text,)


def option_texts(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Options as a list, as the hub's literal text, or as the columns A, B, ... of VLMEvalKit's table."""
    given = row.get("options") or row.get("choices")
    if isinstance(given, str) and given.strip():
        return tuple(literal_list(given, where=where))
    if isinstance(given, list | tuple):
        return tuple(str(one) for one in given)
    columns = [row.get(letter) for letter in LETTERS]
    present = next((place for place, one in enumerate(columns) if not is_there(one)), len(columns))
    return tuple(str(one) for one in columns[:present])


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
    hint = f"Hint: {sample.row['hint']}\n" if sample.row.get("hint") else ""
    options = f"Options:\n{option_lines(sample.choices)}{SELECT}" if sample.choices else ""
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
