"""Pictures for a server: every picture, frame and page of a prompt as lossless PNG bytes, made in a worker process.

What a server receives is RGB without metadata, so that no server's own rules for alpha, EXIF or colour profiles
apply: pictures are opened by the rules of `images` (`reference` turns them upright and drops alpha, `vlmevalkit`
leaves them as they lie and puts alpha on white).

Pictures keep their size unless `--max-pixels` says otherwise, as only the server knows what its model sees. Frames and
pages are shrunk to 802,816 pixels, Kimi-VL's own limit, or to `--max-pixels`: a prompt may hold a hundred of them.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from kvl_eval.flags import in_order
from kvl_eval.media.cache import PictureFacts
from kvl_eval.media.images import BLIND, in_turn, open_image, read_bytes
from kvl_eval.media.layout import MediaPrep, PicturePlace, PromptLayout, lay_out, unrolled
from kvl_eval.media.video import joined
from kvl_eval.pictures import Size
from kvl_eval.types import ImageRef, MediaInfo, MediaRef, Message, Role

UNROLLED_PIXELS = 4096 * 14 * 14  # of a frame or page where nothing else was said


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedPicture:
    """One picture as PNG, and what the record says about it; its tokens are the server's business, so 0."""

    png: bytes
    info: MediaInfo

    @property
    def data_uri(self) -> str:
        """As chat completions take it."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True, slots=True)
class EncodedTurns:
    """A prompt as roles with texts and pictures in reading order."""

    turns: tuple[tuple[Role, tuple[str | EncodedPicture, ...]], ...]

    @property
    def media(self) -> tuple[MediaInfo, ...]:
        """What the record says about the pictures, in order."""
        return tuple(part.info for _, parts in self.turns for part in parts if isinstance(part, EncodedPicture))

    @property
    def text(self) -> str:
        """The prompt for the record, with `<image:1>` where the first picture stands."""
        shown, number = [], 0
        for role, parts in self.turns:
            said = []
            for part in parts:
                number += not isinstance(part, str)
                said.append(part if isinstance(part, str) else f"<image:{number}>")
            shown.append(f"[{role}]\n" + "".join(said))
        return "\n".join(shown)


def encode_prompt(messages: tuple[Message, ...], prep: MediaPrep) -> EncodedTurns:
    """What a worker process of the media pool does for a server. Raises: MediaError, ConfigError."""
    layout: PromptLayout = lay_out(messages, prep)
    pictures = [tuple(_encoded(ref, prep)) for ref in layout.refs]
    return EncodedTurns(
        tuple(
            (
                role,
                tuple(pictures[part.ref][part.position] if isinstance(part, PicturePlace) else part for part in parts),
            )
            for role, parts in layout.turns
        )
    )


def _encoded(ref: MediaRef, prep: MediaPrep) -> Iterator[EncodedPicture]:
    if isinstance(ref, ImageRef):
        yield _picture(ref, prep)
        return

    def shrink(width: int, height: int) -> Size:
        return within(width, height, prep.max_pixels or UNROLLED_PIXELS)

    def finish(image: Image.Image, facts: PictureFacts, base: MediaInfo) -> EncodedPicture:
        if prep.images.blind:
            image = Image.new("RGB", image.size, BLIND)
        note = joined(base.note, facts.note, "blind" if prep.images.blind else None)
        marks = () if prep.images.blind else in_order((*base.flags, *facts.flags))
        info = replace(base, index=facts.index, timestamp=facts.timestamp, note=note, flags=marks)
        return EncodedPicture(png=_png(image), info=info)

    yield from unrolled(ref, prep, shrink, finish)


def _picture(ref: ImageRef, prep: MediaPrep) -> EncodedPicture:
    data = read_bytes(ref)
    with in_turn(data, ref.name, prep.images.opening):
        return _encoded_picture(data, ref.name, prep)


def _encoded_picture(data: bytes, name: str, prep: MediaPrep) -> EncodedPicture:
    opened = open_image(data, name, prep.images.opening, blind=prep.images.blind)
    size = opened.size if prep.max_pixels is None else within(*opened.size, prep.max_pixels)
    image = opened.image.convert("RGB")
    info = MediaInfo(
        sha256=hashlib.sha256(data).hexdigest(),
        kind="image",
        w=opened.size[0],
        h=opened.size[1],
        resized_to=size,
        tokens=0,
        note=opened.note,
        flags=opened.flags,
    )
    resized = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    return EncodedPicture(png=_png(resized), info=info)


def _png(image: Image.Image) -> bytes:
    """Chunks IHDR, IDAT and IEND, whatever came with the picture."""
    bare = image.copy()
    bare.info = {}
    buffer = BytesIO()
    bare.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def within(width: int, height: int, pixels: int) -> Size:
    """The size itself, or the largest of the same aspect that has at most so many pixels; no side gets below 1."""
    if width * height <= pixels:
        return width, height
    scale = math.sqrt(pixels / (width * height))
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))
