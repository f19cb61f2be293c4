"""The media of a row of an own table, and the places that its question gives the images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kvl_eval.cells import is_gap, shortened, written_value
from kvl_eval.errors import DataError
from kvl_eval.sources.cells import LONGEST_PATH, image_ref
from kvl_eval.types import ImageRef, MediaRef, PdfRef, VideoRef

FORMS = (
    'a path below the table\'s folder, a data URI, base64, {"path"}, {"bytes"}, {"url": "data:..."}, or a list of them'
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MARK = re.compile(r"<image(?:[ _]?(\d{1,3}))?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MediaCell:
    """A cell with media, and where it stands; `root` is the folder that their paths may not leave."""

    value: object
    column: str
    root: Path
    where: str

    def images(self) -> tuple[ImageRef, ...]:
        """Its images, unopened; () for a gap. Raises: DataError `data.field`."""
        return tuple(self._image(item, number) for number, item in enumerate(self._items(), 1))

    def videos(self) -> tuple[VideoRef, ...]:
        """Its videos, unopened; () for a gap. Raises: DataError `data.field`, also for anything but a path."""
        refs = []
        for number, item in enumerate(self._items(), 1):
            path = item.get("path") if isinstance(item, Mapping) else item
            if not isinstance(path, str) or is_gap(path) or len(path) > LONGEST_PATH or path.startswith("data:"):
                raise self._fault(item, "expected a path below the table's folder, or a list of paths")
            self._refuse_address(path)
            self._check_path(path.strip())
            name = f"video:{number} ({self.where})"
            refs.append(VideoRef(name=name, path=path.strip(), root=str(self.root)))
        return tuple(refs)

    def documents(self) -> tuple[PdfRef, ...]:
        """Its documents, unopened; () for a gap. Raises: DataError `data.field`."""
        refs = []
        for number, item in enumerate(self._items(), 1):
            ref = self._image(item, number)
            if ref.path is not None and not ref.path.casefold().endswith(".pdf"):
                raise self._fault(item, "expected a path that ends in .pdf, a data URI, base64 or bytes")
            name = f"document:{number} ({self.where})"
            refs.append(PdfRef(name=name, path=ref.path or "", root=ref.root, data=ref.data))
        return tuple(refs)

    def _items(self) -> Sequence[object]:
        value = self.value
        if is_gap(value):
            return ()
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            written = written_value(value)
            value = written if isinstance(written, list | tuple | Mapping) else value
        return value if isinstance(value, list | tuple) else (value,)

    def _image(self, item: object, number: int) -> ImageRef:
        value = self._content(item)
        if value is None or is_gap(value) or not isinstance(value, str | bytes | bytearray):
            raise self._fault(item, f"expected {FORMS}")
        if isinstance(value, str):
            self._refuse_address(value)
        ref = image_ref(value, name=f"image:{number}", root=self.root, where=self.where)
        if ref.path is not None:  # neither base64 nor a data URI
            self._check_path(ref.path)
        return ref

    def _refuse_address(self, text: str) -> None:
        if _is_address(text.strip()):
            raise self._fault(text, "addresses are not fetched", "download the files and give their paths")

    def _content(self, item: object) -> object:
        """What an item holds: bytes, or a path, base64 or a data URI as text."""
        if not isinstance(item, Mapping):
            return item
        if not is_gap(item.get("bytes")):
            data = item["bytes"]
            return f"data:;base64,{data}" if isinstance(data, str) else data
        return item.get("path") or item.get("url")

    def _check_path(self, text: str) -> None:
        """Raises: DataError, for a path that leaves the folder."""
        path = PurePosixPath(text.replace("\\", "/"))
        leaves = path.is_absolute() or _SCHEME.match(text) is not None or ".." in path.parts or "\0" in text
        if leaves or _leads_out(self.root, path):
            why = f"the path leaves the folder {self.root}"
            raise self._fault(text, why, "--data-dir PARENT, and paths relative to it")

    def _fault(self, value: object, why: str, fix: str | None = None) -> DataError:
        return DataError("data.field", f"{self.column} is {shortened(value)}", where=self.where, why=why, fix=fix)


def _is_address(text: str) -> bool:
    """Whether a text begins with a scheme, `data:` and a drive's letter apart."""
    scheme = _SCHEME.match(text[:80])
    return scheme is not None and len(scheme[0]) > 2 and scheme[0].casefold() != "data:"


def _leads_out(root: Path, path: PurePosixPath) -> bool:
    """Whether links lead out of `root`; nothing is opened."""
    folder = os.path.realpath(root)
    try:
        return not Path(os.path.realpath(os.path.join(folder, path))).is_relative_to(folder)
    except ValueError:  # a name that no file can have
        return False


def marks_fit(text: str, images: int) -> bool:
    """Whether the marks `<image>`, `<image 2>` of a text are none, or one for each of its images."""
    marks = _MARK.findall(text)
    numbers = sorted({int(number) for number in marks if number})
    bare = sum(not number for number in marks)
    return not marks or (bare == images if not numbers else not bare and numbers == list(range(1, images + 1)))


def check_marks(text: str, images: int, where: str) -> None:
    """Raises: DataError `data.field`, unless the marks `<image>`, `<image 2>` of a text are none or fit its images."""
    if not marks_fit(text, images):
        marks = _MARK.findall(text)
        numbers = sorted({int(number) for number in marks if number})
        bare = sum(not number for number in marks)
        raise DataError(
            "data.field",
            f"the question marks {numbers[-1] if numbers and not bare else len(marks)} images, the row has {images}",
            where=where,
            why="as many marks <image>, or <image 1>, <image 2>, ..., as images; without a mark images come first",
        )


def placed(media: Sequence[MediaRef], text: str) -> list[MediaRef | str]:
    """Videos and documents, then a text cut at its marks, each replaced by its image; without any images come first."""
    pieces = _MARK.split(text)
    if len(pieces) == 1:
        return [*media, text]
    images = [ref for ref in media if isinstance(ref, ImageRef)]
    parts: list[MediaRef | str] = [ref for ref in media if not isinstance(ref, ImageRef)]
    for place, piece in enumerate(pieces):
        if place % 2:
            parts.append(images[int(piece) - 1 if piece else place // 2])
        elif piece:
            parts.append(piece)
    return parts
