"""A row of a table, read by type: each accessor checks what a cell holds and names file, row and column where it fails.

A cell is a gap where its column is missing, or holds None, NaN, the empty text or blanks; accessors that take several
columns read the first that is not empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kvl_eval.cells import (
    LETTERS,
    NUMPY_LIST,
    Spellings,
    as_list,
    bare_options,
    empty_gold,
    gold_letter,
    is_array,
    is_gap,
    is_null,
    lettered_texts,
    list_cell,
    number_list,
    shortened,
    spelled,
    spellings,
    without_gaps,
)
from kvl_eval.errors import DataError

LISTS = "expected a list, written as JSON, Python or numpy, or one item per line"
MOST = 2**53  # of a whole number in a cell that says nothing else
_PLAIN = (str, int, float, bytes, list, dict, type(None))
OPTION_COLUMNS = ("options", "choices", "candidates")


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and where it stands, for messages: `testmini.parquet row 12` (rows count from 1).

    `withheld` says that its split publishes no gold, so that an empty text stands for none.
    """

    values: Mapping[str, object]
    where: str = "row"
    withheld: bool = False

    def __post_init__(self) -> None:
        arrays = {name: cell for name, cell in self.values.items() if not isinstance(cell, _PLAIN) and is_array(cell)}
        if arrays:
            lists = {name: as_list(cell) for name, cell in arrays.items()}
            object.__setattr__(self, "values", {**self.values, **lists})

    def __contains__(self, column: str) -> bool:
        """Whether the table has the column, be the cell a gap."""
        return column in self.values

    def get(self, *columns: str) -> object:
        """The first cell that is not empty; None where all are."""
        return next((self.values[name] for name in columns if not is_gap(self.values.get(name))), None)

    def has(self, column: str) -> bool:
        """Whether the cell is not empty."""
        return not is_gap(self.values.get(column))

    def keep(self, columns: Iterable[str]) -> dict[str, object]:
        """Those of `columns` that have a value, be it the empty text."""
        return {name: self.values[name] for name in columns if not is_null(self.values.get(name))}

    def also(self, more: Mapping[str, object]) -> Row:
        """The row with `more`, which goes before what it has."""
        return replace(self, values={**self.values, **more})

    def named(self, *columns: str) -> Row:
        """The row, its id from the first of `columns` it has in its messages."""
        name = self.identity(*columns)
        return self if name is None else replace(self, where=f"{self.where}, id {name[:80]}")

    def optional_text(self, *columns: str) -> str | None:
        """The first cell with something in it as text, numbers as they print; None where there is none.

        Raises: DataError `data.field`, for a cell that is not text or a number.
        """
        for name in columns:
            value = self.values.get(name)
            if is_gap(value):
                continue
            if not isinstance(value, str | int | float):
                raise self.fault(name, "expected text")
            return str(value)
        return None

    def text(self, *columns: str) -> str:
        """As `optional_text`; the empty text where there is none."""
        return self.optional_text(*columns) or ""

    def required_text(self, *columns: str) -> str:
        """The first cell that has a value, be it empty. Raises: DataError `data.field`, where it is not text."""
        name = next((name for name in columns if not is_null(self.values.get(name))), columns[0])
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.fault(name, "expected text")
        return value

    def identity(self, *columns: str) -> str | None:
        """The first nonempty cell as a name: an integer loses its decimals. None where all are empty."""
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
        """The first nonempty cell as a number, or the number that its text spells. Raises: DataError `data.field`."""
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

    def integer(self, *columns: str, most: int = MOST) -> int | None:
        """As `number`, decimals cut off, from -`most` to `most`. Raises: DataError `data.field`."""
        value = self.number(*columns)
        if value is None:
            return None
        if not -most <= value <= most:
            name = next(name for name in columns if self.has(name))
            raise self.fault(name, f"expected an integer up to {most:,}")
        return int(value)

    def required_integer(self, column: str, *, most: int = MOST) -> int:
        """The cell as a whole number, as `integer`. Raises: DataError `data.field`, for a gap too."""
        value = self.integer(column, most=most)
        if value is None:
            raise self.fault(column, "expected an integer")
        return value

    def items(self, *columns: str) -> tuple[str, ...]:
        """A list's items as text, however it is written (`kvl_eval.cells.list_cell`); () for a gap.

        Items in which nothing is are dropped. Raises: DataError `data.field`, for anything else.
        """
        name = next((name for name in columns if self.has(name)), columns[0])
        items = list_cell(self.values.get(name))
        if not isinstance(items, list):
            text = shortened(self.values.get(name))
            raise DataError("data.field", f"{name} is not a list: {text}", where=self.where, why=LISTS)
        return without_gaps(items)

    def items_or_text(self, *columns: str) -> tuple[str, ...]:
        """As `items`, where a text that does not begin like a list is the one item. Raises: DataError `data.field`."""
        value = self.get(*columns)
        if isinstance(value, str) and not value.lstrip().startswith("["):
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
            raise self.fault(column, "expected an object")
        return value

    def options(self, *columns: str) -> tuple[str, ...]:
        """Options without their letters: a list or texts by letter in one of `columns`, else the columns A, B, ...

        Without `columns` those are `options`, `choices` and `candidates`. () where there are none.
        Raises: DataError `data.field`, for a cell that is not a list, and for a gap among the letters.
        """
        return bare_options(self.written_options(*columns))

    def written_options(self, *columns: str) -> tuple[str, ...]:
        """As `options`, with the letters that they may have been given with."""
        name = next((name for name in columns or OPTION_COLUMNS if self.has(name)), "A")
        cells = list_cell(self.values.get(name)) if name != "A" else {key: self.values.get(key) for key in LETTERS}
        if cells is None:
            text = shortened(self.values.get(name))
            raise DataError("data.field", f"{name} is not a list of options: {text}", where=self.where, why=LISTS)
        if name != "A" and not cells:
            name, cells = "A", {key: self.values.get(key) for key in LETTERS}
        if len(cells) > len(LETTERS):
            why = "each option has a letter"
            raise DataError(
                "data.field", f"the row has {len(cells)} options, at most 26 are read", where=self.where, why=why
            )
        if isinstance(cells, list):
            return tuple("" if is_gap(cell) else str(cell) for cell in cells)
        return self._lettered(cells, blank_is_text=name != "A")

    def numbered_options(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Options that stand in columns of their own, in that order. Raises: DataError `data.field`, for a gap."""
        cells = {letter: self.values.get(name) for letter, name in zip(LETTERS, columns, strict=False)}
        return self._lettered(cells, blank_is_text=False)

    def _lettered(self, cells: Mapping[str, object], *, blank_is_text: bool) -> tuple[str, ...]:
        try:
            return lettered_texts(cells, blank_is_text=blank_is_text)
        except ValueError as gap:
            raise DataError(
                "data.field", f"option {gap} is missing", where=self.where, why="later options are present"
            ) from None

    def required_options(self, *columns: str) -> tuple[str, ...]:
        """As `options`. Raises: DataError `data.field`, where the columns for them are there and empty."""
        options = self.options(*columns)
        if not options and any(name in self.values for name in (*(columns or OPTION_COLUMNS), "A")):
            raise DataError("data.field", "the row has no options", where=self.where)
        return options

    def kind(self, column: str, known: Spellings) -> str:
        """Which of the known values the cell holds, in any of its spellings. Raises: DataError `data.field`."""
        name = spelled(self.values.get(column), known)
        if name is None:
            raise self.fault(column, f"expected one of {spellings(known)}")
        return name

    # Gold

    def gold(self, *columns: str) -> object:
        """The first gold cell that has a value; None where all are missing.

        Raises: DataError `data.field`, for an empty text or list, unless the split withholds its gold.
        """
        name = next((name for name in columns if not is_null(self.values.get(name))), columns[0])
        value = self.values.get(name)
        if is_null(value):
            return None
        cells = list_cell(value) if not isinstance(value, str) else [value]
        if isinstance(cells, list) and all(map(is_gap, cells)):
            if self.withheld:
                return None
            raise empty_gold(name, self.where)
        if isinstance(value, bool | bytes):
            raise self.fault(name, "expected text, a number or a list of them")
        return value

    def gold_letter(self, *columns: str, options: tuple[str, ...], is_index: bool = False) -> tuple[str, ...]:
        """Gold as the letter of one of `options`, see `kvl_eval.cells.gold_letter`; () where it is missing."""
        letter = gold_letter(self.gold(*columns), options, self.where, is_index=is_index)
        return () if letter is None else (letter,)

    def gold_text(self, *columns: str) -> tuple[str, ...]:
        """Gold as text, numbers as they print; () where it is missing. Raises: DataError `data.field`."""
        value = self.gold(*columns)
        if value is not None and not isinstance(value, str | int | float):
            raise self.fault(next(name for name in columns if self.has(name)), "expected text or a number")
        return () if value is None else (str(value),)

    def gold_written(self, *columns: str, is_whole: bool = False) -> tuple[str, ...]:
        """As `gold_text`, where a list, or what numpy prints of one, becomes the text that Python writes.

        `is_whole` makes 5 of 5.0.
        """
        value = self.gold(*columns)
        if is_whole and isinstance(value, float) and value.is_integer():
            return (str(int(value)),)
        is_list = isinstance(value, str) and NUMPY_LIST.fullmatch(value.strip())
        items = list_cell(value) if is_list or not isinstance(value, str | int | float | None) else None
        return (str(items),) if isinstance(items, list) else self.gold_text(*columns)

    def gold_texts(self, *columns: str) -> tuple[str, ...]:
        """Accepted answers: a text, or a list of them; () where they are missing. Raises: DataError `data.field`."""
        value = self.gold(*columns)
        if value is None:
            return ()
        if isinstance(value, int | float):
            raise self.fault(next(name for name in columns if self.has(name)), "expected text or a list of texts")
        return self.items_or_text(*columns)

    def fault(self, column: str, why: str) -> DataError:
        """The error of a cell that cannot be used."""
        return DataError("data.field", f"{column} is {shortened(self.values.get(column))}", where=self.where, why=why)


def numbered(rows: Iterable[Row], column: str = "row") -> Iterator[Row]:
    """`rows` with their number from 0 as `column`, which goes before one that they have."""
    return (row.also({column: number}) for number, row in enumerate(rows))
