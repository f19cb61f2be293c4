"""What planning puts aside until the run begins: in files without a name, so that nothing is ever left behind."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kvl_eval.store.journal import storing
from kvl_eval.types import Sample

CHUNK = 1 << 20  # bytes


class PlanLines:
    """The lines of plan.jsonl, in a file in a folder or, where that does not exist, in what it will lie in.

    Attributes:
        size:   bytes.
        folder: where the file is.
    """

    def __init__(self, near: Path) -> None:
        self.size = 0
        self.folder = _folder_near(near)
        self._digest = hashlib.sha256()
        with storing(self.folder):
            self._file = _file_of(self, self.folder)

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
            self._file = _file_of(self, self._folder)

    def add(self, sample: Sample) -> None:
        """One sample more. Raises StorageError."""
        if not self.is_complete:
            return
        try:
            data = pickle.dumps(sample, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
            self.is_complete = False
            self._file.close()
            return
        with storing(self._folder):
            self._file.write(data)

    def __iter__(self) -> Iterator[Sample]:
        with storing(self._folder):
            self._file.seek(0)
        while True:
            try:
                sample: Sample = pickle.load(self._file)
            except EOFError:
                return
            yield sample


def _folder_near(path: Path) -> Path:
    """The folder or what it will lie in; the system's folder for temporary files where that is not writable."""
    path = path.absolute()
    nearest = next((folder for folder in (path, *path.parents) if folder.is_dir()), path)
    return nearest if os.access(nearest, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _file_of(owner: object, folder: Path) -> IO[bytes]:
    """A file that is closed, and so gone, with its owner."""
    file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with its owner
    weakref.finalize(owner, file.close)
    return file
