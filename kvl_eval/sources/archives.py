"""Unpack zip and tar archives of unknown origin: all of their entries are checked before one is written.

Refused are names that leave the folder (absolute, `..`, a drive), contain a backslash or a control character, or appear
twice; links, devices and everything else that is not a file or folder; encrypted entries; more entries, bytes or
compression than any real data set has; archives that are truncated or damaged. A tar archive may be cut into parts,
which are read as one. Files appear whole or not at all, and get neither owner, mode nor time from the archive.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kvl_eval.errors import DataError, StorageError

MAX_ENTRIES = 100_000
MAX_DIRECTORY = 64 * 2**20  # bytes of a zip archive's list of entries
MAX_RATIO = 100  # unpacked bytes for one packed; videos and documents have 1, subtitles 4
SMALL = 2**20  # bytes below which no ratio is looked at
MAX_NAME = 1024  # bytes
MAX_PART = 255  # bytes of a folder's or file's name
MAX_READ = 16 * 2**20  # bytes that one header of a tar archive may claim
BLOCK = 512  # of a tar archive
PIECE = 2**20  # bytes copied at once
STATE = ".fetch"  # folder beside unpacked files that no entry may write to

_BROKEN = (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, ValueError, NotImplementedError, RuntimeError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive: its path, clean and relative, and its size in bytes unpacked."""

    name: str
    size: int
    info: Any


@dataclass(frozen=True, slots=True)
class Opened:
    """An archive whose entries are sound as far as its lists tell: `open` gives the bytes of one."""

    name: str
    entries: tuple[Entry, ...]
    open: Callable[[Entry], IO[bytes]]

    @property
    def size(self) -> int:
        """Bytes of all files unpacked."""
        return sum(entry.size for entry in self.entries)


@contextmanager
def opened(parts: Sequence[Path], loose: str | None = None) -> Iterator[Opened]:
    """An archive with all of its entries checked; nothing is written.

    Args:
        parts: one file, or the parts of a tar archive in their order.
        loose: the place of a file that is not an archive: it is the only entry there.
    Raises: DataError `data.archive` naming the entry and what is wrong with it.
    """
    name = parts[0].name.partition(".part.")[0]
    with ExitStack() as stack:
        try:
            if loose is not None:
                entry = Entry(_clean(name, loose), parts[0].stat().st_size, None)
                found = Opened(name, (entry,), lambda _: parts[0].open("rb"))
            else:
                found = _zip(parts[0], stack) if name.endswith(".zip") else _tar(parts, stack, name)
        except RecursionError:
            raise refused(name, "its headers are too deeply nested") from None
        except _BROKEN as error:
            raise refused(name, f"truncated or damaged: {_first_line(error)}") from None
        except OSError as error:
            raise refused(name, error.strerror or str(error)) from None
        yield found


def place(archive: Opened, entry: Entry, home: Path) -> None:
    """Write one file below `home`: beside its place first, then renamed.

    Raises: DataError `data.archive`, where its bytes are damaged; StorageError, where they cannot be written.
    """
    target = home / entry.name
    draft = target.parent / f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb", opener=_no_links) as file:
            _copy(archive, entry, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except (OSError, DataError) as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, DataError):
            raise
        raise _storage(archive.name, target, error) from None


def refused(archive: str, why: str, entry: str | None = None) -> DataError:
    """The error of an archive that is not unpacked."""
    return DataError(
        "data.archive",
        f"{archive} cannot be unpacked",
        where=None if entry is None else f"entry {entry[:200]!r}",
        why=why,
        fix="download it again; if its authors published it in this state, unpack it yourself and use --data-dir",
    )


def _copy(archive: Opened, entry: Entry, file: IO[bytes]) -> None:
    left = entry.size
    for piece in _pieces(archive, entry):
        left -= len(piece)
        if left < 0:
            break
        file.write(piece)
    if left:
        raise refused(archive.name, f"truncated or damaged: {entry.size - left} of {entry.size} bytes", entry.name)


def _pieces(archive: Opened, entry: Entry) -> Iterator[bytes]:
    """An entry's bytes. What cannot be read is the archive's fault, a place outside of the file included."""
    try:
        with archive.open(entry) as data:
            while piece := data.read(PIECE):
                yield piece
    except _BROKEN as error:
        raise refused(archive.name, f"truncated or damaged: {_first_line(error)}", entry.name) from None
    except OSError as error:
        raise refused(archive.name, f"truncated or damaged: {error.strerror or error}", entry.name) from None


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _storage(archive: str, target: Path, error: OSError) -> DataError | StorageError:
    if isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):
        return refused(archive, f"cannot create {target}: {error.strerror}", target.name)
    full = error.errno in _FULL
    return StorageError(
        "storage.full" if full else "storage.write",
        f"cannot write {target}",
        why=error.strerror or str(error),
        fix="free some space, then run the same command again to continue" if full else None,
    )


# -- What an entry may be


def _checked(archive: str, entries: Sequence[Entry], packed: int) -> tuple[Entry, ...]:
    """`entries`, if no two of them share a path and their total size is plausible."""
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise refused(archive, "the name appears twice", entry.name)
        seen.add(entry.name)
    for entry in entries:
        folder = next((str(one) for one in PurePosixPath(entry.name).parents if str(one) in seen), None)
        if folder is not None:
            raise refused(archive, f"{folder!r} is also a file", entry.name)
    total = sum(entry.size for entry in entries)
    if total > SMALL + MAX_RATIO * packed:
        raise refused(archive, f"{packed} bytes would be unpacked to {total}")
    return tuple(entries)


def _clean(archive: str, name: str) -> str:
    """The name of a file or folder without `./` and doubled slashes. Raises: DataError, where it may not be."""
    fault = _fault(name)
    if fault is not None:
        raise refused(archive, fault, name)
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _fault(name: str) -> str | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "the name is not text"
    checks = (
        (any(ord(letter) < 32 or ord(letter) == 127 for letter in name), "the name contains a control character"),
        ("\\" in name, "the name contains a backslash"),
        (name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None, "the path is absolute"),
        (".." in parts, "the path points outside the folder"),
        (parts[:1] == [STATE], f"the path is in {STATE}, which is reserved"),
        (sum(sizes) + len(sizes) > MAX_NAME or max(sizes, default=0) > MAX_PART, "the name is too long"),
    )
    return next((fault for found, fault in checks if found), None)


def _too_many(archive: str) -> DataError:
    return refused(archive, f"it has more than {MAX_ENTRIES} entries")


# -- zip


def _zip(path: Path, stack: ExitStack) -> Opened:
    _check_directory(path)
    archive = stack.enter_context(zipfile.ZipFile(path))
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise _too_many(path.name)
    entries = [entry for info in infos if (entry := _zip_entry(path.name, info)) is not None]
    return Opened(path.name, _checked(path.name, entries, path.stat().st_size), lambda entry: archive.open(entry.info))


def _zip_entry(archive: str, info: zipfile.ZipInfo) -> Entry | None:
    """One file; None for a folder, which is made where a file needs it."""
    name = _clean(archive, info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused(archive, "a symbolic link" if kind == stat.S_IFLNK else "not a file or folder", name)
    if info.flag_bits & 1:
        raise refused(archive, "encrypted", name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(archive, f"uses the unsupported compression method {info.compress_type}", name)
    if info.file_size > SMALL and info.file_size > MAX_RATIO * info.compress_size:
        raise refused(archive, f"{info.compress_size} bytes would be unpacked to {info.file_size}", name)
    if info.orig_filename.endswith("/") or kind == stat.S_IFDIR:
        return None
    if not name:
        raise refused(archive, "an entry without a name")
    return Entry(name, info.file_size, info)


def _check_directory(path: Path) -> None:
    """Raise DataError where the list of entries, which is read at once, is too large."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - 2**16 - 22))
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        if end < 0 or end + 22 > len(tail):
            raise refused(path.name, "truncated or damaged: it has no list of entries")
        count, length = int.from_bytes(tail[end + 10 : end + 12], "little"), tail[end + 12 : end + 16]
        directory = int.from_bytes(length, "little")
        locator = tail[end - 20 : end] if end >= 20 else b""
        if locator[:4] == b"PK\6\7":  # zip64: the real numbers stand elsewhere
            file.seek(min(int.from_bytes(locator[8:16], "little"), size))
            record = file.read(56)
            count, directory = (int.from_bytes(record[at : at + 8], "little") for at in (32, 40))
    if count > MAX_ENTRIES:
        raise _too_many(path.name)
    if directory > MAX_DIRECTORY:
        raise refused(path.name, f"its list of entries takes {directory} bytes")


# -- tar


def _tar(parts: Sequence[Path], stack: ExitStack, name: str) -> Opened:
    stream = stack.enter_context(_Bounded(_Joined(parts, stack), PIECE))
    archive = stack.enter_context(tarfile.TarFile(fileobj=stream))
    entries = list(_tar_entries(archive, name))
    stream.seek(archive.offset)
    if stream.read(BLOCK) != bytes(BLOCK):  # an archive ends in blocks of zeros
        raise refused(name, f"truncated or damaged after {len(entries)} files")

    def read(entry: Entry) -> IO[bytes]:
        data = archive.extractfile(entry.info)
        assert data is not None
        return data

    return Opened(name, _checked(name, entries, sum(part.stat().st_size for part in parts)), read)


def _tar_entries(archive: tarfile.TarFile, name: str) -> Iterator[Entry]:
    count = 0
    while (info := archive.next()) is not None:
        count += 1
        if count > MAX_ENTRIES:
            raise _too_many(name)
        clean = _clean(name, info.name)
        if info.isdir():
            continue
        fault = _tar_fault(info)
        if fault is not None:
            raise refused(name, fault, clean)
        if info.size < 0 or not clean:
            raise refused(name, f"an entry of {info.size} bytes called {clean!r}", clean)
        yield Entry(clean, info.size, info)


def _tar_fault(info: tarfile.TarInfo) -> str | None:
    """Why an entry is not a plain file; the verdict of `tarfile`'s own filter counts, too."""
    if info.issym() or info.islnk():
        return "a symbolic link" if info.issym() else "a hard link"
    if info.issparse():
        return "a sparse file"
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
        try:
            tarfile.data_filter(info, os.curdir)
        except tarfile.FilterError as error:
            return _first_line(error)
    return None if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else "a special file"


class _Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, paths: Sequence[Path], stack: ExitStack) -> None:
        self._files = [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
        self._sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: sum(self._sizes)}[whence]
        if start + offset < 0:
            raise ValueError("an offset before the beginning")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        start = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if self._place < start + size:
                file.seek(self._place - start)
                count: int = file.readinto(memoryview(buffer)[: start + size - self._place])
                self._place += count
                return count
            start += size
        return 0


class _Bounded(io.BufferedReader):
    """Refuses to read at once what no sound header claims: tarfile would ask for memory first."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
