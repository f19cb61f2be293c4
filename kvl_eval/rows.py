"""A row of a table, read by type: each accessor checks what a cell holds and names file, row and column where it fails.

A cell is a gap where its column is missing, or holds None or NaN; accessors that take several columns read the first
that is no gap.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvl_eval.errors import DataError

MAX_LITERAL = 100_000  # characters of a list written as text
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and where it stands, for messages: `testmini.parquet row 12` (rows count from 1)."""

    values: Mapping[str, object]
    where: str = "row"

    def __contains__(self, column: str) -> bool:
        """Whether the table has the column, be the cell a gap."""
        return column in self.values

    def get(self, *columns: str) -> object:
        """The first cell that is no gap, whatever it holds; None where all are."""
        return next((self.values[name] for name in columns if not is_gap(self.values.get(name))), None)

    def has(self, column: str) -> bool:
        """Whether the cell is no gap."""
        return not is_gap(self.values.get(column))

    def keep(self, columns: Iterable[str]) -> dict[str, object]:
        """Those of `columns` that are no gap."""
        return {name: self.values[name] for name in columns if self.has(name)}

    def also(self, more: Mapping[str, object]) -> Row:
        """The row with `more`, which goes before what it has."""
        return Row({**self.values, **more}, self.where)

    def optional_text(self, *columns: str) -> str | None:
        """The first cell with something in it as text, numbers as they print; None where there is none.

        Raises: DataError `data.field`, for a cell that is neither text nor number.
        """
        for name in columns:
            value = self.values.get(name)
            if is_gap(value) or value == "":
                continue
            if not isinstance(value, str | int | float):
                raise self.fault(name, "expected a text")
            return str(value)
        return None

    def text(self, *columns: str) -> str:
        """As `optional_text`; the empty text where there is none."""
        return self.optional_text(*columns) or ""

    def required_text(self, *columns: str) -> str:
        """The first cell that is no gap. Raises: DataError `data.field`, where it is no text, or all are gaps."""
        value = self.get(*columns)
        if not isinstance(value, str):
            raise self.fault(next((name for name in columns if self.has(name)), columns[0]), "expected a text")
        return value

    def identity(self, *columns: str) -> str | None:
        """The first cell that is no gap as a name: a whole number loses its decimals. None where all are gaps."""
        value = self.get(*columns)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return None if value is None else str(value)

    def first_of(self, column: str, known: Iterable[str]) -> str:
        """The cell, where it is one of `known`. Raises: DataError `data.field`."""
        value, names = self.values.get(column), tuple(known)
        if not isinstance(value, str) or value not in names:
            raise self.fault(column, f"expected {' or '.join(map(repr, names))}")
        return value

    def number(self, *columns: str) -> float | None:
        """The first cell that is no gap as a number, a text that writes one too. Raises: DataError `data.field`."""
        for name in columns:
            value = self.values.get(name)
            if is_gap(value):
                continue
            try:
                if isinstance(value, str | int | float):
                    return float(value)
            except (ValueError, OverflowError):
                pass
            raise self.fault(name, "expected a number")
        return None

    def integer(self, *columns: str) -> int | None:
        """As `number`, decimals cut off. Raises: DataError `data.field`."""
        value = self.number(*columns)
        try:
            return None if value is None else int(value)
        except (ValueError, OverflowError):
            raise self.fault(next(name for name in columns if self.has(name)), "expected a whole number") from None

    def required_integer(self, column: str) -> int:
        """The cell as a whole number. Raises: DataError `data.field`, for a gap too."""
        value = self.integer(column)
        if value is None:
            raise self.fault(column, "expected a whole number")
        return value

    def items(self, *columns: str) -> tuple[str, ...]:
        """A list's items as text, of a list or of one written as JSON or Python text; () for an empty cell.

        Raises: DataError `data.field`, for anything else.
        """
        name = next((name for name in columns if self.has(name)), columns[0])
        value = self.values.get(name)
        if is_gap(value) or (isinstance(value, str) and not value.strip()):
            return ()
        if isinstance(value, str):
            return tuple(literal_list(value, where=self.where))
        if not isinstance(value, list | tuple):
            raise self.fault(name, "expected a list")
        return tuple(map(str, value))

    def items_or_text(self, *columns: str) -> tuple[str, ...]:
        """As `items`, where a text that does not begin like a list is the one item. Raises: DataError `data.field`."""
        value = self.get(*columns)
        if isinstance(value, str) and value.strip() and not value.lstrip().startswith("["):
            return (value,)
        return self.items(*columns)

    def numbers(self, column: str) -> list[float]:
        """A list of numbers, or its text (`[910, 78, 44, 34]`). Raises: DataError `data.field`."""
        return number_list(self.values.get(column), column, self.where)

    def mapping(self, column: str) -> Mapping[str, object]:
        """A cell of named values; empty for a gap. Raises: DataError `data.field`."""
        value = self.values.get(column)
        if is_gap(value):
            return {}
        if not isinstance(value, Mapping):
            raise self.fault(column, "expected named values")
        return value

    def options(self) -> tuple[str, ...]:
        """Options as a list, as the hub's literal text, or as the columns A, B, ... of VLMEvalKit's table."""
        for name in ("options", "choices"):
            value = self.values.get(name)
            if isinstance(value, str) and not value.strip():
                break
            if isinstance(value, str | list | tuple) and value:
                return self.items(name)
        columns = [self.values.get(letter) for letter in LETTERS]
        present = next((place for place, value in enumerate(columns) if is_gap(value)), len(columns))
        return tuple(str(value) for value in columns[:present])

    def fault(self, column: str, why: str) -> DataError:
        """The error of a cell that cannot be used."""
        text = repr(self.values.get(column))
        short = text if len(text) <= 80 else f"{text[:77]}..."
        return DataError("data.field", f"{column} is {short}", where=self.where, why=why)


def is_gap(value: object) -> bool:
    """Whether a cell holds nothing: None, or the NaN that tables have for it."""
    return value is None or value != value


def literal_list(text: str, *, where: str) -> list[str]:
    """A list written as JSON or Python literal text, its items as text; never evaluated.

    Raises: DataError `data.field` where it is no list, longer than 100,000 characters, or nested too deeply.
    """
    if len(text) <= MAX_LITERAL and text.lstrip().startswith(("[", "(")):
        for parse in (json.loads, ast.literal_eval):
            try:
                value = parse(text.strip())
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
            if isinstance(value, list | tuple):
                return [item if isinstance(item, str) else str(item) for item in value]
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise DataError("data.field", f"not a list: {shown!r}", where=where, why="expected a list as JSON or Python text")


def list_or_text(text: str, where: str) -> tuple[str, ...]:
    """The items of a list written as text, or the text itself where it only begins like one."""
    try:
        return tuple(literal_list(text, where=where))
    except DataError:
        return (text,)


def number_list(value: object, column: str, where: str) -> list[float]:
    """A list of numbers, or its text (`[910, 78, 44, 34]`). Raises: DataError `data.field`."""
    if isinstance(value, str):
        return [float(number) if "." in number else int(number) for number in _NUMBER.findall(value)]
    if not isinstance(value, list | tuple) or not all(isinstance(number, int | float) for number in value):
        raise DataError("data.field", f"{column} is {value!r}", where=where, why="expected a list of numbers")
    return list(value)


def numbered(rows: Iterable[Row], column: str = "row") -> Iterator[Row]:
    """`rows` with their number from 0 as `column`, which goes before one that they have."""
    return (row.also({column: number}) for number, row in enumerate(rows))
