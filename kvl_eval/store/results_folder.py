"""What a results folder was before a run folder was made in it, and putting it back when that run is refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.errors import StorageError
from kvl_eval.store.run_list import write_index

INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """A results folder at one time.

    Attributes:
        path:      the folder.
        missing:   it and those above it that did not exist, the outermost first.
        has_index: whether `index.json` was there.
    """

    path: Path
    missing: tuple[Path, ...]
    has_index: bool

    @staticmethod
    def of(path: Path) -> ResultsFolder:
        """The folder as it is now."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        return ResultsFolder(path, tuple(reversed(missing)), (path / INDEX).exists())

    def restore(self) -> None:
        """Take away what is left of a run that was removed: its line in `index.json`, and folders made for it."""
        if not self.path.is_dir():
            return
        if self.has_index or any((folder / "run.json").is_file() for folder in self.path.iterdir()):
            with suppress(StorageError):  # what went wrong before counts
                write_index(self.path)
        else:
            (self.path / INDEX).unlink(missing_ok=True)
        for folder in reversed(self.missing):
            with suppress(OSError):  # another process has put something there
                folder.rmdir()
