"""Samples of tables that name one video a row: the video becomes a reference, and nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from kvl_eval.sources.base import Row, Source
from kvl_eval.sources.media_files import MediaFiles, media_home
from kvl_eval.sources.rows import made_from
from kvl_eval.types import Sample, VideoRef

MakeSample = Callable[[Mapping[str, Any], str], Sample]


def filmed_samples(
    rows: Iterable[Row],
    make: MakeSample,
    source: Source,
    *,
    file: Callable[[Sample], str],
    folders: Sequence[str],
    rule: str,
    frames: int,
) -> Iterator[Sample]:
    """The samples of `rows`, each with the video that `file` names, searched for in `folders` of the data folder.

    The video goes before the media that `make` gave the sample. A row gets its number from 0 as column `row`, unless it
    has one. `rule` and `frames` say which frames are shown.
    Raises: DataError, naming the row.
    """
    videos = MediaFiles(media_home(source), folders)
    numbered = (Row({"row": number, **row.values}, row.where) for number, row in enumerate(rows))
    yield from made_from(numbered, partial(_filmed, make, file, videos, rule, frames), source)


def _filmed(
    make: MakeSample, file: Callable[[Sample], str], videos: MediaFiles, rule: str, frames: int, row: Row
) -> Sample:
    made = make(row.values, row.where)
    name = file(made)
    path = videos.find(name) or videos.expected(name)
    video = VideoRef(name=f"video {made.cluster or name}", path=path, root=videos.root, rule=rule, frames=frames)
    return replace(made, media=(video, *made.media))
