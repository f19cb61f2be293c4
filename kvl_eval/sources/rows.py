"""The rows of a split, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from kvl_eval.errors import DataError
from kvl_eval.sources.base import Row, Source
from kvl_eval.sources.hub import read_hub
from kvl_eval.sources.local import find_files, read_file

T = TypeVar("T")


def read_rows(
    source: Source,
    split: str,
    *,
    config: str | None = None,
    stems: Sequence[str] = (),
    required: Sequence[str] = (),
    task: str,
) -> Iterator[Row]:
    """The rows of a split in file order, pictures undecoded.

    Args:
        source:   where to look; `data_dir` goes before `repo`.
        split:    the split's name, on the hub and as a file's stem.
        config:   the hub's configuration, and locally a folder of that name.
        stems:    further file stems to try after the split's name, `*` allowed (`MathVista_MINI`, `annotations/*`).
        required: columns that must be there; `a|b` means either.
        task:     the task's name, for messages.
    Raises: DataError: `data.missing` (with what was tried), `data.corrupt` (file and row group or line), `data.field`
            (missing columns beside those found), `data.pickle`, `data.gated`, `data.offline`.
    """
    if source.data_dir is not None:
        files = find_files(source.data_dir, split, config=config, stems=stems, task=task)
        for path in files:
            yield from read_file(path, source.data_dir, required=required, task=task)
        return
    if source.repo is None:
        raise DataError("data.missing", f"{task}: neither a folder nor a hub data set was given", fix="give --data-dir")
    yield from read_hub(source, split, config=config, stems=stems, required=required, task=task)


def made_from(rows: Iterable[Row], make: Callable[[Row], T], source: Source) -> Iterator[T]:
    """`make(row)` for each row. A row it refuses is an error, or joins `source.faults` where those are collected.

    Raises: DataError, naming the row.
    """
    for row in rows:
        try:
            yield make(row)
        except DataError as error:
            fault = DataError(error.code, error.message, where=error.where or row.where, why=error.why, fix=error.fix)
            if source.faults is None:
                raise fault from None
            source.faults.append(fault)
