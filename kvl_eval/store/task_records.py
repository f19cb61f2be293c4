"""The records of one task: where the one that counts of each key stands, and reading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvl_eval.decode import decode
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.records import Key, Record
from kvl_eval.store.shared_text import RecordReader


@dataclass(slots=True)
class RecordIndex:
    """Where the record that counts of each key starts, and what was odd about the file.

    Attributes:
        offsets:    {key: where its last complete record starts}.
        failed:     {key: reason} of those that failed.
        duplicates: records that a later one of the same key replaced.
        damage:     one line of text for each line that cannot be read.
        torn:       whether the last line has no end.
        holders:    {where a record starts: where the one starts that holds the beginning of its texts}.
    """

    offsets: dict[Key, int] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)
    duplicates: int = 0
    damage: list[str] = field(default_factory=list)
    torn: bool = False
    holders: Mapping[int, int] = field(default_factory=dict)

    def __contains__(self, key: object) -> bool:
        """Whether there is a record of that key, answered or failed."""
        return key in self.offsets

    def in_order(self) -> list[Key]:
        """Keys as their records were finished, but those of one trajectory together."""
        return sorted(
            self.offsets, key=lambda key: (self.holders.get(self.offsets[key], self.offsets[key]), self.offsets[key])
        )


class TaskRecords:
    """The records of one task by key. Close it, or use it as a context."""

    def __init__(self, path: Path, index: RecordIndex) -> None:
        self._path = path
        self._index = index
        self._reader = RecordReader(path, index.holders)

    def at(self, key: Key) -> Record:
        """The record of a key in the index. Raises KeyError; DataError `run.damaged`, naming file and field."""
        try:
            return decode(Record, self._reader.at(self._index.offsets[key]))
        except DecodeError as error:
            raise DataError("run.damaged", f"{key} is no record", where=str(self._path), why=error.message) from error

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> TaskRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
