"""Small copies of pictures for the sample browser: always re-encoded, named by content hash, never active content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvl_eval.errors import KvlEvalError
from kvl_eval.store.journal import Disk

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 640  # longest side in pixels
MOST = 4000  # pictures kept in one report
_SHA256 = re.compile(r"[0-9a-f]{64}")

Media = Callable[[str, str], "Mapping[str, Image]"]
"""(task, sample id) -> {sha256 of the file: picture} of what can be reached."""


class Thumbnails:
    """`media/` of a report: pictures stored with the run are copied, others come from `media` if it is given."""

    def __init__(self, folder: Path, media: Media | None = None) -> None:
        self._folder = folder
        self._media = media
        self._kept = 0

    def store(self, record: dict[str, Any], stored: Path) -> set[str]:
        """Hashes of the record's pictures that `media/` holds now; `stored` is where the run may keep thumbnails."""
        wanted = [one["sha256"] for one in record["media"] if _SHA256.fullmatch(str(one["sha256"]))]
        missing = [sha for sha in wanted if not self._have(sha, stored)]
        if missing and self._media is not None and self._kept < MOST:
            pictures = self._pictures(record)
            for sha in pictures.keys() & set(missing):
                self._write(pictures[sha], sha)
        return {sha for sha in wanted if (self._folder / f"{sha}.webp").is_file()}

    def _pictures(self, record: dict[str, Any]) -> Mapping[str, Image]:
        assert self._media is not None
        try:
            return self._media(record["task"], record["sample_id"])
        except KvlEvalError:  # a broken picture: the page shows a placeholder with its hash
            return {}

    def _have(self, sha: str, stored: Path) -> bool:
        ours, theirs = self._folder / f"{sha}.webp", stored / f"{sha}.webp"
        if not ours.is_file() and theirs.is_file() and _is_webp(theirs):
            Disk().replace(ours, [theirs.read_bytes()])
        return ours.is_file()

    def _write(self, picture: Image, sha: str) -> None:
        small = picture.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        encoded = BytesIO()
        small.save(encoded, "WEBP", quality=80)
        Disk().replace(self._folder / f"{sha}.webp", [encoded.getvalue()])
        self._kept += 1


def _is_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"
