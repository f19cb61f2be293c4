"""One row of an own table as a sample: every form of a cell that is not ambiguous, and no other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from kvl_eval.cells import (
    LETTERS,
    bare_options,
    empty_gold,
    gold_letter,
    is_gap,
    is_null,
    lettered_texts,
    list_cell,
    plain_value,
    shortened,
    written_value,
)
from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.sources.own_chat import with_chat
from kvl_eval.sources.own_columns import ROLES, ColumnChoice, RoleCells, plain, refuse_unread, role_cells
from kvl_eval.sources.own_images import MediaCell, check_marks
from kvl_eval.tasks.own import SYSTEM
from kvl_eval.types import ImageRef, PdfRef, Sample, VideoRef

FIELDS = "@fields"  # of a stored row: what `--fields` said when it was read
SHOWN_SHORT = ("image", "video", "document", "chat")  # roles whose cells a stored row keeps without their bytes
LONGEST = 2_000  # characters that a stored row keeps of a cell that no role has
CHOICES = 'expected a list of texts, {"A": ..., "B": ...}, or the text of either; or columns A, B, ...'
ANSWER = "expected a text, a number, true or false, or a list of them"
COUNTS_FROM_0 = "label"  # a column of Hugging Face class labels


def table_sample(cells: RoleCells, root: Path, choice: ColumnChoice, number: int) -> Sample:
    """One row as a sample; `number` is its id where it has none.

    Raises: DataError `data.column` for a column that looks like media or options and has no role, `data.field` for a
    cell in a form that is not read.
    """
    refuse_unread(cells)
    raw, (cells, system) = cells, with_chat(cells)
    images = MediaCell(cells.get("image"), cells.name("image"), root, cells.row.where).images()
    videos = MediaCell(cells.get("video"), cells.name("video"), root, cells.row.where).videos()
    documents = MediaCell(cells.get("document"), cells.name("document"), root, cells.row.where).documents()
    name = _id(cells) or str(number)
    question, choices = _question(cells), row_choices(cells)
    check_marks("\n".join([question, *choices]), len(images), cells.row.where)
    return Sample(
        id=name,
        question=question,
        row={**_stored(raw, name, choice), **({SYSTEM: system} if system else {})},
        media=(*images, *videos, *documents),
        choices=choices,
        answers=row_answers(cells, choices),
        categories=_categories(cells),
        cluster=cells.row.optional_text(cells.name("cluster")),
    )


def stored_sample(values: Mapping[str, object]) -> Sample:
    """A stored row as a sample, without its images. Raises: DataError."""
    fields = values.get(FIELDS)
    choice = ColumnChoice.of(map(str, fields) if isinstance(fields, list | tuple) else ())
    row = Row({name: value for name, value in values.items() if name not in (FIELDS, SYSTEM)})
    cells, _ = with_chat(role_cells(row, choice))
    choices = row_choices(cells)
    return Sample(
        id=_id(cells) or row.where,
        question=_question(cells),
        row=dict(values),
        choices=choices,
        answers=row_answers(cells, choices),
        categories=_categories(cells),
        cluster=cells.row.optional_text(cells.name("cluster")),
    )


def _id(cells: RoleCells) -> str | None:
    value = cells.get("id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise cells.fault("id", "expected a text or a number")
    return cells.row.identity(cells.columns["id"]) if "id" in cells.columns else None


def _question(cells: RoleCells) -> str:
    value = cells.get("question")
    if "question" not in cells.columns:
        raise DataError(
            "data.column",
            "no column holds the question",
            where=cells.row.where,
            why=f"columns read as question: {', '.join(ROLES['question'])}; found {', '.join(cells.row.values)}",
            fix="--fields question=COLUMN names another",
        )
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise cells.fault("question", "expected a text")
    if is_gap(value):
        raise cells.fault("question", "the question is empty")
    return str(value)


# Choices


def row_choices(cells: RoleCells) -> tuple[str, ...]:
    """The options' texts, letters that they were given with taken off; () where there are none.

    Raises: DataError `data.field` for another form, `data.column` where two places disagree.
    """
    texts = _listed_choices(cells)
    lettered = _lettered_choices(cells, cells.row.values, cells.letters)
    if texts and lettered and texts != lettered:
        message = f"column {cells.name('choices')} and the columns {', '.join(cells.letters)} hold different options"
        fix = f"--fields ignore={cells.name('choices')}"
        raise DataError("data.column", message, where=cells.row.where, fix=fix)
    return bare_options(texts or lettered)


def _listed_choices(cells: RoleCells) -> tuple[str, ...]:
    value = cells.get("choices")
    items = list_cell(value)
    if isinstance(items, dict):
        return _lettered_choices(cells, items, {letter: letter for letter in items})
    if items is None:
        raise cells.fault("choices", CHOICES)
    if any(is_gap(item) or not isinstance(item, str | int | float) for item in items):
        raise cells.fault("choices", "an option is empty, or no text or number")
    return tuple(map(str, items))


def _lettered_choices(cells: RoleCells, values: Mapping[str, object], columns: Mapping[str, str]) -> tuple[str, ...]:
    by_letter = {letter: values.get(column) for letter, column in columns.items()}
    is_own = values is cells.row.values
    for letter, value in by_letter.items():
        if not is_gap(value) and not isinstance(value, str | int | float):
            column = columns[letter] if is_own else cells.name("choices")
            raise cells.row.fault(column, f"option {letter} must be a text or a number")
    try:
        return lettered_texts(by_letter, blank_is_text=False)
    except ValueError as gap:
        why = "there are options after it"
        message = f"option {gap} is missing" if is_own else f"{cells.name('choices')}: option {gap} is missing"
        raise DataError("data.field", message, where=cells.row.where, why=why) from None


# Answers


def row_answers(cells: RoleCells, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The accepted answers, of choices as letters; () where the row has no gold. Raises: DataError `data.field`."""
    role = "answer_index" if "answer_index" in cells.columns else "answer"
    if role not in cells.columns:
        return ()
    items = list(_accepted(cells, role))
    if not items:
        raise empty_gold(cells.name(role), cells.row.where)
    if not choices:
        if role == "answer_index":
            raise cells.fault(role, "the row has no choices")
        return tuple(dict.fromkeys(map(str, items)))
    is_index = role == "answer_index" or counts_from_0(cells)
    return tuple(dict.fromkeys(_letter(cells, item, choices, is_index=is_index) for item in items))


def counts_from_0(cells: RoleCells) -> bool:
    """Whether the gold is a class label, a number from 0 beside choices."""
    return plain(cells.name("answer")) == COUNTS_FROM_0


def _accepted(cells: RoleCells, role: str) -> Iterator[str | int | float]:
    """The accepted answers as they are written."""
    value = cells.get(role)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str) and value.lstrip().startswith("["):
        written = written_value(value)
        is_list = isinstance(written, list | tuple) and all(isinstance(item, str) for item in written)
        value = written if is_list else value
    for item in value if isinstance(value, list | tuple) else [value]:
        if (isinstance(item, float) and not math.isfinite(item)) or not isinstance(item, str | int | float):
            raise cells.fault(role, ANSWER)
        if not is_gap(item):
            yield item


def _letter(cells: RoleCells, item: str | int | float, choices: tuple[str, ...], *, is_index: bool) -> str:
    where, column = cells.row.where, cells.name("answer_index" if "answer_index" in cells.columns else "answer")
    text = str(int(item)) if isinstance(item, float) and item.is_integer() else str(item).strip()
    same = [letter for letter, option in zip(LETTERS, choices, strict=False) if option.strip() == text]
    if text.isdecimal() and not is_index:
        if not same:
            raise DataError(
                "data.field",
                f"{column} is {shortened(item)}: does {text} count from 0 or 1?",
                where=where,
                why="the choices do not contain it",
                fix=f"use the letter, or --fields answer_index={column}, which counts from 0",
            )
        return same[0]
    try:
        letter = gold_letter(item if is_index else text, choices, where, is_index=is_index)
    except DataError as fault:
        raise DataError(fault.code, f"{column}: {fault.message}", where=where, why=fault.why) from None
    assert letter is not None
    if same and letter not in same and "answer_index" not in cells.columns:
        raise DataError(
            "data.field",
            f"{column} is {shortened(item)}: option {letter}, or the text of option {same[0]}?",
            where=where,
            fix=f"--fields answer_index={column}, which counts from 0"
            if is_index
            else f"write ({letter}) for the letter",
        )
    return letter


# Labels, and what is stored


def _categories(cells: RoleCells) -> dict[str, tuple[str, ...]]:
    value = cells.get("category")
    if is_gap(value):
        return {}
    if isinstance(value, int | float):
        return {"category": (str(value),)}
    if isinstance(value, list | tuple) and not all(
        item is None or isinstance(item, str | int | float) for item in value
    ):
        raise cells.fault("category", "expected a text, or a list of texts")
    return {"category": cells.row.items_or_text(cells.name("category"))}


def _stored(cells: RoleCells, name: str, choice: ColumnChoice) -> dict[str, object]:
    """The row as it was read: images as their paths, other cells without a role cut where they are long."""
    used = {cells.columns[role] for role in cells.columns if role not in SHOWN_SHORT} | set(cells.letters.values())
    media = {cells.columns[role] for role in SHOWN_SHORT if role in cells.columns}
    row = {
        column: (
            plain_value(value)
            if column in used
            else _shown_media(value)
            if column in media
            else _cut(plain_value(value))
        )
        for column, value in cells.row.values.items()
        if not is_null(value)
    }
    fields = [f"{role}={column}" for role, column in choice.columns.items() if role != "id" or "id" in cells.columns]
    fields += [f"ignore={column}" for column in sorted(choice.ignored)]
    own_id = {} if "id" in cells.columns else {"id": name}
    return {**row, **own_id, **({FIELDS: fields} if fields else {})}


def _cut(value: object) -> object:
    return f"{value[:LONGEST]}..." if isinstance(value, str) and len(value) > LONGEST else value


def _shown_media(value: object) -> object:
    """A cell with media or messages, files as their paths and bytes as their number."""
    if isinstance(value, list | tuple):
        return [_shown_media(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _shown_media(item) for key, item in value.items()}
    value = plain_value(value)
    if isinstance(value, list):
        return _shown_media(value)
    is_file = isinstance(value, str) and len(value) > 1024 and value.isascii() and " " not in value
    return f"<{len(value):,} characters>" if isinstance(value, str) and is_file else value


def has_media(sample: Sample, kind: type[ImageRef | VideoRef | PdfRef]) -> bool:
    """Whether a sample has media of a kind."""
    return any(isinstance(ref, kind) for ref in sample.media)
