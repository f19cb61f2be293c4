"""A folder that exports and reports are written into, and nothing outside of it: the one door for their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kvl_eval.errors import StorageError
from kvl_eval.store.journal import Disk

MOST_BYTES = 255  # of one name


class OutputFolder:
    """Writes files below `root`, whatever they are called; parts of names come from `names.file_name` or are ours.

    Attributes:
        written: the names of the files that `write` put in place, `data/index.js`.
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root = root
        self.written: set[str] = set()
        self._disk = disk or Disk()

    @staticmethod
    def inside(run: Path, *parts: str) -> OutputFolder:
        """The folder of these names in a run folder. Raises StorageError `storage.outside`, for a link that leaves."""
        return OutputFolder(OutputFolder(run).path(*parts))

    def path(self, *parts: str) -> Path:
        """Where a file of these names lies. Raises StorageError `storage.outside` where that is not below `root`."""
        path = self.root.joinpath(*parts)
        is_plain = all(map(_is_plain, parts)) and bool(parts)
        if not is_plain or not path.resolve().is_relative_to(self.root.resolve()):
            raise StorageError(
                "storage.outside",
                f"{'/'.join(parts)} would be written outside {self.root}",
                why="file names are checked, and links are not followed",
                fix="use another folder or remove the link",
            )
        return path

    def write(self, chunks: Iterable[bytes], *parts: str) -> Path:
        """Put a whole file in place and return its path. Raises StorageError."""
        path = self.path(*parts)
        self._disk.replace(path, chunks)
        self.written.add("/".join(parts))
        return path


def _is_plain(name: str) -> bool:
    """Whether a name is one part of a path and leads nowhere else."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return name not in ("", ".", "..") and 0 < size <= MOST_BYTES and not any(char in name for char in "/\\\0")
