"""Small copies of pictures, frames and pages for the sample browser: re-encoded, never active content.

A picture is named by the hash of its file, a frame or page by the hash of its video or document and its number. Of one
sample at most `MOST_OF_SAMPLE` are kept, spread evenly; a report holds at most `MOST`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kvl_eval.errors import KvlEvalError
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import Record
from kvl_eval.types import MediaInfo

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = {"frame": 256, "page": 420}  # longest side in pixels of what comes in numbers
SIDE = 640  # of a picture
MOST_OF_SAMPLE = 12
MOST = 4000  # in one report
FEW_COLOURS = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}")

P = TypeVar("P")
Media = Callable[[str, str, Sequence[MediaInfo]], "Iterator[tuple[str, Image]]"]
"""(task, sample id, entries of its record) -> (name, picture) of those that can be reached."""


def picture_name(medium: MediaInfo) -> str | None:
    """The name of a picture's small copy, without its ending; None where its hash is none."""
    if not _SHA256.fullmatch(medium.sha256):
        return None
    numbered = medium.index is not None and medium.kind in SIDES
    return f"{medium.sha256}-{medium.index}" if numbered else medium.sha256


def spread(media: Sequence[P]) -> list[P]:
    """At most `MOST_OF_SAMPLE` of a sample's pictures, evenly spread, the first and the last among them."""
    if len(media) <= MOST_OF_SAMPLE:
        return list(media)
    last = len(media) - 1
    return [media[round(place * last / (MOST_OF_SAMPLE - 1))] for place in range(MOST_OF_SAMPLE)]


class Thumbnails:
    """`media/` of a report: pictures stored with the run are copied, others come from `media` if it is given."""

    def __init__(self, folder: Path, media: Media | None = None) -> None:
        self._folder = folder
        self._out = OutputFolder(folder)
        self._media = media
        self._count = 0

    def store(self, record: Record, stored: Path) -> set[str]:
        """Names of the record's pictures that `media/` holds now; `stored` is where the run may keep thumbnails."""
        wanted = {name: one for one in spread(record.media) if (name := picture_name(one)) is not None}
        missing = [one for name, one in wanted.items() if not self._have(name, stored)]
        if missing and self._media is not None and self._count < MOST:
            sides = {name: SIDES.get(one.kind, SIDE) for name, one in wanted.items()}
            try:
                for name, picture in self._media(record.task, record.sample_id, missing):
                    if name in sides:
                        self._write(picture, name, sides[name])
            except KvlEvalError:  # a broken picture: the page shows a placeholder with its hash
                pass
        return {name for name in wanted if (self._folder / f"{name}.webp").is_file()}

    def _have(self, name: str, stored: Path) -> bool:
        ours, theirs = self._folder / f"{name}.webp", stored / f"{name}.webp"
        if not ours.is_file() and theirs.is_file() and _is_webp(theirs):
            self._out.write([theirs.read_bytes()], ours.name)
        return ours.is_file()

    def _write(self, picture: Image, name: str, side: int) -> None:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        self._out.write([_encoded(small)], f"{name}.webp")
        self._count += 1


def _encoded(picture: Image) -> bytes:
    """The picture as WebP: exact where it has so few colours that this is small too."""
    forms = []
    drawn = picture.getcolors(FEW_COLOURS) is not None
    for options in ({"quality": 75}, {"lossless": True}) if drawn else ({"quality": 75},):
        encoded = BytesIO()
        picture.save(encoded, "WEBP", **options)
        forms.append(encoded.getvalue())
    return min(forms, key=len)


def _is_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"
