"""Two decoders behind one pair of functions: `probe` reads a video's index, `decode` yields chosen frames of it.

Neither keeps a file open between calls: a decord reader that stays open decodes ahead without bound (dmlc/decord issue
208), and a model may run for minutes between two clips. PyAV counts packets and seeks by presentation time, which is
exact on variable frame rate; decord decodes `CHUNK` frames and is then opened anew, which bounds its memory. On some
damaged files decord 0.6.0 waits for ever inside its own code: only the time limit of a worker process ends that.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvl_eval.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 16  # frames that one decord reader decodes
OPEN_SECONDS = 60.0  # most time until the first picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoIndex:
    """What is known of a video without decoding more than its first frame.

    Attributes:
        times:    presentation times in units of `tick`, rising; one per frame.
        tick:     seconds of one unit.
        keys:     (frame number, time to seek to) of the keyframes; empty for decord.
        fps:      average frames a second, as the header says.
        size:     (width, height) as shown, rotation applied; samples are square, whatever the header says of them.
        rotation: degrees counter-clockwise that were applied, a multiple of 90.
        decoder:  `pyav 18.1.0`.
        notes:    what the header claims and the file does not hold.
    """

    path: Path
    name: str
    times: Sequence[float]
    tick: float
    keys: tuple[tuple[int, int], ...] = ()
    fps: float
    size: tuple[int, int]
    rotation: int = 0
    decoder: str
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    def seconds(self, index: int) -> float:
        """Presentation time of a frame, counted from the first one."""
        return (self.times[index] - self.times[0]) * self.tick


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A frame: the index asked for, the index it has (the nearest decodable one), and its pixels (H, W, 3) uint8."""

    asked: int
    index: int
    pixels: NDArray[np.uint8]


def probe(path: Path, name: str, decoder: str) -> VideoIndex:
    """The index of a video by `pyav` or `decord`. Raises: MediaError `media.corrupt`."""
    return _probe_pyav(path, name) if decoder == "pyav" else _probe_decord(path, name)


def decode(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
    """The frames at `indices`, which rise strictly and lie within the video; one at a time, from a fresh reader.

    Args:
        deadline: `time.monotonic()` at which to give up.
    Raises: MediaError `media.corrupt`, if no frame can be decoded; `timeout`.
    """
    return (_decode_pyav if video.decoder.startswith("pyav") else _decode_decord)(video, indices, deadline)


def check_time(name: str, deadline: float) -> None:
    """Raise MediaError `timeout` past the deadline."""
    if time.monotonic() > deadline:
        raise MediaError("timeout", f"{name}: decoding took too long", fix="raise --timeout")


def corrupt(name: str, why: str) -> MediaError:
    """The error of a video that cannot be used."""
    return MediaError("media.corrupt", f"{name} cannot be decoded", why=why)


# -- PyAV -------------------------------------------------------------------------------------------------------


def _open_pyav(path: Path, name: str) -> tuple[Any, Any]:
    """Container and its best video stream; the caller closes the container."""
    import av
    from av.stream import Disposition

    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as error:
        raise corrupt(name, str(error)) from None
    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not streams:
        container.close()
        raise corrupt(name, "no video stream")
    stream = container.streams.best("video")
    stream = stream if stream in streams else streams[0]
    if stream.codec_context is None:
        container.close()
        raise corrupt(name, "no decoder for its video stream")
    stream.thread_count = 1  # the harness decodes several files at a time instead
    return container, stream


def _probe_pyav(path: Path, name: str) -> VideoIndex:
    import av

    container, stream = _open_pyav(path, name)
    with container:
        packets = _packets(container, stream)
        if not any(is_key for _, _, is_key in packets):
            raise corrupt(name, "its video stream holds no keyframe")
        times, tick = [shown for shown, _, _ in packets], float(stream.time_base)
        span = (times[-1] - times[0]) * tick
        fps = float(stream.average_rate or 0) or (len(times) - 1) / (span or 1.0) or 1.0
        notes = _header_notes(container, stream, len(times), span + 1 / fps)
    first = _first_picture(path, name)
    turned = (first.height, first.width) if first.rotation % 180 == 90 else (first.width, first.height)
    if first.rotation % 90:
        notes.append(f"rotation by {first.rotation} degrees not applied")
    return VideoIndex(
        path=path,
        name=name,
        times=times,
        tick=tick,
        keys=tuple((number, seek) for number, (_, seek, is_key) in enumerate(packets) if is_key),
        fps=fps,
        size=turned,
        rotation=first.rotation if first.rotation % 90 == 0 else 0,
        decoder=f"pyav {av.__version__}",
        notes=tuple(notes),
    )


def _packets(container: Any, stream: Any) -> list[tuple[int, int, bool]]:
    """(presentation time, time to seek to, is a keyframe) of every packet that gives a frame, in order of time."""
    import av

    found: dict[int, tuple[int, bool]] = {}
    try:
        for packet in container.demux(stream):
            shown = shown_at(packet)
            if packet.size and shown is not None and not packet.is_discard:
                seek = shown if packet.dts is None else min(shown, packet.dts)
                found.setdefault(shown, (seek, packet.is_keyframe))
    except av.FFmpegError:
        pass  # the file ends here; `_header_notes` says how much is missing
    return [(shown, *found[shown]) for shown in sorted(found)]


def _header_notes(container: Any, stream: Any, frames: int, seconds: float) -> list[str]:
    notes = []
    if stream.frames and abs(stream.frames - frames) > 1:
        notes.append(f"header names {stream.frames} frames, the file holds {frames}")
    claimed = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    if claimed and abs(claimed - seconds) > max(1.0, 0.05 * seconds):
        notes.append(f"header claims {claimed:.1f} s, the frames last {seconds:.1f} s")
    return notes


def _first_picture(path: Path, name: str) -> Any:
    """The first frame that decodes: only it tells the rotation."""
    container, stream = _open_pyav(path, name)
    with container:
        frame = next(_pictures(container, stream, name, time.monotonic() + OPEN_SECONDS), None)
    if frame is None:
        raise corrupt(name, "no frame can be decoded")
    return frame


def _pictures(container: Any, stream: Any, name: str, deadline: float) -> Iterator[Any]:
    """Sound frames from the container's present place on.

    After a packet that does not decode, frames up to the next keyframe may rest on it: FFmpeg would fill them with
    something. They are left out.
    """
    import av

    unsound: set[int | None] = set()
    broken = False
    packets = iter(container.demux(stream))
    while True:
        check_time(name, deadline)
        try:
            packet = next(packets, None)
            if packet is None:
                return
            broken = broken and not packet.is_keyframe
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                broken, frames = True, []
        except av.FFmpegError:
            return
        if broken:
            unsound.add(shown_at(packet))
        yield from (one for one in frames if not one.is_corrupt and shown_at(one) not in unsound)


def shown_at(item: Any) -> int | None:
    """Presentation time of a packet or frame; AVI has only decoding times."""
    time: int | None = item.dts if item.pts is None else item.pts
    return time


class _Seeker:
    """Finds frames by presentation time in one open container; numbers are asked for in rising order."""

    def __init__(self, container: Any, stream: Any, video: VideoIndex, deadline: float) -> None:
        self._container, self._stream, self._video, self._deadline = container, stream, video, deadline
        self._numbers: dict[float | None, int] = {time: number for number, time in enumerate(video.times)}
        self._keys = [number for number, _ in video.keys]
        self._seek_times = dict(video.keys)
        self._frames: Iterator[Any] = iter(())
        self._last: tuple[int, Any] | None = None  # the sound frame reached last, and its number
        self._next: tuple[int, Any] | None = None  # one that was decoded beyond the number asked for
        self._ended = False  # nothing decodes behind `_last`

    def find(self, number: int) -> tuple[int, Any] | None:
        """The frame of that number, or else the nearest sound one; None if nothing decodes."""
        if self._next is not None and self._next[0] <= number:
            self._last, self._next = self._next, None
        place = max(0, bisect_right(self._keys, number) - 1)
        if self._next is None and self._reached < self._keys[place] and not self._ended:
            self._seek(place)
            self._forward(number)
            if self._next is not None and self._reached < number and place:  # landed behind the keyframe
                self._next = None
                self._seek(place - 1)
        self._forward(number)
        if self._ended and self._reached < self._keys[place]:
            self._look_back(place)
        near = [one for one in (self._last, self._next) if one is not None]
        return min(near, key=lambda one: abs(self._video.times[one[0]] - self._video.times[number]), default=None)

    @property
    def _reached(self) -> int:
        return -1 if self._last is None else self._last[0]

    def _forward(self, number: int) -> None:
        """Decode until `number` or a sound frame beyond it is reached."""
        while self._next is None and self._reached < number and not self._ended:
            frame = next(self._frames, None)
            if frame is None:
                self._ended = True
                return
            found = self._numbers.get(shown_at(frame))
            if found is None:
                continue
            if found <= number:
                self._last = (found, frame)
            else:
                self._next = (found, frame)

    def _look_back(self, place: int) -> None:
        """Nothing from that keyframe to the end decodes: go on from the last sound frame before it."""
        before = self._reached
        while place > 0 and self._keys[place - 1] > before - 1 and self._reached == before:
            place -= 1
            self._seek(place)
            self._ended = False
            self._forward(self._video.frames)

    def _seek(self, place: int) -> None:
        import av

        try:
            self._container.seek(self._seek_times[self._keys[place]], stream=self._stream, backward=True)
        except av.FFmpegError:
            self._frames = iter(())
            return
        self._frames = _pictures(self._container, self._stream, self._video.name, self._deadline)


def _decode_pyav(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
    import numpy as np

    container, stream = _open_pyav(video.path, video.name)
    width, height = video.size if video.rotation % 180 == 0 else video.size[::-1]
    with container:
        seeker = _Seeker(container, stream, video, deadline)
        for asked in indices:
            found = seeker.find(asked)
            if found is None:
                raise corrupt(video.name, "no frame can be decoded")
            index, frame = found
            if (frame.width, frame.height) != (width, height):  # the stream changed its size: as shown at first
                frame = frame.reformat(width=width, height=height)
            pixels = frame.to_ndarray(format="rgb24")
            yield Decoded(asked, index, np.ascontiguousarray(np.rot90(pixels, video.rotation // 90)))


# -- decord -----------------------------------------------------------------------------------------------------


def _open_decord(path: Path, name: str) -> Any:
    try:
        import decord
    except (ImportError, OSError) as error:
        raise corrupt(name, f"decord is not installed: {error}") from None
    with open(path, "rb") as file:
        if file.read(189)[::188] == b"GG":
            raise corrupt(name, "decord counts the frames of MPEG transport streams wrongly")
    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
    except (decord.DECORDError, RuntimeError, OSError) as error:
        raise corrupt(name, _first_line(error)) from None
    if not len(reader):
        raise corrupt(name, "its video stream holds no frames")
    return reader


def _probe_decord(path: Path, name: str) -> VideoIndex:
    import decord

    reader = _open_decord(path, name)
    try:
        height, width = reader[0].shape[:2]
        times = reader.get_frame_timestamp(range(len(reader)))[:, 0].tolist()
        fps = float(reader.get_avg_fps()) or 1.0
    except (decord.DECORDError, IndexError) as error:
        raise corrupt(name, _first_line(error)) from None
    return VideoIndex(
        path=path,
        name=name,
        times=times,
        tick=1.0,
        fps=fps,
        size=(width, height),
        decoder=f"decord {decord.__version__}",
    )


def _decode_decord(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
    """A frame that does not decode, by a second fresh reader neither, is replaced by the one sampled before it."""
    last: Decoded | None = None
    waiting: list[int] = []
    for start in range(0, len(indices), CHUNK):
        for asked, pixels in _chunk(video, indices[start : start + CHUNK], deadline):
            if pixels is not None:
                last = Decoded(asked, asked, pixels)
                yield from (Decoded(early, asked, pixels) for early in waiting)
                waiting = []
                yield last
            elif last is not None:
                yield Decoded(asked, last.index, last.pixels)
            else:
                waiting.append(asked)
    if waiting:
        raise corrupt(video.name, "no sampled frame can be decoded")


def _chunk(
    video: VideoIndex, indices: Sequence[int], deadline: float
) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    reader = _open_decord(video.path, video.name)
    for asked in indices:
        check_time(video.name, deadline)
        pixels = _one(reader, asked)
        if pixels is None:
            reader = None  # let go of it before the next is opened
            reader = _open_decord(video.path, video.name)
            pixels = _one(reader, asked)
        yield asked, pixels


def _one(reader: Any, index: int) -> NDArray[np.uint8] | None:
    import decord

    try:
        pixels: NDArray[np.uint8] = reader[index].asnumpy()
    except (decord.DECORDError, IndexError):
        return None
    return pixels


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
