"""Pictures that a table names instead of holding: in a folder or zip archive beside it, or in another row."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from kvl_eval.sources.base import Row
from kvl_eval.types import ImageRef


class NamedPictures:
    """Finds pictures by the name a row gives: in `root`, in `folders` of it, or in a zip archive.

    Args:
        root:    the data folder; None where there is none, and nothing is found.
        folders: names of folders that hold pictures; they and the archives lie at most two folders deep.
    """

    def __init__(self, root: Path | None, folders: Sequence[str] = ()) -> None:
        self._root = root
        self._folders = folders

    def find(self, file: str, *, name: str, where: str) -> ImageRef:
        """The picture called `file`, unopened; a name that is nowhere becomes a reference to nothing at that path."""
        label, root = f"{name} ({where})", None if self._root is None else str(self._root)
        wanted = PurePosixPath(file.replace("\\", "/"))
        if self._root is None or wanted.is_absolute() or ".." in wanted.parts:
            return ImageRef(name=label, path=file, root=root)
        for home in self._homes:
            if (self._root / home / wanted).is_file():
                return ImageRef(name=label, path=str(home / wanted), root=root)
        archive, member = self._members.get(str(wanted), (None, None))
        return ImageRef(name=label, path=None if archive else file, archive=archive, member=member, root=root)

    def _below(self, pattern: str) -> list[Path]:
        """What matches in the data folder, the nearest first, without hidden folders."""
        assert self._root is not None
        found = [path for depth in ("", "*/", "*/*/") for path in sorted(self._root.glob(depth + pattern))]
        return [path for path in found if not any(part[0] == "." for part in path.relative_to(self._root).parts)]

    @cached_property
    def _homes(self) -> list[PurePosixPath]:
        assert self._root is not None
        folders = [path for name in self._folders for path in self._below(name) if path.is_dir()]
        homes = [self._root, *(home for path in folders for home in (path, path.parent))]
        return [PurePosixPath(home.relative_to(self._root)) for home in dict.fromkeys(homes)]

    @cached_property
    def _members(self) -> dict[str, tuple[str, str]]:
        """{name, with and without each leading folder: (archive, member)}; the first archive that has it wins."""
        assert self._root is not None
        found: dict[str, tuple[str, str]] = {}
        for path in self._below("*.zip"):
            archive = str(path.relative_to(self._root))
            for member in _member_names(path):
                parts = PurePosixPath(member).parts
                for start in range(len(parts)):
                    found.setdefault("/".join(parts[start:]), (archive, member))
        return found


def _member_names(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [name for name in opened.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, OSError):
        return []  # its pictures are then missing, each reported where it is opened


def shared_cells(rows: Iterator[Row], column: str = "image") -> Iterator[Row]:
    """`rows` with pictures that VLMEvalKit's tables give by another row's `index` put in place.

    To save space, a cell there may hold, instead of base64, the index of an earlier row with the same picture.
    """
    seen: dict[str, str] = {}
    for row in rows:
        cell, index = row.values.get(column), row.values.get("index")
        if isinstance(cell, str) and index is not None:
            if len(cell) > 64:
                seen[str(index)] = cell
            elif cell in seen:
                row = Row({**row.values, column: seen[cell]}, row.where)
        yield row


def picture_key(ref: ImageRef) -> str | None:
    """A short name for a picture that has none, equal for equal bytes, so that questions about it can be grouped."""
    return None if ref.data is None else hashlib.sha1(ref.data, usedforsecurity=False).hexdigest()[:16]
