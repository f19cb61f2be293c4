"""Read the tables of a local data folder: parquet, JSON, JSON Lines, TSV and CSV."""

from __future__ import annotations

import csv
import fnmatch
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO

from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.sources.base import Tables

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".tsv", ".csv")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
MAX_CELL = 1 << 28  # bytes of one TSV cell; the csv module's own limit is far below a base64 picture
BATCH_ROWS = 16
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?$")


def find_files(folder: Path, split: str, tables: Tables) -> list[Path]:
    """The files that hold a split, in reading order.

    A file matches a stem S as `S.parquet`, `S-*.parquet`, `S.jsonl[.gz]`, `S.json`, `S.tsv` or `S.csv`, in any
    sub-folder; with `config`, files below a folder of that name go first. The first stem and format that match win,
    and of several depths the shallowest.

    Raises: DataError `data.missing` (what was tried and what exists), `data.pickle`.
    """
    wanted, config, task = (split, *tables.stems), tables.config, tables.task
    present = _tables(folder)
    pools = [present]
    if config is not None:
        pools = [[path for path in present if config in path.parts], present]
    for pool in pools:
        for stem in wanted:
            for suffix in SUFFIXES:
                found = _matching(pool, stem, suffix)
                if found:
                    return _whole([folder / path for path in found], task)
    pickles = [path for stem in wanted for suffix in PICKLES for path in _matching(_walk(folder), stem, suffix)]
    if pickles:
        raise _pickle(folder / pickles[0], task)
    raise _missing(folder, split, wanted, present, task)


def read_file(path: Path, folder: Path, tables: Tables) -> Iterator[Row]:
    """The rows of one file; `folder` shortens its name in messages.

    Raises: DataError `data.corrupt`, `data.field`, `data.pickle`.
    """
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    _refuse_empty_or_pickle(path, name, tables.task)
    ending = name.casefold()
    if ending.endswith(".parquet"):
        yield from _read_parquet(path, name, tables)
    elif ending.endswith((".tsv", ".csv")):
        yield from _read_delimited(path, name, tables)
    elif ending.endswith((".jsonl", ".jsonl.gz")):
        for number, values in read_json_lines(path, name, unique=tables.unique):
            tables.check(list(values), f"{name}:{number}")
            yield Row(values, f"{name}:{number}")
    else:
        yield from _read_json(path, name, tables)


def read_json_lines(path: Path, name: str, *, unique: bool = False) -> Iterator[tuple[int, dict[str, object]]]:
    """(line number, object) of each line that is not blank, plain or gzip; `name` is what messages call the file.

    Raises: DataError `data.missing`, or `data.corrupt` with file and line; with `unique` for a name that comes twice.
    """
    with _open_bytes(path) as lines:
        yield from parse_json_lines(lines, name, unique=unique)


def parse_json_lines(
    lines: Iterable[bytes], name: str, *, unique: bool = False
) -> Iterator[tuple[int, dict[str, object]]]:
    """As `read_json_lines`, from an open file."""
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _json_object(line, f"{name}:{number}", unique=unique)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(
            "data.corrupt", f"{name} cannot be read", where=f"{name}:{number + 1}", why=str(error)
        ) from None


def _open_bytes(path: Path) -> gzip.GzipFile | BufferedReader:
    try:
        return gzip.open(path, "rb") if path.name.casefold().endswith(".gz") else path.open("rb")
    except OSError as error:
        raise DataError("data.missing", f"cannot open {path}", why=error.strerror or str(error)) from None


def _open_text(path: Path) -> IO[str]:
    """A UTF-8 text file, a byte-order mark dropped."""
    return path.open(encoding="utf-8-sig", newline="")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of which no name comes twice. Raises: ValueError."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two fields are named {twice[:80]!r}")
    return values


def _json_object(line: bytes, where: str, *, unique: bool) -> dict[str, object]:
    try:
        value = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique if unique else None)
    except (ValueError, RecursionError) as error:
        raise DataError("data.corrupt", "not a JSON object", where=where, why=_reason(error)) from None
    if not isinstance(value, dict):
        raise DataError("data.corrupt", f"expected a JSON object, found a {type(value).__name__}", where=where)
    return value


def _read_json(path: Path, name: str, tables: Tables) -> Iterator[Row]:
    try:
        with _open_text(path) as text:
            value = json.load(text, object_pairs_hook=_unique if tables.unique else None)
    except (ValueError, RecursionError) as error:
        raise DataError(
            "data.corrupt", f"{tables.task}: {name} is not valid JSON", where=name, why=_reason(error)
        ) from None
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
        value = [{"id": key, **row} for key, row in value.items()]
    if not isinstance(value, list):
        raise DataError(
            "data.corrupt",
            f"{tables.task}: {name} contains no rows",
            where=name,
            why="expected a list of objects, or {id: object}",
        )
    for number, values in enumerate(value, 1):
        where = f"{name} row {number}"
        if not isinstance(values, dict):
            raise DataError(
                "data.corrupt",
                f"{tables.task}: a row is not a JSON object",
                where=where,
                why=f"found {str(values)[:60]!r}",
            )
        tables.check(list(values), where)
        yield Row(values, where)


def _read_delimited(path: Path, name: str, tables: Tables) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    line = 0
    with _open_text(path) as text:
        reader = csv.reader(text, delimiter="\t" if name.casefold().endswith(".tsv") else ",")
        try:
            header = next(reader, [])
            tables.check(header, name)
            if twice := [column for column in header if column and header.count(column) > 1]:
                raise DataError("data.field", f"{tables.task}: two columns are named {twice[0]!r}", where=f"{name}:1")
            for number, cells in enumerate(reader, 1):
                line = reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise csv.Error(f"a row has {len(cells)} fields, but the header has {len(header)}")
                # An empty cell means "no value" in these files, as pandas reads them.
                values = {key: cell if cell else None for key, cell in zip(header, cells, strict=True)}
                yield Row(values, f"{name} row {number}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                "data.corrupt", f"{tables.task}: {name} cannot be read", where=f"{name}:{line or 1}", why=str(error)
            ) from None


def _read_parquet(path: Path, name: str, tables: Tables) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    group = -1
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            tables.check(file.schema_arrow.names, name)
            number = 0
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(values, f"{name} row {number}")
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        where = name if group < 0 else f"{name} row group {group}"
        raise DataError(
            "data.corrupt",
            f"{tables.task}: {name} cannot be read",
            where=where,
            why=_reason(error),
            fix="download the file again and check its size",
        ) from None


def _refuse_empty_or_pickle(path: Path, name: str, task: str) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(2)
    except OSError as error:
        raise DataError("data.missing", f"{task}: cannot open {path}", why=error.strerror or str(error)) from None
    if not head:
        raise DataError("data.corrupt", f"{task}: {name} is empty", where=name)
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        raise _pickle(path, task)


def _pickle(path: Path, task: str) -> DataError:
    return DataError(
        "data.pickle",
        f"{task}: {path.name} is a pickle",
        where=str(path),
        why="pickle files can run code and are not read",
        fix="convert it to Parquet, JSON Lines or TSV",
    )


def _walk(folder: Path) -> list[Path]:
    """Files below `folder`, relative to it, in a stable order; hidden folders are left out."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        found += [(Path(where) / one).relative_to(folder) for one in sorted(files)]
    return found


def _tables(folder: Path) -> list[Path]:
    return [path for path in _walk(folder) if path.name.endswith(SUFFIXES) and os.path.isfile(folder / path)]


def _matching(paths: Sequence[Path], stem: str, suffix: str) -> list[Path]:
    """Those named `{stem}{suffix}`, else the shards `{stem}-*{suffix}`; of several depths the shallowest."""
    for pattern in (f"{stem}{suffix}", f"{stem}-*{suffix}"):
        found = [path for path in paths if _named(path, pattern)]
        if found:
            depth = min(len(path.parts) for path in found)
            return [path for path in found if len(path.parts) == depth]
    return []


def _named(path: Path, pattern: str) -> bool:
    tail = path.parts[-(pattern.count("/") + 1) :]
    return fnmatch.fnmatchcase("/".join(tail), pattern)


def _whole(paths: list[Path], task: str) -> list[Path]:
    """`paths`, if no shard of a `-00000-of-00003` set is missing."""
    shards: dict[str, tuple[int, set[int]]] = {}
    for path in paths:
        match = _SHARD.search(path.name.split(".")[0])
        if match:
            prefix = str(path)[: str(path).rindex(match[0])]
            shards.setdefault(prefix, (int(match[2]), set()))[1].add(int(match[1]))
    for prefix, (total, present) in shards.items():
        missing = sorted(set(range(total)) - present)
        if missing:
            raise DataError(
                "data.missing",
                f"{task}: {len(missing)} of {total} files of {Path(prefix).name} are missing",
                where=str(Path(prefix).parent),
                why=f"missing shard: {', '.join(f'{number:05d}' for number in missing[:5])}",
            )
    return paths


def _missing(folder: Path, split: str, stems: Sequence[str], present: list[Path], task: str) -> DataError:
    tried = ", ".join(f"{stem}{{.parquet,-*.parquet,.jsonl,.json,.tsv}}" for stem in stems)
    if not folder.is_dir():
        found = "the folder does not exist"
    elif present:
        found = f"found {', '.join(map(str, present[:8]))}{' ...' if len(present) > 8 else ''}"
    else:
        inside = sorted(one.name + ("/" if one.is_dir() else "") for one in folder.iterdir())[:8]
        found = f"found {', '.join(inside) or 'nothing'}"
    return DataError(
        "data.missing",
        f"{task}: {split!r} not found",
        where=f"--data-dir {folder}",
        why=f"searched for {tried} in the folder and its subfolders; {found}",
        fix=f"put the file of the split there; `kvl-eval describe {task}` shows the accepted layouts",
    )


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
