"""What a table's cell holds: nothing, a list in any of its writings, options by letter, one of several known values."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from kvl_eval.errors import DataError

MAX_LITERAL = 100_000  # characters of a list written as text
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Spellings = Mapping[str, tuple[str, ...]]
"""A column's values, each with its spellings; case, spaces, `-` and `_` are ignored."""

QUESTION_TYPES: Spellings = {
    "multiple-choice": ("multiple-choice", "multi-choice", "mcq", "choice"),
    "open": ("open", "open-ended", "free-form", "short-answer"),
}
ANSWER_FORMATS: Spellings = {
    "Int": ("Int", "Integer"),
    "Float": ("Float",),
    "Str": ("Str", "String", "Text"),
    "List": ("List",),
    "None": ("None", "Not answerable"),
}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TOKEN = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?[\d.]+(?:[eE][-+]?\d+)?|nan|None|True|False)"""
NUMPY_LIST = re.compile(rf"\[\s*{_TOKEN}(?:\s+{_TOKEN})+\s*\]", re.DOTALL)
_NUMPY_ITEM = re.compile(_TOKEN, re.DOTALL)
_LETTERED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])[.)])\s*(?=\S)")
_GOLD_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\.?")


# Empty cells


def is_null(value: object) -> bool:
    """Whether a cell has no value: None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ == "NAType":
        return True
    if isinstance(value, str | bytes | int | list | tuple | Mapping):
        return False
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # an array
        return False


def is_gap(value: object) -> bool:
    """Whether a cell holds nothing: no value, the empty text, or blanks."""
    return is_null(value) or (isinstance(value, str) and not value.strip())


def without_numpy(value: object) -> object:
    """A number of numpy's as Python's; any other value as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


# Lists


def is_array(value: object) -> bool:
    """Whether a cell is an array of numpy's or a series of pandas': nothing can ask whether it is true."""
    return hasattr(value, "tolist") and bool(getattr(value, "ndim", 0))


def as_list(array: object) -> object:
    """An array as lists inside one another."""
    return array.tolist() if hasattr(array, "tolist") else array


def list_cell(value: object) -> list[object] | dict[str, object] | None:
    """The items of a list cell, or the texts of one by letter, in order; None for any other cell.

    Read are lists, tuples, arrays, mappings by letter, and the same written as JSON, as Python text (never evaluated),
    as numpy prints it, or one item a line. A gap is the empty list.
    """
    if is_gap(value):
        return []
    value = written_value(value) if isinstance(value, str) else value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return list(value)
    return _by_letter(value) if isinstance(value, Mapping) else None


def written_value(text: str) -> object:
    """The list in a nonempty text, as JSON, Python or numpy, or with one item per line; None where there is none."""
    stripped = text.strip()
    if stripped[0] not in "[({":
        lines = [line.strip() for line in stripped.splitlines() if line.strip()]
        return lines if len(lines) > 1 else None
    if len(text) > MAX_LITERAL:
        return None
    if NUMPY_LIST.fullmatch(stripped):
        return [_literal(item) for item in _NUMPY_ITEM.findall(stripped)]
    return _literal(stripped)


def _literal(text: str) -> object:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _by_letter(texts: Mapping[str, object]) -> dict[str, object] | None:
    """Sorted by letter; None where a key is not a letter or appears twice."""
    named = {str(key).strip().upper(): value for key, value in texts.items()}
    if len(named) < len(texts) or not all(len(key) == 1 and key in LETTERS for key in named):
        return None
    return dict(sorted(named.items()))


def literal_list(text: str, *, where: str) -> list[str]:
    """A list written as text, its items as text; never evaluated.

    Raises: DataError `data.field` where it is not a list, longer than 100,000 characters, or nested too deeply.
    """
    items = list_cell(text) if text.strip().startswith(("[", "(")) else None
    if not isinstance(items, list):
        short = text if len(text) <= 60 else f"{text[:57]}..."
        why = "expected a list, written as JSON or Python"
        raise DataError("data.field", f"not a list: {short!r}", where=where, why=why)
    return [str(item) for item in items]


def list_or_text(text: str) -> tuple[str, ...]:
    """The items of a list written as text, gaps dropped, or the text itself where it only begins like one."""
    items = list_cell(text) if text.strip().startswith(("[", "(")) else None
    return without_gaps(items) if isinstance(items, list) else (text,)


def number_list(value: object, column: str, where: str) -> list[float]:
    """A list of numbers, or its text (`[910, 78, 44, 34]`). Raises: DataError `data.field`."""
    if isinstance(value, str):
        return [float(number) if "." in number else int(number) for number in _NUMBER.findall(value)]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(isinstance(number, int | float) for number in value):
        raise DataError("data.field", f"{column} is {value!r}", where=where, why="expected a list of numbers")
    return list(value)


# Options


def lettered_texts(cells: Mapping[str, object], *, blank_is_text: bool) -> tuple[str, ...]:
    """The options of cells by letter: missing ones at the end end the list. Raises: ValueError naming a gap inside."""
    present = [LETTERS.index(letter) for letter, cell in cells.items() if not is_gap(cell)]
    texts = []
    for letter in LETTERS[: max(present, default=-1) + 1]:
        cell = cells.get(letter)
        if is_null(cell) or (is_gap(cell) and not blank_is_text):
            raise ValueError(letter)
        texts.append("" if is_gap(cell) else str(cell))
    return tuple(texts)


def bare_options(options: Sequence[str]) -> tuple[str, ...]:
    """Options without the letters they were given with (`A. red`, `(A) red`), if all have theirs, in order."""
    marks = [_LETTERED.match(option) for option in options]
    names = "".join((mark[1] or mark[2]).upper() for mark in marks if mark)
    if len(options) < 2 or names != LETTERS[: len(options)]:
        return tuple(options)
    return tuple(option[mark.end() :] for option, mark in zip(options, marks, strict=True) if mark)


# Gold


def gold_letter(value: object, options: Sequence[str], where: str, *, is_index: bool = False) -> str | None:
    """The letter of the right option; None where there is no gold.

    Args:
        value:    a letter in either case, with or without brackets or dot, or an option's text.
        options:  their texts; () where they are not known, and any letter counts.
        where:    file, row and id, for messages.
        is_index: the layout's gold is a number from 0: an int, an integral float or digits.
    Raises: DataError `data.field` for anything else.
    """
    if is_null(value):
        return None
    letters = LETTERS[: len(options)] if options else LETTERS
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    place = _whole(value) if is_index else None
    if place is not None:
        if 0 <= place < len(letters):
            return letters[place]
        raise _no_option(value, options, where)
    mark = _GOLD_LETTER.fullmatch(text)
    if mark and mark[1].upper() in letters:
        return mark[1].upper()
    same = [letter for letter, option in zip(letters, options, strict=False) if text and option.strip() == text]
    if not same:
        raise _no_option(value, options, where)
    return same[0]


def _whole(value: object) -> int | None:
    """A whole number: an int, a float without decimals, or digits."""
    if isinstance(value, str):
        text = value.strip().removesuffix(".0")
        return int(text) if text.isdecimal() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _no_option(value: object, options: Sequence[str], where: str) -> DataError:
    if isinstance(value, str) and not value.strip():
        return empty_gold("answer", where)
    last = LETTERS[min(len(options), len(LETTERS)) - 1] if options else "Z"
    return DataError(
        "data.field",
        f"the gold answer {shortened(value)} is not an option",
        where=where,
        why=f"the row has the options A to {last}" if len(options) != 1 else "the row has one option",
    )


def empty_gold(column: str, where: str) -> DataError:
    """The error of a gold cell with an empty text or list."""
    why = "a gold answer may be missing (null), but not empty"
    return DataError("data.field", f"{column} is empty", where=where, why=why)


# Known values


def spelled(value: object, known: Spellings) -> str | None:
    """Which of the known values a cell holds, in any of its spellings."""
    names = {_plain(spelling): name for name, spellings in known.items() for spelling in spellings}
    return names.get(_plain(value)) if isinstance(value, str) else None


def spellings(known: Spellings) -> str:
    """What messages list: every known value with its other spellings."""
    return ", ".join(" or ".join(writings) for writings in known.values())


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text).casefold()


def shortened(value: object, limit: int = 80) -> str:
    """A value as messages write it."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def without_gaps(items: Iterable[object]) -> tuple[str, ...]:
    """The items as text, those dropped in which nothing is."""
    return tuple(str(item) for item in items if not is_gap(item))


def plain_value(value: object) -> object:
    """A cell as a JSON value."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
