"""What planning puts aside until the run begins: in files without a name, so that nothing is ever left behind."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from kvl_eval.decode import Json
from kvl_eval.store.journal import storing
from kvl_eval.types import DrawnFrame, ImageRef, PdfRef, Sample, SubtitleRef, VideoRef

CHUNK = 1 << 20  # bytes
KIND = "@"  # in a JSON object: what it stands for
RECORDS: Mapping[str, Callable[..., object]] = {
    one.__name__: one for one in (Sample, ImageRef, VideoRef, PdfRef, SubtitleRef, DrawnFrame)
}


class PlanLines:
    """The lines of plan.jsonl, in a file in a folder; where it cannot be written yet, in what it will lie in.

    Attributes:
        size:   bytes.
        folder: where the file is.
    """

    def __init__(self, near: Path) -> None:
        self.size = 0
        self.folder, self._file = _file_near(near)
        weakref.finalize(self, _discard, self._file)
        self._digest = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """One line more. Raises StorageError."""
        self.size += len(line)
        self._digest.update(line)
        with storing(self.folder):
            self._file.write(line)

    @property
    def sha256(self) -> str:
        """The hash of plan.jsonl."""
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes of plan.jsonl."""
        with storing(self.folder):
            self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk


class ChosenSamples:
    """The samples of one task, put aside by a plan that has read the data twice already.

    Samples of an own task may hold what cannot be written; then `is_complete` is False, and they are read again.
    """

    def __init__(self, folder: Path) -> None:
        self.is_complete = True
        self._folder = folder
        with storing(self._folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with its owner
        weakref.finalize(self, _discard, self._file)

    def add(self, sample: Sample) -> None:
        """One sample more. Raises StorageError."""
        if not self.is_complete:
            return
        try:
            data = json.dumps(_plain(sample)).encode() + b"\n"
        except (TypeError, RecursionError):
            self.is_complete = False
            self._file.close()
            return
        with storing(self._folder):
            self._file.write(data)

    def __iter__(self) -> Iterator[Sample]:
        with storing(self._folder):
            self._file.seek(0)
        while line := self._file.readline():
            yield cast(Sample, _restored(json.loads(line)))


def _discard(file: IO[bytes]) -> None:
    """Close a file that is not needed, whatever the disk says."""
    with suppress(OSError):
        file.close()


def _plain(value: object) -> Json:
    """A sample or part of one as a JSON value from which `_restored` makes it again.

    Raises: TypeError for what is none of the exact types that samples are made of.
    """
    kind = type(value)
    if value is None or kind in (str, bool, int, float):
        return cast(Json, value)
    if kind is bytes:
        return {KIND: "bytes", "value": base64.b64encode(cast(bytes, value)).decode()}
    if kind in (list, tuple):
        items = [_plain(item) for item in cast(Sequence[object], value)]
        return items if kind is list else {KIND: "tuple", "value": items}
    if kind is dict and all(type(key) is str and key != KIND for key in cast(dict[object, object], value)):
        return {key: _plain(item) for key, item in cast(dict[str, object], value).items()}
    if kind in RECORDS.values():
        fields = dataclasses.fields(cast(Sample, value))
        return {KIND: kind.__name__, **{field.name: _plain(getattr(value, field.name)) for field in fields}}
    raise TypeError(f"{kind.__name__} cannot be stored")


def _restored(value: Json) -> object:
    """What `_plain` was given."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind == "bytes":
        return base64.b64decode(cast(str, value["value"]))
    if kind == "tuple":
        return tuple(_restored(item) for item in cast(list[Json], value["value"]))
    fields = {name: _restored(item) for name, item in value.items() if name != KIND}
    return fields if kind is None else RECORDS[cast(str, kind)](**fields)


def _file_near(path: Path) -> tuple[Path, IO[bytes]]:
    """A file in a folder, in what the folder will lie in, or where the system has its temporary files."""
    path = path.absolute()
    nearest = next((folder for folder in (path, *path.parents) if folder.is_dir()), path)
    with suppress(OSError):
        return nearest, tempfile.TemporaryFile(dir=nearest)
    folder = Path(tempfile.gettempdir())
    with storing(folder):
        return folder, tempfile.TemporaryFile(dir=folder)
