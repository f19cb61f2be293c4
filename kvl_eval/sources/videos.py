"""Samples of tables that name one video a row: the video becomes a reference, and nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kvl_eval.rows import Row
from kvl_eval.sources.base import STRICT, Reporter, Source
from kvl_eval.sources.media_files import MediaFiles, media_home
from kvl_eval.sources.rows import made_from
from kvl_eval.types import FrameRule, Sample, VideoRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Filming:
    """How a task's rows name their video, and which of its frames are shown.

    Attributes:
        file:    the name of a sample's video.
        folders: where it is searched for in the data folder.
        rule:    which frames are shown, and `frames` how many.
    """

    file: Callable[[Sample], str]
    folders: Sequence[str]
    rule: FrameRule
    frames: int


def filmed_samples(
    rows: Iterable[Row], make: Callable[[Row], Sample], source: Source, filming: Filming, reporter: Reporter = STRICT
) -> Iterator[Sample]:
    """The samples of `rows`, each with its video, which goes before the media that `make` gave the sample.

    A row gets its number from 0 as column `row`, unless it has one.
    Raises: DataError, naming the row.
    """
    videos = MediaFiles(media_home(source), filming.folders)

    def filmed(row: Row) -> Sample:
        made = make(row)
        name = filming.file(made)
        path = videos.find(name) or videos.expected(name)
        video = VideoRef(
            name=f"video {made.cluster or name}",
            path=path,
            root=videos.root,
            rule=filming.rule,
            frames=filming.frames,
        )
        return replace(made, media=(video, *made.media))

    yield from made_from(
        (row if "row" in row else row.also({"row": number}) for number, row in enumerate(rows)), filmed, reporter
    )
