"""What the records of one trajectory have in common, stored once.

The first record of a trajectory that is written, that of its largest budget, holds its texts whole. One that follows
and begins alike holds the number of characters that it shares, and of each text only the rest (shortened here):

    {"schema":1,"budget":64,"trajectory_id":"t/7/0","raw_output":"◁think▷2 + 2 is 4◁/think▷B", ..., "crc":"5d1f0a3c"}
    {"schema":2,"budget":9,"trajectory_id":"t/7/0","raw_output":"","begins_as":{"crc":"5d1f0a3c","raw_output":12}, ...}

`begins_as` names, by its checksum, a line before this one, in the same file, that holds a record of the same
trajectory whole. So whatever a crash cuts off the end, every record that is left can be read; where a line is damaged
or taken out, those that begin as it does are noticed and count as never answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvl_eval.store.journal import SCHEMA, Line, LineReader
from kvl_eval.store.record_schema import SHARED, reference_faults, shares

SHARED_SCHEMA = 2  # of a record that holds a part of its texts: older versions refuse it
LEAST = 128  # characters that must be saved; the reference takes about as many
_SURROGATE = re.compile("[\ud800-\udfff]")  # two halves may come back from a file as one character

Fields = Mapping[str, Any]


class Holder(NamedTuple):
    """A record that was stored whole, and the checksum of its line."""

    crc: str
    record: Fields


def shortened(record: Fields, holder: Holder | None) -> Fields:
    """`record` without what it begins with like `holder`'s; `record` itself where that saves nothing."""
    if holder is None or record["trajectory_id"] is None or record["trajectory_id"] != holder.record["trajectory_id"]:
        return record
    sizes = {name: _shared(record[name], holder.record[name]) for name in SHARED}
    texts = {name: record[name] for name in SHARED if isinstance(record[name], str)}
    if sum(sizes[name] for name in texts) < LEAST or any(map(_SURROGATE.search, texts.values())):
        return record
    rest = {name: record[name][size:] for name, size in sizes.items()}
    begins_as = {"crc": holder.crc, **{name: size for name, size in sizes.items() if size}}
    return {**record, "schema": SHARED_SCHEMA, **rest, "begins_as": begins_as}


def joined(fields: Fields, holder: Fields) -> dict[str, Any]:
    """The record that `shortened` was given, of what it gave and the fields of the holder's line."""
    begins_as = fields["begins_as"]
    texts = {name: holder[name][: begins_as.get(name, 0)] + fields[name] for name in SHARED}
    kept = {name: value for name, value in fields.items() if name != "begins_as"}
    return {**kept, "schema": SCHEMA, **texts}


def _shared(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many items both begin with."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    return next(place for place in range(most) if left[place] != right[place])


class _Known(NamedTuple):
    """Where a whole record begins, and how much it holds of each text."""

    offset: int
    sizes: dict[str, int]


class Holders:
    """Which lines of a file hold the texts of others. Must be shown every record, in the file's order.

    Attributes:
        offsets: {where a record begins that holds a part of its texts: where the one begins that holds the others}.
    """

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}
        self._known: dict[tuple[str, str], _Known] = {}  # by trajectory and checksum

    def see(self, line: Line) -> str | None:
        """Take in a record; why it cannot be made whole, or None where it can. `line.fields` must be there."""
        fields = line.fields or {}
        trajectory = fields.get("trajectory_id")
        if "begins_as" not in fields:
            if isinstance(trajectory, str) and shares(fields):
                self._known[trajectory, line.crc] = _Known(line.offset, {name: len(fields[name]) for name in SHARED})
            return None
        if faults := reference_faults(fields):
            return "; ".join(faults)
        begins_as = fields["begins_as"]
        known = self._known.get((str(trajectory), begins_as["crc"]))
        if known is None:
            return (
                f"{fields.get('sample_id')} budget {fields.get('budget')} begins as a record of trajectory "
                f"{trajectory} with checksum {begins_as['crc']} that is not there"
            )
        if any(begins_as.get(name, 0) > size for name, size in known.sizes.items()):
            return f"it begins with more than the record of trajectory {trajectory} holds"
        self.offsets[line.offset] = known.offset
        return None


class RecordReader:
    """Whole records of a file by where they begin. The file is opened when the first one is asked for."""

    def __init__(self, path: Path, holders: Mapping[int, int]) -> None:
        """`holders` as in `Holders.offsets`."""
        self._path = path
        self._holders = holders
        self._lines: LineReader | None = None
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def at(self, offset: int) -> dict[str, Any]:
        """The record that begins at `offset`. Raises DamagedLine."""
        self._lines = self._lines or LineReader(self._path)
        fields, holder = self._lines.at(offset), self._holders.get(offset)
        if holder is None:
            return fields
        if self._last[0] != holder:
            self._last = holder, self._lines.at(holder)
        return joined(fields, self._last[1])

    def close(self) -> None:
        """Let go of the file."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
