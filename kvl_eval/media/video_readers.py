"""Two decoders behind one pair of functions: `probe` reads a video's index, `decode` yields chosen frames of it.

Neither keeps a file open between calls: a model may run for minutes between two clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kvl_eval.media import decord_reader, pyav_reader
from kvl_eval.media.video_index import Decoded, VideoIndex


def probe(path: Path, name: str, decoder: str) -> VideoIndex:
    """The index of a video by `pyav` or `decord`. Raises: MediaError `media.corrupt`."""
    return pyav_reader.probe(path, name) if decoder == "pyav" else decord_reader.probe(path, name)


def decode(video: VideoIndex, indices: Sequence[int], deadline: float) -> Iterator[Decoded]:
    """The frames at `indices`, which rise strictly and lie within the video; one at a time, from a fresh reader.

    Args:
        deadline: `time.monotonic()` at which to give up.
    Raises: MediaError `media.corrupt`, if no frame can be decoded; `timeout`.
    """
    if video.decoder.startswith("pyav"):
        return pyav_reader.decode(video, indices, deadline)
    return decord_reader.decode(video, indices, deadline)
