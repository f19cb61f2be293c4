"""Small H.264 clips and documents for tests, in which every frame and page says its number."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from kvl_eval.media.frame_rules import with_flags
from kvl_eval.media.video import TIME_LIMIT, Frame, as_shown, chosen_frames, decode_frames, joined, probe_video
from kvl_eval.types import VideoRef

BITS = 8
HAS_DECORD = find_spec("decord") is not None
DECODERS = ("pyav", "decord") if HAS_DECORD else ("pyav",)
needs_decord = pytest.mark.skipif(not HAS_DECORD, reason="decord is not installed")


def picture(number: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A frame whose lower half spells `number` in black and white bars; its top left corner is red."""
    width, height = size
    pixels = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        pixels[height // 2 :, bit * width // BITS : (bit + 1) * width // BITS] = 255 if number >> bit & 1 else 0
    pixels[: height // 4, : width // 4] = (220, 20, 20)
    return pixels


def number_of(image: Image.Image) -> int:
    """The number a frame spells."""
    pixels = np.asarray(image.convert("L"))
    row = pixels[3 * pixels.shape[0] // 4]
    places = [(2 * bit + 1) * pixels.shape[1] // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, place in enumerate(places) if row[place] > 127)


def sample_frames(
    ref: VideoRef,
    *,
    n: int | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    shrink: Callable[[int, int], tuple[int, int]] | None = None,
    decoder: str = "auto",
    time_limit: float = TIME_LIMIT,
) -> Iterator[Frame]:
    """The frames that a video's rule shows, under the flags; the parts of `media.video` one after the other."""
    ref = with_flags(ref, n if max_frames is None else max_frames, fps)
    video = probe_video(ref, decoder)
    choice = chosen_frames(ref, video)
    decoded = decode_frames(video, choice.unique, shrink=shrink, time_limit=time_limit)
    for frame, note in as_shown(choice, decoded):
        yield replace(frame, note=joined(note, frame.note))


def write_clip(
    path: Path,
    frames: int = 60,
    *,
    size: tuple[int, int] = (160, 96),
    gop: int = 12,
    codec: str = "libx264",
    milliseconds: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """A clip of 25 frames a second, or with frames at the given times; B-frames where the codec has them."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        regular = {"sc_threshold": "0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=25, options={"g": str(gop), "bf": "2", **regular, **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number % 2**BITS, size), format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotated(path: Path, degrees: int) -> Path:
    """The same MP4 with a display matrix that turns it clockwise by 90, 180 or 270 degrees."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    target = path.with_name(f"{path.stem}-{degrees}.mp4")
    target.write_bytes(data)
    return target


def write_pdf(path: Path, pages: int, size: tuple[int, int] = (612, 792)) -> Path:
    """A PDF of `pages` pages of that many points, each with its number in bars."""
    made = [Image.fromarray(picture(number % 2**BITS, size)) for number in range(pages)]
    for number, page in enumerate(made):
        ImageDraw.Draw(page).text((size[0] // 2, 10), str(number + 1), fill=(0, 0, 0))
    made[0].save(path, "PDF", save_all=True, append_images=made[1:], resolution=72.0)
    return path
