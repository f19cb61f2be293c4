"""Pictures, frames and pages of a run's samples, read again from the data set the run used; nothing is downloaded.

Only files whose content is still what the model saw are shown: the hash of each is compared with the record's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvl_eval.decode import DecodeError, decode
from kvl_eval.errors import KvlEvalError
from kvl_eval.reports.image_work import frames_of, pages_of
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import ReportRun
from kvl_eval.reports.thumbnails import SIDES, spread
from kvl_eval.sources import Source
from kvl_eval.types import ImageRef, MediaInfo, MediaRef, PdfRef, Sample, VideoRef

if TYPE_CHECKING:
    from PIL.Image import Image

FILES = 60  # videos and documents of one task that are opened for a report


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """What a report needs of a task in a run's stored configuration."""

    task: str
    split: str
    source: Source


class DataSetPictures:
    """(task, sample id, entries of its record) -> its pictures, for samples in about the data set's order.

    Attributes:
        notices: why pictures of a task cannot be shown, one text a task.
    """

    def __init__(self, runs: Sequence[ReportRun]) -> None:
        self.notices: list[str] = []
        self._wanted: dict[str, set[str]] = {}
        self._left: dict[str, Iterator[Sample]] = {}
        self._ahead: dict[str, dict[str, Sample]] = {}
        self._opened: dict[str, set[str]] = {}
        for run in runs:
            for entry in run.folder.plan():
                self._wanted.setdefault(entry.task, set()).add(entry.sample_id)
            for task in _stored_tasks(run):
                self._left.setdefault(task.task, self._samples(task))

    def __call__(self, task: str, sample_id: str, media: Sequence[MediaInfo]) -> Iterator[tuple[str, Image]]:
        """Names and pictures of `media`; none where data set, sample or file cannot be reached or have changed."""
        sample = self._find(task, sample_id)
        refs = sample.media if sample is not None else ()
        for ref in spread(refs) if all(isinstance(ref, ImageRef) for ref in refs) else refs:
            if isinstance(ref, ImageRef):
                yield from picture_of(ref)
            elif self._may_open(task, ref):
                yield from _numbered(ref, media)

    def refs(self, task: str, sample_id: str) -> tuple[MediaRef, ...]:
        """Where the media of a sample are; none where data set or sample cannot be reached. To be asked once a sample.

        Of many images only those that are shown; of videos and documents those that may be opened.
        """
        sample = self._find(task, sample_id)
        refs = sample.media if sample is not None else ()
        if all(isinstance(ref, ImageRef) for ref in refs):
            return tuple(spread(refs))
        return tuple(ref for ref in refs if isinstance(ref, ImageRef) or self._may_open(task, ref))

    def _find(self, task: str, sample_id: str) -> Sample | None:
        ahead = self._ahead.setdefault(task, {})
        for sample in self._left.get(task, ()) if sample_id not in ahead else ():
            if sample.id in self._wanted[task]:
                ahead[sample.id] = sample
            if sample.id == sample_id:
                break
        return ahead.pop(sample_id, None)

    def _may_open(self, task: str, ref: VideoRef | PdfRef) -> bool:
        """Whether this video or document is among the first ones of its task."""
        opened = self._opened.setdefault(task, set())
        if ref.path in opened or len(opened) < FILES:
            opened.add(ref.path)
            return True
        notice = f"{plain(task)}: only the frames and pages of the first {FILES} files are shown"
        self.notices += [] if notice in self.notices else [notice]
        return False

    def _samples(self, stored: StoredTask) -> Iterator[Sample]:
        """The samples of one task's data set, in order; where it cannot be read, none and a notice."""
        from kvl_eval.tasks import get_task, open_split

        try:
            yield from open_split(get_task(stored.task), replace(stored.source, offline=True), stored.split)
        except KvlEvalError as error:
            self.notices.append(f"{plain(stored.task)}: images are not shown: {plain(error.message)}")


def _stored_tasks(run: ReportRun) -> tuple[StoredTask, ...]:
    """The tasks of the run's configuration; none where it is lost."""
    try:
        return decode(tuple[StoredTask, ...], run.manifest.config.get("tasks") or [])
    except DecodeError:
        return ()


def picture_of(ref: ImageRef) -> Iterator[tuple[str, Image]]:
    """(name, picture) of a picture, upright. Raises: MediaError."""
    from kvl_eval.media.images import open_image, read_bytes

    data = read_bytes(ref)
    yield hashlib.sha256(data).hexdigest(), open_image(data, ref.name).image


def _numbered(ref: VideoRef | PdfRef, media: Sequence[MediaInfo]) -> Iterator[tuple[str, Image]]:
    """Names and images of the frames or pages that records name."""
    if isinstance(ref, VideoRef):
        return frames_of(ref, media, SIDES["frame"])
    return pages_of(ref, media, SIDES["page"])
