"""Decoded frames and rendered pages on disk, so that a second question or a second model decodes nothing.

An entry is one file named by the hash of its key: a zip archive, stored without compression, of PNG pictures and one
JSON list of facts. It is written beside its place and renamed when complete, so that a reader sees all of it or
nothing, however many runs share the folder; a run that reads an entry another run evicts keeps its open file. Each
entry is checked against the archive's checksums before it is used, and a broken one is removed and made again.

Least recently used goes first: reading sets a file's modification time, and every `publish` that takes the folder over
its limit removes the oldest until a tenth is free. Of runs that write at the same time each counts for itself, so the
folder may for moments exceed its limit by what they write.

Why not a cache library: diskcache keeps its values as pickles in a database unless every one is bytes, locks that
database for each read's bookkeeping, and does not stream; this takes a page of code and the file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from kvl_eval.errors import ConfigError

log = logging.getLogger(__name__)

FORMAT = 1  # of entries; a change makes all older ones unknown
LIMIT = 20 * 2**30  # bytes
STALE = 3600.0  # seconds after which a half-written file belongs to nobody
FACTS = "facts.json"
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError)


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is known of a frame or page: its number, the seconds at which a frame is shown, what is odd about it."""

    index: int
    timestamp: float | None = None
    note: str | None = None
    flags: tuple[str, ...] = ()  # of what is odd about it, what may change an answer


CachedPicture = tuple[Image.Image, PictureFacts]


@dataclass(frozen=True, slots=True)
class MediaCache:
    """Pictures by key, in a folder of at most `limit` bytes. Its failures are logged and never end a sample."""

    folder: Path
    limit: int = LIMIT

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(
                "config.cache", f"invalid size of the media cache: {self.limit} bytes", fix="use a positive size"
            )

    def pictures(self, key: Mapping[str, object], make: Iterable[CachedPicture]) -> Iterator[CachedPicture]:
        """The pictures under a key: from the folder, or else from `make`, which are kept as they pass.

        Args:
            key:  everything the pictures depend on, as JSON values.
            make: RGB pictures, each with its facts; consumed only where the folder has none.
        """
        path = self._path(key)
        stored = _open(path)
        if stored is None:
            yield from self._kept(path, make)
            return
        with stored:
            with contextlib.suppress(OSError):
                os.utime(path)
            for number, facts in enumerate(_facts(stored)):
                with Image.open(BytesIO(stored.read(_member(number))), formats=("PNG",)) as image:
                    image.load()
                yield image, facts

    def _path(self, key: Mapping[str, object]) -> Path:
        text = json.dumps([FORMAT, key], sort_keys=True, ensure_ascii=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.zip"

    def _kept(self, path: Path, make: Iterable[CachedPicture]) -> Iterator[CachedPicture]:
        """What `make` gives, and the same on disk once it came to its end."""
        draft = _Draft.begin(path)
        try:
            for image, facts in make:
                if draft is not None and not draft.add(image, facts):
                    draft = None
                yield image, facts
            if draft is not None and draft.publish():
                self._evict()
            draft = None
        finally:
            if draft is not None:
                draft.drop()

    def _evict(self) -> None:
        """Remove the least recently used entries where the folder is over its limit, and what crashes left."""
        found, total, now = [], 0, time.time()
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):  # another run was faster
                facts = path.stat()
                if path.suffix == ".part" and now - facts.st_mtime > STALE:
                    path.unlink()
                    continue
                total += facts.st_size
                if path.suffix == ".zip":
                    found.append((facts.st_mtime_ns, facts.st_size, path))
        if total <= self.limit:
            return
        for _, size, path in sorted(found):
            if total <= self.limit * 9 // 10:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


@dataclass(slots=True)
class _Draft:
    """An entry being written."""

    target: Path
    path: Path
    archive: zipfile.ZipFile
    facts: list[PictureFacts]

    @staticmethod
    def begin(target: Path) -> _Draft | None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=target.stem[:16], suffix=".part", dir=target.parent)
            os.close(handle)
            return _Draft(target, Path(name), zipfile.ZipFile(name, "w"), [])
        except OSError as error:
            log.warning("cannot write the media cache: %s", error)
            return None

    def add(self, image: Image.Image, facts: PictureFacts) -> bool:
        """Whether the picture was written; if not, the draft is gone."""
        buffer = BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        try:
            self.archive.writestr(_member(len(self.facts)), buffer.getvalue())
        except OSError as error:
            log.warning("cannot write the media cache: %s", error)
            self.drop()
            return False
        self.facts.append(facts)
        return True

    def publish(self) -> bool:
        try:
            self.archive.writestr(FACTS, json.dumps([asdict(facts) for facts in self.facts]))
            self.archive.close()
            os.replace(self.path, self.target)
        except OSError as error:
            log.warning("cannot write the media cache: %s", error)
            self.drop()
            return False
        return True

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self.archive.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _open(path: Path) -> zipfile.ZipFile | None:
    """A complete entry, its checksums verified; None where there is none."""
    try:
        stored = zipfile.ZipFile(path)
    except FileNotFoundError:
        return None
    except _BROKEN as error:
        _remove(path, error)
        return None
    try:
        names = {_member(number) for number in range(len(_facts(stored)))}
        broken = stored.testzip() if names == {*stored.namelist()} - {FACTS} else FACTS
        if broken is None:
            return stored
        raise ValueError(f"{broken} does not match its checksum")
    except _BROKEN as error:
        stored.close()
        _remove(path, error)
        return None


def _facts(stored: zipfile.ZipFile) -> list[PictureFacts]:
    return [
        PictureFacts(**{**facts, "flags": tuple(facts.get("flags", ()))}) for facts in json.loads(stored.read(FACTS))
    ]


def _remove(path: Path, error: Exception) -> None:
    log.warning("removed a broken entry of the media cache: %s: %s", path.name, error)
    with contextlib.suppress(OSError):
        path.unlink()


def _member(number: int) -> str:
    return f"{number:05d}.png"
