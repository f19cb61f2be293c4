"""Where images, videos and documents of a run's samples are: in the data set it used. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kvl_eval.decode import DecodeError, decode
from kvl_eval.errors import KvlEvalError
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import ReportRun
from kvl_eval.reports.thumbnails import spread
from kvl_eval.sources import Source
from kvl_eval.types import ImageRef, MediaRef, PdfRef, Sample, VideoRef

FILES = 60  # videos and documents of one task that are opened for a report


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """What a report needs of a task in a run's stored configuration."""

    task: str
    split: str
    source: Source


class DataSetPictures:
    """The media of samples, asked for in about the data set's order.

    Attributes:
        notices: why images of a task cannot be shown, one text a task.
    """

    def __init__(self, runs: Sequence[ReportRun]) -> None:
        self.notices: list[str] = []
        self._wanted: dict[str, set[str]] = {}
        self._left: dict[str, Iterator[Sample]] = {}
        self._ahead: dict[str, dict[str, Sample]] = {}
        self._opened: dict[str, set[str]] = {}
        for run in runs:
            for entry in run.plan():
                self._wanted.setdefault(entry.task, set()).add(entry.sample_id)
            for task in _stored_tasks(run):
                self._left.setdefault(task.task, self._samples(task))

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
