"""Videos, documents and subtitles that a table names instead of holding: files below the data folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from kvl_eval.sources.base import Source


class MediaFiles:
    """Finds files by the names a row gives, in `folders` of the data folder; nothing is opened.

    Args:
        root:    the data folder; None where there is none, and every file is taken for missing.
        folders: where files of this kind lie, the usual one first; `.` is the data folder itself. They are looked for
                 in the data folder and in the folders directly below it.
    """

    def __init__(self, root: Path | None, folders: Sequence[str]) -> None:
        self.root = None if root is None else str(root)
        self._root = root
        self._folders = folders

    @property
    def any_folder(self) -> bool:
        """Whether one of the folders exists."""
        return bool(self._homes)

    def find(self, *names: str) -> str | None:
        """The first of `names` that exists, as a path relative to the data folder; None where none does."""
        for home in self._homes:
            for name in names:
                if _is_plain(name) and self._root is not None and os.path.isfile(self._root / home / name):
                    return str(home / name)
        return None

    def expected(self, name: str) -> str:
        """Where a missing file should be: opening it reports that it is missing there."""
        return name if self._folders[0] == "." else f"{self._folders[0]}/{name}"

    @cached_property
    def _homes(self) -> list[PurePosixPath]:
        if self._root is None:
            return []
        found = [path for depth in ("", "*/") for name in self._folders for path in _folders(self._root, depth, name)]
        return [PurePosixPath(path.relative_to(self._root)) for path in dict.fromkeys(found)]


def media_home(source: Source) -> Path | None:
    """The folder that holds a data set's videos: `data_dir`, else where archives of the hub's copy are unpacked.

    That is `media/{owner}--{name}`, of a named revision `media/{owner}--{name}@{revision}`, below the cache folder, or
    below `kvl-eval` beside the hub client's cache where none was given; it need not exist.
    """
    if source.data_dir is not None or source.repo is None:
        return source.data_dir
    name = source.repo + (f"@{source.revision}" if source.revision else "")
    return cache_home(source.cache_dir) / "media" / name.replace("/", "--")


def cache_home(cache_dir: Path | None) -> Path:
    """Where unpacked archives and decoded media go: `--cache-dir`, or `kvl-eval` beside the hub client's cache."""
    if cache_dir is not None:
        return cache_dir
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "kvl-eval"


def _folders(root: Path, depth: str, name: str) -> list[Path]:
    if name == ".":
        return [root] if not depth else []
    return [path for path in sorted(root.glob(depth + name)) if path.is_dir() and path.parent.name[:1] != "."]


def _is_plain(name: str) -> bool:
    """A name that stays below the folder it is looked for in."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts
