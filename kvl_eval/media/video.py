"""Frames of a video by a published sampling rule: exact frames, exact times, one at a time, shrunk as they come.

    reference -> probe_video -> VideoIndex -> chosen_frames -> Choice -> decode_frames -> Frames

What a record says of it (`Frame.note`, `VideoIndex.notes`):

- a frame that does not decode is replaced by the nearest one that does (flag `frame_replaced`); a frame beyond the end
  by the last one; where the rule gives none at all (a clip below a second under `longvideobench`), the first is shown;
- rotation flags are applied by both decoders; pixels are taken as square; of an edit list that starts later than the
  first frame a player's frames are shown, which PyAV alone does: decord is not used for such files;
- where the decoder that was asked for is not the one that decodes, the flag is `fallback_decoder`;
- timestamps are presentation times, counted from the first frame. The published loaders compute index / average fps
  instead, seconds apart on variable frame rate; rules that choose subtitles by those count them themselves;
- both decoders give the same pixels for 8-bit video; 10-bit differs by a few levels (mean), which is why a record
  names the decoder.

Only files that begin like a video container are handed to a decoder, and of addresses a file might hold none is opened.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from kvl_eval import flags
from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media.formats import HEAD, container_format
from kvl_eval.media.frame_rules import FrameSampling, frame_indices
from kvl_eval.media.images import safe_path
from kvl_eval.media.large import LARGE
from kvl_eval.media.library_lines import library_note
from kvl_eval.media.pyav_reader import starts_late
from kvl_eval.media.regular import open_regular
from kvl_eval.media.video_index import Decoded, VideoIndex, corrupt
from kvl_eval.media.video_readers import decode, probe
from kvl_eval.types import VideoRef

if TYPE_CHECKING:
    from kvl_eval.pictures import Shrink

T = TypeVar("T")

DECODERS = ("auto", "pyav", "decord")
READ = "MP4, MOV, Matroska, WebM, AVI, MPEG-TS"
TIME_LIMIT = 300.0  # seconds one file may take

_SIGNATURES = (  # (offset, bytes): MP4 and MOV, Matroska and WebM, AVI, MPEG-TS
    *((4, box) for box in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")),
    (0, b"\x1aE\xdf\xa3"),
    (8, b"AVI "),
    (188, b"G"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A frame as the model will see it.

    Attributes:
        image:     RGB, shrunk.
        index:     number of the frame in the video: the one shown, where `note` says that another was asked for.
        timestamp: its presentation time in seconds.
        size:      (width, height) before shrinking.
        note:      what is odd about it, or None.
        flags:     of that, what may change an answer.
    """

    image: Image.Image
    index: int
    timestamp: float
    size: tuple[int, int]
    note: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The frames a rule chose.

    Attributes:
        indices: as shown, in order, within the video.
        times:   presentation times of each, in seconds.
        notes:   for each place what was wrong with the index the rule gave, or None.
    """

    indices: tuple[int, ...]
    times: tuple[float, ...]
    notes: tuple[str | None, ...]

    @property
    def unique(self) -> tuple[int, ...]:
        """The indices to decode."""
        return tuple(sorted(set(self.indices)))


def as_shown(choice: Choice, decoded: Iterable[T]) -> Iterator[tuple[T, str | None]]:
    """What stands for each of `choice.unique`, as often and where it is shown, with the choice's note.

    Every rule gives rising indices, so that one at a time is held.
    """
    pairs = zip(choice.unique, decoded, strict=True)
    current = next(pairs)
    for index, note in zip(choice.indices, choice.notes, strict=True):
        while current[0] != index:
            current = next(pairs)
        yield current[1], note
    next(pairs, None)  # to the end of `decoded`, which may have something left to do there


def joined(*notes: str | None) -> str | None:
    """Notes in one line, or None where there are none."""
    return "; ".join(note for note in notes if note) or None


def probe_video(ref: VideoRef, decoder: str = "auto") -> VideoIndex:
    """Frame times, rate and size of a video; kept for the next questions on it while the file stays the same.

    Raises: MediaError `media.missing`, `media.corrupt`, `media.too_large`, `media.path_outside`, `timeout`.
    """
    check_decoder(decoder)
    path, facts = video_file(ref)
    video = _probe(path, (facts.st_size, facts.st_mtime_ns, facts.st_ino), decoder)
    return replace(video, name=ref.name)


def check_decoder(decoder: str) -> None:
    """Raise ConfigError for a decoder that is unknown, or named and not installed."""
    if decoder not in DECODERS:
        raise ConfigError("config.video_decoder", f"unknown video decoder {decoder!r}", fix=" or ".join(DECODERS))
    if decoder == "decord" and find_spec("decord") is None:
        raise ConfigError(
            "config.video_decoder",
            "decord is not installed",
            why="decord has wheels for x86-64 only",
            fix="use auto or pyav",
        )


def video_file(ref: VideoRef) -> tuple[Path, os.stat_result]:
    """The real file behind a reference, which begins like a video. Raises: MediaError."""
    path = safe_path(ref.path, ref.root, ref.name)
    with open_regular(path, ref.name) as file:
        try:
            facts, start = os.fstat(file.fileno()), file.read(HEAD)
        except OSError as error:
            why = error.strerror
            raise MediaError("media.missing", f"cannot read {ref.name}", where=str(path), why=why) from None
    if not start:
        raise corrupt(ref.name, "0 bytes")
    if not any(start[offset:].startswith(mark) for offset, mark in _SIGNATURES):
        form = container_format(start)
        if form is None:
            raise corrupt(ref.name, f"not a video in a known format ({READ})")
        raise corrupt(ref.name, f"{form} is not supported; remux it to MP4 (supported: {READ})")
    return path, facts


def chosen_frames(ref: VideoRef, video: VideoIndex) -> Choice:
    """Which frames the reference's rule takes; nothing is decoded. Raises: ConfigError."""
    first, end = _window(ref, video)
    sampling = FrameSampling(rule=ref.rule, n=ref.frames, fps=ref.fps, duration=ref.duration)
    asked = frame_indices(sampling, end - first, video.fps)
    notes: list[str | None] = [None] * len(asked)
    if not asked:
        asked, notes = [0], [f"{ref.rule} selects no frame; the first one is used"]
    for place, index in enumerate(asked):
        asked[place] = min(first + index, end - 1)
        if first + index >= end:
            notes[place] = f"frame {first + index} is beyond the end; frame {end - 1} is used"
    return Choice(
        indices=tuple(asked),
        times=tuple(video.seconds(index) for index in asked),
        notes=tuple(notes),
    )


def _window(ref: VideoRef, video: VideoIndex) -> tuple[int, int]:
    """Frames of the clip: [first, end), at least one."""
    first, end = 0, video.frames
    if ref.start is not None:
        first = min(bisect_left(video.times, video.times[0] + ref.start / video.tick), end - 1)
    if ref.end is not None:
        end = max(first + 1, bisect_right(video.times, video.times[0] + ref.end / video.tick))
    return first, end


def decode_frames(
    video: VideoIndex, indices: Sequence[int], *, shrink: Shrink | None = None, time_limit: float = TIME_LIMIT
) -> Iterator[Frame]:
    """One frame for each of `indices`, which rise strictly and lie within the video. Raises: MediaError."""
    size = video.size if shrink is None else shrink(*video.size)
    for one in decode(video, indices, time.monotonic() + time_limit):
        image = Image.fromarray(one.pixels)
        yield Frame(
            image=image if image.size == size else image.resize(size, Image.Resampling.BICUBIC),
            index=one.index,
            timestamp=video.seconds(one.index),
            size=video.size,
            note=joined(_replaced(one), library_note()),
            flags=() if one.index == one.asked else (flags.FRAME_REPLACED,),
        )


def _replaced(decoded: Decoded) -> str | None:
    if decoded.index == decoded.asked:
        return None
    return f"frame {decoded.asked} cannot be decoded; frame {decoded.index} is used"


@lru_cache(maxsize=16)
def _probe(path: Path, state: tuple[int, int, int], decoder: str) -> VideoIndex:
    """`state` only tells one version of the file from another."""
    name = path.name
    if decoder == "decord" and starts_late(path, name):
        video = _fallback(probe(path, name, "pyav"), "PyAV, because decord ignores the edit list")
    else:
        video = _probe_by(path, name, decoder)
    if said := library_note():
        video = replace(video, notes=(*video.notes, said))
    width, height = video.size
    if width * height > LARGE:
        raise MediaError(
            "media.too_large", f"{name} is too large: {width} x {height} pixels; the limit is {LARGE} pixels"
        )
    return video


def _probe_by(path: Path, name: str, decoder: str) -> VideoIndex:
    """By the decoder that was asked for; `auto` is PyAV, and decord where that fails."""
    try:
        return probe(path, name, "decord" if decoder == "decord" else "pyav")
    except MediaError as error:
        if decoder != "auto" or starts_late(path, name):
            raise
        try:
            video = probe(path, name, "decord")
        except MediaError:
            raise error from None
        return _fallback(video, f"decord, because PyAV failed: {error.why}")


def _fallback(video: VideoIndex, why: str) -> VideoIndex:
    return replace(video, notes=(*video.notes, why), flags=(*video.flags, flags.FALLBACK_DECODER))
