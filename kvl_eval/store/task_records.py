"""The records of one task: where the one that counts of each key stands, and reading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kvl_eval.decode import decode
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.journal import LineReader
from kvl_eval.store.records import Key, Record


@dataclass(slots=True)
class RecordIndex:
    """Where the record that counts of each key starts, and what was odd about the file.

    Attributes:
        offsets:    {key: where its last complete record starts}.
        failed:     {key: reason} of those that failed.
        duplicates: records that a later one of the same key replaced.
        damage:     one line of text for each line that cannot be read.
        torn:       whether the last line has no end.
    """

    offsets: dict[Key, int] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)
    duplicates: int = 0
    damage: list[str] = field(default_factory=list)
    torn: bool = False

    def __contains__(self, key: object) -> bool:
        """Whether there is a record of that key, answered or failed."""
        return key in self.offsets

    def in_order(self) -> list[Key]:
        """Keys as their records were finished."""
        return sorted(self.offsets, key=self.offsets.__getitem__)


class TaskRecords:
    """The records of one task by key. Close it, or use it as a context."""

    def __init__(self, path: Path, index: RecordIndex) -> None:
        self._path = path
        self._index = index
        self._lines: LineReader | None = None

    def at(self, key: Key) -> Record:
        """The record of a key in the index. Raises KeyError; DataError `run.damaged`, naming file and field."""
        try:
            self._lines = self._lines or LineReader(self._path)
            return decode(Record, self._lines.at(self._index.offsets[key]))
        except DecodeError as error:
            raise DataError("run.damaged", f"{key} is no record", where=str(self._path), why=error.message) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def __enter__(self) -> TaskRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
