"""The file `plan.jsonl`: its lines, its entries with what their samples share, and its hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.journal import StoredLine, encode_line, read_lines
from kvl_eval.store.records import PlanEntry, PlannedSample
from kvl_eval.store.run_files import open_run_file

_ENTRY_FIELDS = frozenset(entry.name for entry in fields(PlanEntry))


def plan_line(entry: PlanEntry, *, first: bool) -> bytes:
    """A line of plan.jsonl; the first line of a sample carries what all its answers share.

    Raises: TypeError for a row with a value that JSON has no form for.
    """
    own = encode_object(entry)
    return encode_line({**own, **encode_object(entry.sample)} if first else own)


def plan_entries(path: Path, task: str | None = None) -> Iterator[PlanEntry]:
    """The entries in order, of one task or all.

    Raises: DataError `run.plan`, naming file and line, if one cannot be read.
    """
    sample: PlannedSample | None = None
    for line in _lines(path, task):
        stored = line.fields or {}
        try:
            if "row" in stored:
                shared = {name: value for name, value in stored.items() if name not in _ENTRY_FIELDS}
                sample = decode(PlannedSample, shared, offset=line.offset)
            entry = decode(PlanEntry, stored, sample=sample)
        except DecodeError as error:
            raise _damaged(path, line, error.message) from error
        if sample is None:
            raise _damaged(path, line, "the line with the sample's text is missing")
        yield entry


def _lines(path: Path, task: str | None) -> Iterator[StoredLine]:
    if not os.path.lexists(path):
        raise DataError("run.plan", f"{path} is missing", fix="start a new run with --no-resume")
    prefix = b"" if task is None else encode_line({"task": task}).partition(b',"crc"')[0] + b","
    for line in read_lines(path, prefix):
        if line.fields is None:
            raise _damaged(path, line, line.damage)
        yield line


def _damaged(path: Path, line: StoredLine, why: str) -> DataError:
    where, fix = f"{path} line {line.number}", "start a new run with --no-resume"
    return DataError("run.plan", f"{path.name} is damaged", where=where, why=why, fix=fix)


def plan_chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes. Raises DataError `run.plan` if it cannot be read."""
    try:
        with open_run_file(path) as file:
            while chunk := file.read(1 << 20):
                yield chunk
    except OSError as error:
        raise DataError(
            "run.plan", f"cannot read {path}", why=str(error), fix="start a new run with --no-resume"
        ) from error


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in consecutive pieces of a file, each with its line break; an unfinished one is left out."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


def check_plan_sha256(path: Path, sha256: str | None) -> None:
    """Raises DataError `run.plan` unless that is the hash of the file."""
    digest = hashlib.sha256()
    for chunk in plan_chunks(path):
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise DataError(
            "run.plan",
            f"{path} was changed after the start of the run",
            why="its checksum does not match run.json",
            fix="start a new run with --no-resume",
        )
