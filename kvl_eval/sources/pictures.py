"""Pictures that a table names instead of holding: in a folder or zip archive beside it, or in another row."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from kvl_eval.sources.base import Row
from kvl_eval.sources.cells import image_ref
from kvl_eval.types import ImageRef


class NamedPictures:
    """Finds pictures by the name a row gives: below `root`, below its `folders`, or in a zip archive in `root`.

    Args:
        root:     the data folder; None where there is none, and nothing is found.
        folders:  folders in it, any depth, that hold pictures; also what archives may have on top.
        archives: names of archives in it, wildcards allowed.
    """

    def __init__(self, root: Path | None, folders: Sequence[str] = (), archives: Sequence[str] = ("*.zip",)) -> None:
        self._root = root
        self._folders = folders
        self._archives = archives

    def find(self, file: str, *, name: str, where: str) -> ImageRef:
        """The picture called `file`, unopened; a name that is nowhere becomes a reference to nothing at that path."""
        for folder in ("", *self._folders):
            path = str(PurePosixPath(folder, file.replace("\\", "/")))
            if self._root is not None and ".." not in PurePosixPath(path).parts and (self._root / path).is_file():
                return image_ref(path, name=name, root=self._root, where=where)
        archive, member = self._members.get(file, (None, None))
        if archive is None:
            return ImageRef(name=f"{name} ({where})", path=file, root=None if self._root is None else str(self._root))
        return ImageRef(name=f"{name} ({where})", archive=archive, member=member, root=str(self._root))

    @cached_property
    def _members(self) -> dict[str, tuple[str, str]]:
        """{name, with and without each leading folder: (archive, member)}; the first archive that has it wins."""
        found: dict[str, tuple[str, str]] = {}
        root = self._root or Path()
        for path in sorted({path for pattern in self._archives for path in root.glob(pattern)} if self._root else ()):
            for member in _member_names(path):
                parts = PurePosixPath(member).parts
                for start in range(len(parts)):
                    found.setdefault("/".join(parts[start:]), (path.name, member))
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
