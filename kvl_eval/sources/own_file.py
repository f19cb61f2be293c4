"""The file of an own table: exactly the one that was named, in the format that its suffix names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kvl_eval.errors import DataError
from kvl_eval.rows import Row
from kvl_eval.sources.base import Tables
from kvl_eval.sources.local import read_file

FORMATS = {
    ".jsonl": "JSON Lines",
    ".jsonl.gz": "JSON Lines packed with gzip",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "parquet",
}
HEAD = 1 << 16  # bytes that are looked at
_SIGNS = {
    b"PAR1": ".parquet",
    b"\x1f\x8b": ".jsonl.gz",
    b"PK\x03\x04": "a spreadsheet or zip archive",
    b"%PDF": "a PDF document",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def table_file(path: Path) -> None:
    """Raises: DataError `data.missing` where there is no such file, `data.field` for a suffix that names no format."""
    if format_of(path) is None:
        raise DataError(
            "data.field",
            f"{path.name} names no format",
            where=str(path),
            why=f"suffixes that are read: {' '.join(FORMATS)}",
        )
    if not path.is_file():
        fix = "give file:PATH to a table; repeat --task for several"
        raise DataError("data.missing", f"there is no file {path}", fix=fix)


def format_of(path: Path) -> str | None:
    """The suffix that names the file's format; None where it names none."""
    name = path.name.casefold()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), None)


def table_rows(path: Path) -> Iterator[Row]:
    """The rows of the file, in order. Raises: DataError, for content that is not what the suffix says too."""
    table_file(path)
    suffix = format_of(path) or ""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError("data.missing", f"cannot open {path}", why=error.strerror or str(error)) from None
    found = _content(head, suffix)
    if found is not None and found != suffix:
        fix = (
            f"rename it to {path.name[: -len(suffix)]}{found}"
            if found in FORMATS
            else "save it in one of these formats"
        )
        raise DataError(
            "data.corrupt",
            f"{path.name} is not {FORMATS[suffix]}",
            where=path.name,
            why=f"it holds {FORMATS.get(found, found)}",
            fix=fix,
        )
    yield from read_file(path, path.parent, Tables(task=f"file:{path.name}", unique=True))


def _content(head: bytes, suffix: str) -> str | None:
    """The suffix that fits what a file begins with, or what that is; None where it may be what its suffix says."""
    sign = next((found for mark, found in _SIGNS.items() if head.startswith(mark)), None)
    if sign is not None or not head:
        return sign
    if suffix in (".parquet", ".jsonl.gz"):
        return "something else"
    text = head.decode("utf-8-sig", "replace").lstrip()
    if suffix == ".jsonl":
        return ".json" if text[:1] == "[" else None
    if suffix == ".json":
        return ".jsonl" if _is_lines(text) else None
    return _json_in_cells(text)


def _json_in_cells(text: str) -> str | None:
    """The format of a text in a file for cells; None where it is not JSON."""
    if text[:1] == "{":
        return ".jsonl" if _is_object(text.partition("\n")[0]) else None
    return ".json" if text[:1] == "[" and text[1:].lstrip()[:1] == "{" else None


def _is_lines(text: str) -> bool:
    """Whether the first two lines are objects."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    return len(lines) == 2 and all(map(_is_object, lines))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
