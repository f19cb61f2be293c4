"""JSON lines that notice damage, and the one door through which a run folder reaches the disk.

A line is a JSON object whose last field `crc` is the CRC-32 of the bytes before it, so any flipped bit is noticed,
in the field itself and in the line break too. Bytes after the last line break are a line torn by a crash.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from kvl_eval.decode import Json, shown
from kvl_eval.errors import InputError, StorageError
from kvl_eval.store.run_files import open_run_file

SCHEMA = 1  # of what is written and read
SPENT = 2  # was given before the first release to records that held a part of their texts; not to be used again
LARGEST_SCHEMA = 2**31  # what is above is no version
LONGEST_LINE = 256 << 20  # bytes
SYNC_LINES = 16  # a record is on the disk at the latest this many lines later ...
SYNC_SECONDS = 1.0  # ... or this long after it was written
_SUFFIX = len(b',"crc":"00000000"}\n')
_CRC = slice(-len(b'00000000"}\n'), -len(b'"}\n'))
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_decoder = json.JSONDecoder()
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ascii_encoder = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)


class DamagedLine(ValueError):
    """A line whose checksum does not fit."""


def encode_line(fields: Mapping[str, object]) -> bytes:
    """One JSON line with its checksum, line break included. NaN and infinity become null.

    Raises: TypeError for values that JSON has no form for.
    """
    try:
        text = _encoder.encode(fields)
    except ValueError:
        text = _encoder.encode(_finite(fields))
    try:
        body = text[:-1].encode()
    except UnicodeEncodeError:  # lone surrogates keep their value only as escapes
        body = _ascii_encoder.encode(_finite(fields))[:-1].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def checksum_of(line: bytes) -> str:
    """The checksum that a line made by `encode_line` ends with, eight hex digits."""
    return line[_CRC].decode("ascii", "replace")


def decode_line(line: bytes) -> dict[str, Json]:
    """The fields of a line, without its checksum. Raises DamagedLine, InputError for a newer schema."""
    check_crc(line)
    try:
        text = str(memoryview(line)[:-_SUFFIX], "utf-8") + "}"
        fields, end = _decoder.raw_decode(text)
        if end != len(text):
            raise ValueError(f"another value follows at {end}")
    except (ValueError, RecursionError) as error:
        raise DamagedLine("not a JSON object") from error
    schema = fields.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > LARGEST_SCHEMA:
        raise DamagedLine(f"its schema is {shown(schema)}, not a version number")
    if schema > SCHEMA:
        raise _other_schema(schema)
    return cast("dict[str, Json]", fields)


def check_crc(line: bytes) -> None:
    """Raises DamagedLine unless the checksum of a line is that of its bytes."""
    if line[-_SUFFIX:] != b',"crc":"%08x"}\n' % zlib.crc32(memoryview(line)[:-_SUFFIX]):
        raise DamagedLine("its checksum does not match")


def _other_schema(schema: int) -> InputError:
    if schema == SPENT:
        return InputError(
            "run.schema",
            f"written by an unreleased kvl-eval: schema {SPENT} has incomplete records, this version reads schema "
            f"{SCHEMA}",
            fix="read it with the version that wrote it, or start a new run",
        )
    return InputError(
        "run.schema",
        f"written by a newer kvl-eval: schema {schema}, this version reads up to {SCHEMA}",
        fix="update kvl-eval",
    )


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


class StoredLine(NamedTuple):
    """One line of a file: its number from 1, where it starts, its fields and checksum, or why it cannot be read."""

    number: int
    offset: int
    fields: dict[str, Json] | None
    damage: str = ""
    torn: bool = False
    crc: bytes = b""


def read_lines(path: Path, prefix: bytes = b"") -> Iterator[StoredLine]:
    """The lines of a file that start with `prefix`, in order, damaged ones included; none if there is no file.

    What follows a line of more than 256 MiB is not read. Raises: DataError `run.file`, InputError `run.schema`.
    """
    if not os.path.lexists(path):
        return
    offset = number = 0
    with open_run_file(path) as handle:
        while line := handle.readline(LONGEST_LINE + 1):
            number += 1
            if not line.endswith(b"\n"):
                is_long = len(line) > LONGEST_LINE
                why = f"it has more than {LONGEST_LINE:,} bytes" if is_long else "it is truncated"
                yield StoredLine(number, offset, None, why, torn=not is_long)
                return
            if line.startswith(prefix):
                yield read_line(line, number, offset, path)
            offset += len(line)


def read_line(line: bytes, number: int, offset: int, path: Path) -> StoredLine:
    """A line that has its end. Raises InputError `run.schema`, naming file and line."""
    try:
        return StoredLine(number, offset, decode_line(line), crc=line[_CRC])
    except DamagedLine as error:
        return StoredLine(number, offset, None, str(error))
    except InputError as error:
        error.where = f"{path} line {number}"
        raise


class LineReader:
    """Single lines of a file by where they start."""

    def __init__(self, path: Path) -> None:
        self._handle = open_run_file(path)

    def at(self, offset: int) -> dict[str, Json]:
        """The fields of the line that starts at `offset`. Raises DamagedLine."""
        self._handle.seek(offset)
        return decode_line(self._handle.readline())

    def close(self) -> None:
        """Let go of the file."""
        self._handle.close()


class Disk:
    """What a run folder writes through. Hand in another one to see what happens when it fails.

    Every method raises StorageError, naming the path and the free space, where the system refuses.
    """

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        """Write all of `data` at the end of an open file."""
        with storing(path):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int, path: Path) -> None:
        """Wait until what was written lies on the disk."""
        with storing(path):
            os.fsync(descriptor)

    def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Put a whole file in place: a reader sees the old one or the new one, never half of it."""
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                with open(temporary, "wb") as handle:
                    handle.writelines(chunks)
                    handle.flush()
                    os.fsync(handle.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)

    def show(self, hidden: Path, path: Path) -> bool:
        """Give a finished folder its name; False where another one took it meanwhile."""
        with storing(path):
            try:
                os.rename(hidden, path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            sync_folder(path.parent)
        return True

    def remove(self, path: Path) -> None:
        """Remove a file whose content stands elsewhere by now."""
        with storing(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that are gone left behind while they replaced files in `folder`."""
    for path in folder.glob(".*.tmp"):
        pid = path.name.split(".")[-2]
        if pid.isdecimal() and not is_running(int(pid)):
            with storing(path):
                path.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process of that number runs on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the system says about `path` into a StorageError."""
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} bytes free"
    except OSError:
        free = "free space unknown"
    full = error.errno in _FULL
    return StorageError(
        "storage.full" if full else "storage.write",
        f"cannot write {path}: {error.strerror or error}",
        where=f"{path.parent} ({free})",
        why="finished answers are saved; the run has stopped",
        fix="free some space, then run `kvl-eval resume RUN`" if full else "use a folder with write permission",
    )


def sync_folder(folder: Path) -> None:
    """Make a new or renamed entry of `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """An append-only file. Every line is written at once and synced soon after; a torn end is cut off on opening.

    Attributes:
        cut: bytes of a torn last line that opening removed.
    """

    def __init__(self, path: Path, disk: Disk, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._disk = disk
        self._clock = clock
        self._unsynced = 0
        self._written = 0.0
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            self.cut = _cut_torn_end(self._descriptor)
            os.fsync(self._descriptor)
            sync_folder(path.parent)

    def append(self, fields: Mapping[str, object]) -> str:
        """Write one line and give its checksum; a crash of this process after the call cannot lose it."""
        line = encode_line(fields)
        self._disk.append(self._descriptor, line, self.path)
        if not self._unsynced:
            self._written = self._clock()
        self._unsynced += 1
        if self._unsynced >= SYNC_LINES:
            self.sync()
        return checksum_of(line)

    def sync_if_due(self) -> None:
        """Sync if the oldest unsynced line is nearly a second old; to be called twice a second or so."""
        if self._unsynced and self._clock() - self._written >= SYNC_SECONDS / 2:
            self.sync()

    def sync(self) -> None:
        """Wait until every line lies on the disk."""
        if self._unsynced:
            self._disk.sync(self._descriptor, self.path)
            self._unsynced = 0

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._descriptor)


def _cut_torn_end(descriptor: int) -> int:
    """Cut off what follows the last line break; the number of bytes removed."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 65_536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return size - end
