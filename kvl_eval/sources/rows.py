"""The rows of a split, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.sources.base import STRICT, Reporter, Source, Tables
from kvl_eval.sources.hub import read_hub
from kvl_eval.sources.local import find_files, read_file
from kvl_eval.sources.unusable import own_id, row_place, stand_in
from kvl_eval.types import Sample


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
        raise DataError("data.missing", f"{tables.task}: no data source given", fix="use --data-dir or --data-repo")
    yield from read_hub(source, split, tables, reporter)


def rows_of_split(rows: Iterable[Row], split: str) -> Iterator[Row]:
    """The rows whose column `split` names that split, or nothing. Raises: DataError `data.empty`, for none of them."""
    others: dict[str, None] = {}
    count = 0
    for row in rows:
        name = row.optional_text("split")
        if name in (None, split):
            count += 1
            yield row
        else:
            others[str(name)] = None
    if not count and others:
        raise DataError(
            "data.empty",
            f"no row belongs to the split {split}",
            why=f"the file has the splits {', '.join(others)}",
            fix="check --split",
        )


def made_from(rows: Iterable[Row], make: Callable[[Row], Sample], reporter: Reporter = STRICT) -> Iterator[Sample]:
    """`make(row)` for each row; `reporter` hears of a row that it refuses, or has it as a sample that stands for it.

    Raises: DataError, naming the row, where the reporter does.
    """
    for row in rows:
        try:
            made = make(row)
        except DataError as error:
            where = row_place(error.where or row.where, row)
            fault = DataError(error.code, error.message, where=where, why=error.why, fix=error.fix)
            if reporter.keeps_bad_rows:
                yield stand_in(fault, own_id(row.values) or where)
            else:
                reporter.bad_row(fault)
            continue
        yield made
