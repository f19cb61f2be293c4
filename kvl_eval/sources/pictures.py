"""Pictures of a table's rows: in its cells, in a folder or zip archive beside it, or in another row."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from kvl_eval.rows import Row, numbered
from kvl_eval.sources.base import STRICT, Reporter, Source
from kvl_eval.sources.cells import image_ref
from kvl_eval.sources.rows import made_from
from kvl_eval.types import ImageRef, Sample

IMAGE_COLUMNS = tuple(f"image_{number}" for number in range(1, 8))
FILE_COLUMNS = ("image_path", "img_filename", "imagename")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")

PicturedSample = Callable[[Row, tuple[ImageRef, ...]], Sample]
"""(row, its images) -> sample. Raises DataError."""


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
            if os.path.isfile(self._root / home / wanted):
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
    if not os.path.isfile(archive):
        return []
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
        cell, index = row.get(column), row.get("index")
        if isinstance(cell, str) and index is not None:
            if len(cell) > 64:
                seen[str(index)] = cell
            elif cell in seen:
                row = row.also({column: seen[cell]})
        yield row


def picture_key(ref: ImageRef) -> str | None:
    """A short name for a picture that has none, equal for equal bytes, so that questions about it can be grouped."""
    return None if ref.data is None else hashlib.sha1(ref.data, usedforsecurity=False).hexdigest()[:16]


def row_pictures(row: Row, pictures: NamedPictures) -> tuple[ImageRef, ...]:
    """Pictures 1, 2, ... of a row, unopened, as far as it has them; one that lacks before the last stays a gap.

    In the columns `image_1` to `image_7`; in `images` or `image`, as one cell, a list, or base64 texts in the text of
    a list; or in a file that the row names.
    """
    cells = _cells(row)
    while cells and not cells[-1]:
        cells.pop()
    return tuple(found_picture(cell, pictures, f"image:{number}", row.where) for number, cell in enumerate(cells, 1))


def _cells(row: Row) -> list[object]:
    if any(row.get(column) for column in IMAGE_COLUMNS):
        return [row.get(column) for column in IMAGE_COLUMNS]
    cell = row.get("images", "image", *FILE_COLUMNS)
    if isinstance(cell, str) and cell.startswith("["):
        return [first or second for first, second in _QUOTED.findall(cell)]
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def found_picture(cell: object, pictures: NamedPictures, name: str, where: str) -> ImageRef:
    """The picture of a cell; one that is a path is looked for among `pictures`."""
    ref = image_ref(cell, name=name, root=None, where=where)
    return ref if ref.path is None else pictures.find(ref.path, name=name, where=where)


def one_picture(row: Row, pictures: NamedPictures, file: str | None) -> ImageRef:
    """The picture of a row that shows one: its cell `image`, else the `file` that it names."""
    if not row.has("image") and file is not None:
        return pictures.find(file, name="image:1", where=row.where)
    return image_ref(row.get("image"), name="image:1", root=None, where=row.where)


def own_picture(row: Row) -> ImageRef | None:
    """The picture that the row itself holds or names under `image`; None where there is none."""
    cell = row.get("image")
    if not isinstance(cell, Mapping | bytes | str):
        return None
    return image_ref(cell, name="image:1", root=None, where=row.where)


def pictured_samples(
    rows: Iterator[Row],
    make: PicturedSample,
    source: Source,
    reporter: Reporter = STRICT,
    *,
    folders: Sequence[str] = ("images",),
    texts: Sequence[str] = ("question",),
) -> Iterator[Sample]:
    """`make` of each row with its pictures; rows get `row`, their number from 0, and `picture`, a name of the first.

    Raises: DataError, naming the row, for one that has no text under one of `texts`, or that `make` refuses.
    """
    pictures = NamedPictures(source.data_dir, folders)

    def pictured(row: Row) -> Sample:
        for name in texts:
            row.required_text(name)
        media = row_pictures(row, pictures)
        return make(row.also({"picture": picture_key(media[0]) or media[0].path}) if media else row, media)

    yield from made_from(numbered(shared_cells(rows)), pictured, reporter)


def sample_maker(make: PicturedSample) -> Callable[[Mapping[str, object]], Sample]:
    """`make` for one row of any layout, its pictures only where it holds them itself."""

    def sample(values: Mapping[str, object]) -> Sample:
        row = Row(values)
        row = Row(values, f"row {row.identity('id', 'index') or ''}".rstrip())
        return make(row, row_pictures(row, NamedPictures(None)))

    return sample


def from_values(make: Callable[[Row], Sample]) -> Callable[[Mapping[str, object]], Sample]:
    """`make` for one row of any layout."""
    return lambda values: make(Row(values))
