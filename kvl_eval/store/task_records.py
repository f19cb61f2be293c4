"""The records of one task: where the one that counts of each key stands, and reading it.

They lie in `samples/<task>.jsonl.gz`, if the run was compressed when it had finished, and in `samples/<task>.jsonl`,
where everything later is appended. The later one of two records counts.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kvl_eval.decode import Json, decode
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.journal import DamagedLine, LineReader, decode_line, read_line, read_lines
from kvl_eval.store.packed import member_at, members
from kvl_eval.store.records import Key, Record
from kvl_eval.store.run_files import open_run_file

ROOM = 128_000_000  # bytes, about, of the records that are kept in memory
RECORD = 4_000  # bytes of a record besides its reply


class Place(NamedTuple):
    """Where a record starts: in which file (0 compressed, 1 plain), at which byte of it, and of a member's text."""

    file: int
    offset: int
    within: int = 0


class SampleLine(NamedTuple):
    """One line of a task's records: file and line for messages, its place and fields, or why it cannot be read.

    `digest` is a hash of the line's bytes, 0 for a damaged one.
    """

    where: str
    place: Place
    fields: dict[str, Json] | None
    damage: str = ""
    torn: bool = False
    digest: int = 0


def packed_path(plain: Path) -> Path:
    """Where the compressed records of a task are, by where its plain ones are."""
    return plain.with_name(plain.name + ".gz")


def sample_lines(plain: Path) -> Iterator[SampleLine]:
    """Every line of a task's records in the order they were written, damaged ones included.

    Raises: InputError `run.schema`, naming file and line.
    """
    packed = packed_path(plain)
    for member in members(packed):
        where = f"{packed} member {member.number}"
        if member.damage:
            yield SampleLine(where, Place(0, member.offset), None, member.damage)
        within = 0
        for number, text in enumerate(member.text.splitlines(keepends=True), 1):
            line = read_line(text, number, within, packed)
            place = Place(0, member.offset, within)
            yield SampleLine(f"{where} line {number}", place, line.fields, line.damage, digest=_digest(line.crc))
            within += len(text)
    for line in read_lines(plain):
        place = Place(1, line.offset)
        where = f"{plain} line {line.number}"
        yield SampleLine(where, place, line.fields, line.damage, line.torn, _digest(line.crc))


def _digest(crc: bytes) -> int:
    return zlib.crc32(crc) if crc else 0


def packed_lines(packed: Path) -> Iterator[bytes]:
    """The lines of a compressed file. Raises DataError `run.damaged` for a damaged member."""
    for member in members(packed):
        if member.damage:
            raise DataError("run.damaged", f"{packed.name} is damaged", where=f"{packed} member {member.number}")
        yield from member.text.splitlines(keepends=True)


def distinct_lines(plain: Path) -> Iterator[bytes]:
    """The lines of both files of a task, equal ones once. Raises DataError `run.damaged` for a damaged one."""
    seen: set[bytes] = set()
    for line in packed_lines(packed_path(plain)):
        seen.add(hashlib.sha256(line).digest())
        yield line
    with open_run_file(plain) as file:
        for number, line in enumerate(file, 1):
            if read_line(line, number, 0, plain).fields is None:
                raise DataError("run.damaged", "a line is damaged", where=f"{plain} line {number}")
            if hashlib.sha256(line).digest() not in seen:
                yield line


@dataclass(slots=True)
class RecordIndex:
    """Where the record that counts of each key starts, and what was odd about the file.

    Attributes:
        offsets:    {key: where its last complete record starts}.
        failed:     {key: reason} of those that failed.
        duplicates: records that a later, different one of the same key replaced.
        damage:     one line of text for each line and member that cannot be read.
        torn:       whether the last line has no end.
    """

    offsets: dict[Key, Place] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)
    duplicates: int = 0
    damage: list[str] = field(default_factory=list)
    torn: bool = False
    _packed: dict[Key, int] = field(default_factory=dict)  # digests of compressed lines

    def require_whole(self) -> None:
        """Raises: DataError `run.damaged` where a line cannot be read."""
        if self.damage:
            raise DataError("run.damaged", f"{len(self.damage)} damaged lines", where=self.damage[0])

    def __contains__(self, key: object) -> bool:
        """Whether there is a record of that key, answered or failed."""
        return key in self.offsets

    def in_order(self) -> list[Key]:
        """Keys as their records were finished."""
        return sorted(self.offsets, key=self.offsets.__getitem__)

    def take(self, record: Record, line: SampleLine) -> None:
        """Take in a record; an equal line in both files, as a kill while compressing leaves it, is not a duplicate."""
        key = record.key
        if line.place.file == 0:
            self._packed[key] = line.digest
        self.duplicates += key in self.offsets and not (line.place.file and self._packed.pop(key, None) == line.digest)
        self.offsets[key] = line.place
        self.failed.pop(key, None)
        if record.status != "ok":
            self.failed[key] = record.reason or "unknown"


class PlaceReader:
    """Lines of a task's two files by place; the last member that was read stays in memory."""

    def __init__(self, plain: Path) -> None:
        self._path = plain
        self._lines: LineReader | None = None
        self._member: tuple[int, bytes] = (-1, b"")

    def at(self, place: Place) -> dict[str, Json]:
        """The fields of the line that starts at `place`. Raises DamagedLine."""
        if place.file:
            self._lines = self._lines or LineReader(self._path)
            return self._lines.at(place.offset)
        if self._member[0] != place.offset:
            member = member_at(packed_path(self._path), place.offset)
            if member.damage:
                raise DamagedLine(member.damage)
            self._member = place.offset, member.text
        text = self._member[1]
        return decode_line(text[place.within : text.index(b"\n", place.within) + 1])

    def close(self) -> None:
        """Let go of the files."""
        if self._lines is not None:
            self._lines.close()
        self._lines, self._member = None, (-1, b"")


class TaskRecords:
    """The records of one task by key. Close it, or use it as a context."""

    def __init__(self, path: Path, index: RecordIndex) -> None:
        self._path = path
        self._index = index
        self._reader = PlaceReader(path)

    def at(self, key: Key) -> Record:
        """The record of a key in the index. Raises KeyError; DataError `run.damaged`, naming file and field."""
        try:
            return decode(Record, self._reader.at(self._index.offsets[key]))
        except (DecodeError, DamagedLine) as error:
            why = error.message if isinstance(error, DecodeError) else str(error)
            raise DataError("run.damaged", f"{key} is not a record", where=str(self._path), why=why) from error

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()

    def __enter__(self) -> TaskRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class Room:
    """How many bytes of records may still be kept in memory."""

    left: int = ROOM


class KeptRecords(TaskRecords):
    """The records of one task of a run; each is read once, as far as there is room to keep it."""

    def __init__(self, path: Path, index: RecordIndex, room: Room) -> None:
        super().__init__(path, index)
        self._kept: dict[Key, Record] = {}
        self._room = room

    def at(self, key: Key) -> Record:
        record = self._kept.get(key)
        if record is None:
            record = super().at(key)
            size = RECORD + 2 * len(record.raw_output)
            if size <= self._room.left:
                self._kept[key] = record
                self._room.left -= size
        return record
