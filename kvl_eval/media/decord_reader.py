"""decord as a decoder: `CHUNK` frames are decoded, then it is reopened, which bounds its memory.

A reader that stays open decodes ahead without bound (dmlc/decord issue 208). On some damaged files decord 0.6.0 waits
for ever inside its own code: only the time limit of a worker process ends that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvl_eval.media.video_index import Decoded, VideoIndex, check_time, corrupt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 16  # frames that one reader decodes


def _open_decord(path: Path, name: str) -> Any:
    try:
        import decord
    except (ImportError, OSError) as error:
        raise corrupt(name, f"decord is not installed: {error}") from None
    with open(path, "rb") as file:
        if file.read(189)[::188] == b"GG":
            raise corrupt(name, "decord miscounts the frames of MPEG transport streams")
    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
    except (decord.DECORDError, RuntimeError, OSError) as error:
        raise corrupt(name, _first_line(error)) from None
    if not len(reader):
        raise corrupt(name, "its video stream has no frames")
    return reader


def probe(path: Path, name: str) -> VideoIndex:
    """As `video_readers.probe`."""
    reader = _open_decord(path, name)
    import decord

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


def decode(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
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
