"""PyAV as a decoder: packets are counted; frames are found by presentation time, or counted where times say nothing.

Exact on variable frame rate. A frame that an edit list leaves out is decoded where others rest on it, and not shown.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvl_eval.errors import MediaError
from kvl_eval.media.video_index import Decoded, VideoIndex, check_time, corrupt

REORDERING = ("h264", "hevc")  # codecs whose frames FFmpeg gives the times of other packets where a file has none
LATE = 16  # frames beyond one that is missing, after which it will not come: the most that H.264 and HEVC hold back
OPEN_SECONDS = 60.0  # most time until the first picture


def _opened(path: Path, name: str, **options: str) -> tuple[Any, Any]:
    """Container, opened with FFmpeg's options, and its best video stream; the caller closes the container."""
    import av
    from av.stream import Disposition

    try:
        container = av.open(str(path), options={"protocol_whitelist": "file", **options})
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


def probe(path: Path, name: str) -> VideoIndex:
    """As `video_readers.probe`."""
    import av

    container, stream = _opened(path, name)
    with container:
        packets = _packets(container, stream)
        if not any(packet.is_key for packet in packets):
            raise corrupt(name, "its video stream has no keyframe")
        times, tick = sorted(packet.shown for packet in packets if not packet.is_discard), float(stream.time_base)
        if not times:
            raise corrupt(name, "its edit list selects no frame")
        span = (times[-1] - times[0]) * tick
        fps = float(stream.average_rate or 0) or (len(times) - 1) / (span or 1.0) or 1.0
        stored = len(packets)
        if stream.frames > stored + 1 and "mov" in container.format.name:
            stored = _stored(path, name)
        notes = _header_notes(container, stream, stored, span + 1 / fps)
        counted = _is_counted(packets, stream)
    first = _first_picture(path, name)
    turned = (first.height, first.width) if first.rotation % 180 == 90 else (first.width, first.height)
    if first.rotation % 90:
        notes.append(f"rotation by {first.rotation} degrees not applied")
    return VideoIndex(
        path=path,
        name=name,
        times=times,
        tick=tick,
        keys=_keys(packets, times),
        fps=fps,
        size=turned,
        rotation=first.rotation if first.rotation % 90 == 0 else 0,
        decoder=f"pyav {av.__version__}",
        notes=tuple(notes),
        counted=counted,
    )


class Packet(NamedTuple):
    """A packet that gives a frame: times of showing and to seek to; a discarded one is decoded and not shown."""

    shown: int
    seek: int
    is_key: bool
    is_discard: bool


def _packets(container: Any, stream: Any) -> list[Packet]:
    """The packets in the order of decoding; one without a time stamp follows the one before it at once."""
    import av

    packets: list[Packet] = []
    try:
        for packet in container.demux(stream):
            shown = shown_at(packet)
            if shown is None and packets:
                shown = packets[-1].shown
            if packet.size and shown is not None:
                seek = shown if packet.dts is None else min(shown, packet.dts)
                packets.append(Packet(shown, seek, packet.is_keyframe, packet.is_discard))
    except av.FFmpegError:
        pass  # the file ends here; `_header_notes` says how much is missing
    return packets


def _keys(packets: Sequence[Packet], times: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(number of the first frame shown from there, time to seek to) of each keyframe, discarded ones too."""
    keys = {bisect_left(times, packet.shown): packet.seek for packet in sorted(packets) if packet.is_key}
    return tuple((number, seek) for number, seek in keys.items() if number < len(times))


def _is_counted(packets: Sequence[Packet], stream: Any) -> bool:
    """Whether times are shared, or rise in the order of decoding though the codec shows frames in another.

    An AVI file holds no times of showing: FFmpeg makes them up, and H.264 frames come out under each other's.
    """
    times = [packet.shown for packet in packets]
    if len(set(times)) < len(times):
        return True
    reorders = stream.codec_context.name in REORDERING and stream.codec_context.has_b_frames
    return bool(reorders) and times == sorted(times)


def starts_late(path: Path, name: str) -> bool:
    """Whether an edit list leaves out the first frames of a video; False where PyAV cannot tell."""
    try:
        container, stream = _opened(path, name)
    except MediaError:
        return False
    with container:
        packets = _packets(container, stream)
    return any(packet.is_discard for packet in packets) or _stored(path, name) > len(packets)


def _stored(path: Path, name: str) -> int:
    """Packets of a video, those that its edit list leaves out among them. Raises: MediaError."""
    container, stream = _opened(path, name, ignore_editlist="1")
    with container:
        return len(_packets(container, stream))


def _header_notes(container: Any, stream: Any, frames: int, seconds: float) -> list[str]:
    notes = []
    if stream.frames and abs(stream.frames - frames) > 1:
        notes.append(f"the header lists {stream.frames} frames, the file has {frames}")
    claimed = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    if claimed and abs(claimed - seconds) > max(1.0, 0.05 * seconds):
        notes.append(f"the header says {claimed:.1f} s, the frames last {seconds:.1f} s")
    return notes


def _first_picture(path: Path, name: str) -> Any:
    """The first frame that decodes: only it tells the rotation."""
    container, stream = _opened(path, name)
    with container:
        frame = next(pictures(container, stream, name, time.monotonic() + OPEN_SECONDS), None)
    if frame is None:
        raise corrupt(name, "no frame can be decoded")
    return frame


def pictures(container: Any, stream: Any, name: str, deadline: float) -> Iterator[Any]:
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
        self._ahead: dict[int, Any] = {}  # those that came out before the number asked for, though shown after it
        self._ended = False  # nothing decodes behind `_last`

    def find(self, number: int) -> tuple[int, Any] | None:
        """The frame of that number, or else the nearest sound one; None if nothing decodes."""
        self._catch_up(number)
        place = max(0, bisect_right(self._keys, number) - 1)
        if not self._ahead and self._reached < self._keys[place] and not self._ended:
            self._seek(place)
            self._forward(number)
            if self._ahead and self._reached < number and place:  # landed behind the keyframe
                self._ahead = {}
                self._seek(place - 1)
        self._forward(number)
        if self._ended and self._reached < self._keys[place]:
            self._look_back(place)
        near = [] if self._last is None else [self._last]
        near += [min(self._ahead.items())] if self._ahead else []
        return min(near, key=lambda one: abs(self._video.times[one[0]] - self._video.times[number]), default=None)

    @property
    def _reached(self) -> int:
        return -1 if self._last is None else self._last[0]

    def _catch_up(self, number: int) -> None:
        """Take over what came out ahead of an earlier number and is not ahead of this one."""
        passed = {found: frame for found, frame in self._ahead.items() if found <= number}
        if passed and max(passed) > self._reached:
            self._last = max(passed), passed[max(passed)]
        self._ahead = {found: frame for found, frame in self._ahead.items() if found > number}

    def _forward(self, number: int) -> None:
        """Decode until `number` is reached, or so many sound frames beyond it that it will not come any more."""
        while self._reached < number and len(self._ahead) < LATE and not self._ended:
            frame = next(self._frames, None)
            if frame is None:
                self._ended = True
                return
            found = self._numbers.get(shown_at(frame))
            if found is None:
                continue
            if found > number:
                self._ahead[found] = frame
            elif found > self._reached:
                self._last = (found, frame)

    def _look_back(self, place: int) -> None:
        """Nothing from that keyframe to the end decodes: continue from the last sound frame before it."""
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
        self._frames = pictures(self._container, self._stream, self._video.name, self._deadline)


class _Counter:
    """Finds frames by counting them from the beginning; numbers are asked for in rising order."""

    def __init__(self, container: Any, stream: Any, video: VideoIndex, deadline: float) -> None:
        self._frames = enumerate(pictures(container, stream, video.name, deadline))
        self._last: tuple[int, Any] | None = None

    def find(self, number: int) -> tuple[int, Any] | None:
        """The frame of that number, or else the last one; None if nothing decodes."""
        while self._last is None or self._last[0] < number:
            following = next(self._frames, None)
            if following is None:
                break
            self._last = following
        return self._last


def decode(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
    """As `video_readers.decode`."""
    import numpy as np

    container, stream = _opened(video.path, video.name)
    width, height = video.size if video.rotation % 180 == 0 else video.size[::-1]
    with container:
        kind = _Counter if video.counted else _Seeker
        finder = kind(container, stream, video, deadline)
        for asked in indices:
            found = finder.find(asked)
            if found is None:
                raise corrupt(video.name, "no frame can be decoded")
            index, frame = found
            if (frame.width, frame.height) != (width, height):  # the stream changed its size: as shown at first
                frame = frame.reformat(width=width, height=height)
            pixels = frame.to_ndarray(format="rgb24")
            yield Decoded(asked, index, np.ascontiguousarray(np.rot90(pixels, video.rotation // 90)))
