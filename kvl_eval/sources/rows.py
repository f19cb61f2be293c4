"""The rows of a split, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.sources.base import STRICT, Reporter, Source, Tables
from kvl_eval.sources.hub import read_hub
from kvl_eval.sources.local import find_files, read_file

T = TypeVar("T")


def read_rows(source: Source, split: str, tables: Tables, reporter: Reporter = STRICT) -> Iterator[Row]:
    """The rows of a split in file order, pictures undecoded.

    Args:
        source:   where to look; `data_dir` goes before `repo`.
        split:    the split's name, on the hub and as a file's stem.
        tables:   which files hold it, and the columns that they need.
        reporter: who hears of a download.
    Raises: DataError: `data.missing` (with what was tried), `data.corrupt` (file and row group or line), `data.field`
            (missing columns beside those found), `data.pickle`, `data.gated`, `data.offline`.
    """
    rows = _rows(source, split, tables, reporter)
    yield from (replace(row, withheld=True) for row in rows) if source.withheld else rows


def _rows(source: Source, split: str, tables: Tables, reporter: Reporter) -> Iterator[Row]:
    if source.data_dir is not None:
        for path in find_files(source.data_dir, split, tables):
            yield from read_file(path, source.data_dir, tables)
        return
    if source.repo is None:
        raise DataError(
            "data.missing", f"{tables.task}: neither a folder nor a hub data set was given", fix="give --data-dir"
        )
    yield from read_hub(source, split, tables, reporter)


def made_from(rows: Iterable[Row], make: Callable[[Row], T], reporter: Reporter = STRICT) -> Iterator[T]:
    """`make(row)` for each row; `reporter` hears of a row that it refuses.

    Raises: DataError, naming the row, where the reporter does.
    """
    for row in rows:
        try:
            made = make(row)
        except DataError as error:
            fault = DataError(error.code, error.message, where=error.where or row.where, why=error.why, fix=error.fix)
            reporter.bad_row(fault)
            continue
        yield made
