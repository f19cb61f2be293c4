"""What of a data set's archives is unpacked: a log for each archive, and one file that says what is complete.

They lie in `.fetch` beside the unpacked files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kvl_eval.rows import Row
from kvl_eval.sources.archives import STATE

COMPLETE = "complete.json"


class UnpackLog:
    """What of an archive is in its place: its identity, a line for each file, and a line that says that all are."""

    def __init__(self, home: Path, archive: str, identity: str) -> None:
        self._home = home
        self._identity = identity
        self._path = home / STATE / f"{archive.replace('/', '--')}.jsonl"

    def placed(self) -> tuple[dict[str, int], bool]:
        """{name: size} of the files that are still where they were put, and whether these are all."""
        lines = list(self._lines())
        if not lines or lines[0].get("archive") != self._identity:
            return {}, False
        noted = {line.text("name"): line.required_integer("size") for line in lines if "name" in line}
        there = {name: size for name, size in noted.items() if _size(self._home / name) == size}
        return there, "files" in lines[-1] and len(there) == len(noted)

    @property
    def is_whole(self) -> bool:
        """Whether every file of the archive is in its place."""
        return self.placed()[1]

    @contextmanager
    def writing(self, placed: Mapping[str, int]) -> Iterator[LogLines]:
        """Begin again with `placed`; gives what writes one line more, each at once on disk."""
        lines = [_line({"name": name, "size": size}) for name, size in placed.items()]
        _replace(self._path, b"".join([_line({"archive": self._identity}), *lines]))
        with self._path.open("ab", buffering=0) as file:
            yield LogLines(file)
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[Row]:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return
        for number, line in enumerate(text.splitlines(), 1):
            try:
                value = json.loads(line)
            except ValueError:  # the write that a crash cut short
                return
            if isinstance(value, dict):
                yield Row(value, f"{self._path}:{number}")


class LogLines:
    """Writes the lines of a log."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def file(self, name: str, size: int) -> None:
        """A file is in its place."""
        self._file.write(_line({"name": name, "size": size}))

    def whole(self, files: int) -> None:
        """All are."""
        self._file.write(_line({"files": files}))


def _line(value: Mapping[str, str | int]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def complete(home: Path) -> dict[str, object]:
    """{pattern: commit} of what is wholly unpacked below `home`."""
    try:
        found = json.loads((home / STATE / COMPLETE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def set_complete(home: Path, patterns: Sequence[str], commit: str | None) -> None:
    """Note that all archives of `patterns` are unpacked."""
    found = {**complete(home), **dict.fromkeys(patterns, commit)}
    _replace(home / STATE / COMPLETE, json.dumps(found).encode())


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
