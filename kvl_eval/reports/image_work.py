"""Small copies of images, frames and pages, made in worker processes: of a sample's media to WebP and JPEG files.

Of each only what still has the hash that records name. JPEG files are decoded small (`draft`) and stay JPEG, which
is written eight times as fast as WebP; all else becomes WebP, written at its fastest method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvl_eval.errors import KvlEvalError
from kvl_eval.reports.thumbnails import picture_name
from kvl_eval.types import ImageRef, MediaInfo, MediaRef, PdfRef, VideoRef

if TYPE_CHECKING:
    from PIL.Image import Image

CopyForm = Literal["JPEG", "WEBP"]
JPEG_START = b"\xff\xd8"
QUALITY = 75
METHOD = 0  # of WebP: 0 is the fastest, 6 the smallest


class SmallCopy(NamedTuple):
    """A small copy: its name without ending, and its file."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """The media of one sample of which copies are wanted.

    Attributes:
        refs:  where its images, videos and documents are.
        media: what records say of those that are wanted.
        sides: {name: longest side of its copy in pixels}.
    """

    refs: tuple[MediaRef, ...]
    media: tuple[MediaInfo, ...]
    sides: Mapping[str, int]


def small_copies(job: CopyJob) -> list[SmallCopy]:
    """The copies that could be made; what is missing, broken or another file by now is left out."""
    copies: list[SmallCopy] = []
    for ref in job.refs:
        try:
            copies += _copies_of(ref, job)
        except KvlEvalError:  # the page shows a box with its hash
            continue
    return copies


def _copies_of(ref: MediaRef, job: CopyJob) -> Iterator[SmallCopy]:
    if isinstance(ref, ImageRef):
        from kvl_eval.media.images import read_bytes

        data = read_bytes(ref)
        name = hashlib.sha256(data).hexdigest()
        if name in job.sides:
            side, form = job.sides[name], form_of(data)
            yield SmallCopy(name, encoded(small_image(data, ref.name, side), side, form))
        return
    side = max(job.sides.values(), default=0)
    pictures = frames_of(ref, job.media, side) if isinstance(ref, VideoRef) else pages_of(ref, job.media, side)
    for name, image in pictures:
        if name in job.sides:
            yield SmallCopy(name, encoded(image, job.sides[name]))


def form_of(data: bytes) -> CopyForm:
    """What the copy of an image file is written as."""
    return "JPEG" if data.startswith(JPEG_START) else "WEBP"


def encoded(image: Image, side: int, form: CopyForm = "WEBP") -> bytes:
    """The image at most `side` pixels wide and high, without comments and Exif data."""
    small = image if image.mode == "RGB" else image.convert("RGB")
    if max(small.size) > side:
        small = small.copy()
        small.thumbnail((side, side))
    file = BytesIO()
    if form == "JPEG":
        small.save(file, form, quality=QUALITY, comment=b"", icc_profile=image.info.get("icc_profile"))
    else:
        small.save(file, form, quality=QUALITY, method=METHOD)
    return file.getvalue()


def small_image(data: bytes, name: str, side: int) -> Image:
    """The image of a file, upright; of a JPEG no larger than needed for `side` pixels. Raises: MediaError."""
    from kvl_eval.media.images import open_image, size_in_header

    size_in_header(data, name)  # refuses what is too large
    small = _small_jpeg(data, side) if form_of(data) == "JPEG" else None
    return open_image(data, name).image if small is None else small


def _small_jpeg(data: bytes, side: int) -> Image | None:
    """A JPEG file decoded at the smallest scale that has `side` pixels; None where it is odd in any way."""
    from PIL import Image

    from kvl_eval.media.pixels import orientation_of, upright

    try:
        image = Image.open(BytesIO(data), formats=("JPEG",))
        if image.mode not in ("RGB", "L"):
            return None
        orientation = orientation_of(image, data)
        image.draft("RGB", (side, side))
        image.load()
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, Image.DecompressionBombError):
        return None
    return upright(image, orientation)


# -- frames and pages ------------------------------------------------------------------------------------------------


def frames_of(ref: VideoRef, media: Sequence[MediaInfo], side: int) -> Iterator[tuple[str, Image]]:
    """Names and images of the frames that records name, if the video is the one they were taken from."""
    from kvl_eval.media.video import decode_frames, probe_video, video_file

    path, facts = video_file(ref)
    named = named_media(media, "frame", _file_sha256(path, (facts.st_size, facts.st_mtime_ns)))
    video = probe_video(ref)
    numbers = sorted(index for index in named if index < video.frames)
    for frame in decode_frames(video, numbers, shrink=partial(size_within, side=side)):
        if frame.index in named:  # a frame that does not decode is given as its neighbor
            yield named[frame.index], frame.image


def pages_of(ref: PdfRef, media: Sequence[MediaInfo], side: int) -> Iterator[tuple[str, Image]]:
    """Names and images of the pages that records name, if the document is the one they were taken from."""
    from kvl_eval.media.documents import read_document, render_pages

    named = named_media(media, "page", hashlib.sha256(read_document(ref)).hexdigest())
    shrink = partial(size_within, side=side)
    for page in render_pages(ref, only=tuple(named), shrink=shrink) if named else ():
        yield named[page.index], page.image


def named_media(media: Sequence[MediaInfo], kind: str, sha256: str) -> dict[int, str]:
    """{number: name} of the frames or pages that come from this file."""
    ours = (medium for medium in media if medium.kind == kind and medium.sha256 == sha256)
    return {
        medium.index: name for medium in ours if (name := picture_name(medium)) is not None and medium.index is not None
    }


def size_within(width: int, height: int, side: int) -> tuple[int, int]:
    """The size shrunk to `side`, aspect kept."""
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


@lru_cache(maxsize=64)
def _file_sha256(path: Path, state: tuple[int, int]) -> str:
    """`state` only tells one version of the file from another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
