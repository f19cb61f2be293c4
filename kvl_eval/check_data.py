"""Check a data set without running anything: layout, counts, ids, gold, the header of every picture, every file.

Videos and documents are opened as far as their index, in worker processes, so that one that hangs a decoder costs its
time limit. Each file is opened once, however many questions ask about it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from kvl_eval.errors import DataError, MediaError, SampleError
from kvl_eval.media.settings import MAX_IMAGE_PIXELS
from kvl_eval.printable import how_many, one_line, printable
from kvl_eval.sources import Reporter, Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.choices import image_tags
from kvl_eval.tasks.expected import CountCheck, count_checks, labels_of, other_data
from kvl_eval.types import ImageRef, PdfRef, Sample, VideoRef

SHOWN = 50  # problems listed by `as_text`; the JSON form has all
FILE_SECONDS = 120.0  # most time that one video or document may take
UNDER_WAY = 32  # files that wait for a worker
File = VideoRef | PdfRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, or odd, and where: a row with its id, a file."""

    code: str
    where: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What is right and wrong with a split. `asdict` gives what `check data --json` prints.

    Attributes:
        problems: every bad row and file; `notes` say what is odd about a file that can be used.
        ok:       whether a run would ask every sample, and whole data are the published ones.
        pictures: how many there are; `files` counts videos and documents.
        remarks:  what a plan says of the data too: lines that begin `note: ` or `warning: `.
    """

    task: str
    split: str
    place: str
    ok: bool
    rows: int
    pictures: int
    files: int
    counts: list[CountCheck]
    problems: list[Problem]
    notes: list[Problem]
    remarks: list[str] = dataclasses.field(default_factory=list)


def check(task: Task, source: Source, split: str, *, max_image_pixels: int = MAX_IMAGE_PIXELS) -> DataReport:
    """What is right and wrong with a split; pictures, videos and documents are opened as far as their header.

    Args:
        max_image_pixels: a picture of more is a problem, as for a run with that option.
    Raises: UsageError for a split the task has not.
    """
    faults: list[DataError] = []
    remarks: list[str] = []
    places: dict[str, int] = {}
    labels: Counter[str] = Counter()
    problems: list[Problem] = []
    notes: list[Problem] = []
    pictures = 0
    files = _Files()
    try:
        reporter = Reporter(bad_row=faults.append, note=remarks.append)
        for number, sample in enumerate(open_split(task, source, split, reporter), 1):
            labels.update(labels_of(sample))
            pictures += sum(isinstance(medium, ImageRef) for medium in sample.media)
            where = f"row {number}, id {sample.id[:80]}"
            problems += _row_problems(task, split, sample, where, places)
            notes += _row_notes(sample, where)
            places.setdefault(sample.id, number)
            for medium in sample.media:
                if isinstance(medium, VideoRef | PdfRef):
                    files.open(medium, where)
                else:
                    problems += _picture_problems(medium, max_image_pixels, where)
    except DataError as error:
        faults.append(error)
    finally:
        files.close()
    labels["files"] = files.count
    problems = [*(_problem(fault, fault.where or "") for fault in faults), *problems, *files.problems]
    if (difference := other_data(task, split, labels)) is not None:
        remarks.append(f"warning: {task.name}: {difference}")
    counts = list(count_checks(task, split, labels))
    return DataReport(
        task=task.name,
        split=split,
        place=_place(task, source, split),
        ok=not problems and not _wrong(counts),
        rows=labels["rows"],
        pictures=pictures,
        files=files.count,
        counts=counts,
        problems=problems,
        notes=[*notes, *files.notes],
        remarks=remarks,
    )


def _line(entry: Problem) -> str:
    return printable(f"{entry.where}: {entry.problem}", keep="")


def as_text(report: DataReport) -> str:
    """The report for a terminal."""
    media = [how_many(report.pictures, "image")] if report.pictures or not report.files else []
    media += [f"{report.files:,} videos or documents"] if report.files else []
    counted = ", ".join([how_many(report.rows, "row"), *media])
    lines = [f"{one_line(report.task)} {report.split} in {one_line(report.place)}: {counted}"]
    wrong = _wrong(report.counts)
    lines += [
        f"  {'ok ' if count.ok else 'BAD' if count in wrong else 'note'} {count.what}: {count.found}"
        + ("" if count.ok else f", expected {count.expected}")
        for count in report.counts
    ]
    problems = report.problems
    lines += [f"  BAD {_line(entry)} [{entry.code}]" for entry in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more; --json lists all")
    lines += [f"  note {_line(entry)}" for entry in report.notes[:SHOWN]]
    lines += map(one_line, report.remarks)
    bad = len(problems) + len(wrong)
    whole = "OK" if all(count.ok for count in report.counts) else "OK: every sample has a usable prompt"
    lines.append(how_many(bad, "problem") if bad else whole)
    return "\n".join(lines)


def _wrong(counts: Sequence[CountCheck]) -> list[CountCheck]:
    """The counts that speak of a fault; none where the number of rows says that other data are meant."""
    if any(count.what == "rows" and not count.ok for count in counts):
        return []
    return [count for count in counts if not count.ok]


def probe(file: File) -> tuple[str, ...]:
    """Open a video or document as far as its index, and a video's subtitles; gives what is odd about it.

    Raises: MediaError.
    """
    if isinstance(file, PdfRef):
        from kvl_eval.media.documents import probe_document

        probe_document(file)
        return ()
    from kvl_eval.media.subtitles import Clip, read_subtitles, woven
    from kvl_eval.media.video import chosen_frames, probe_video

    video = probe_video(file)
    if file.subtitles is not None and file.subtitles.rule.startswith("interleave"):
        chosen = chosen_frames(file, video)
        woven(file, Clip(fps=video.fps, total=video.frames, indices=chosen.indices))
    elif file.subtitles is not None:
        read_subtitles(file.subtitles)
    return video.notes


class _Files:
    """Opens each file once in worker processes, and keeps what is wrong with it, in the order of the rows."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self._keys: set[Hashable] = set()
        self._pool: Any = None
        self._waiting: deque[tuple[str, Future[tuple[str, ...]]]] = deque()

    @property
    def count(self) -> int:
        """Files opened."""
        return len(self._keys)

    def open(self, file: File, where: str) -> None:
        """Queue a file, unless it was opened before."""
        data = file.data if isinstance(file, PdfRef) else None
        key = (file.root, file.path) if data is None else hashlib.sha256(data).digest()
        if key in self._keys:
            return
        self._keys.add(key)
        if self._pool is None:
            from kvl_eval.media.pool import MediaPool

            self._pool = MediaPool(probe, workers=min(4, os.cpu_count() or 1), timeout=FILE_SECONDS)
        self._waiting.append((f"{where}, {file.path}", self._pool.submit(file)))
        if len(self._waiting) > UNDER_WAY:
            self._take()

    def close(self) -> None:
        """Wait for what is under way, and end the processes."""
        if self._pool is None:
            return
        try:
            while self._waiting:
                self._take()
        finally:
            self._pool.close()

    def _take(self) -> None:
        where, answer = self._waiting.popleft()
        try:
            self.notes += [Problem(code="media.note", where=where, problem=note) for note in answer.result()]
        except SampleError as error:
            self.problems.append(_problem(error, where))


def _row_problems(task: Task, split: str, sample: Sample, where: str, places: Mapping[str, int]) -> Iterator[Problem]:
    """`places` are the rows of the ids before this one."""
    if sample.id in places:
        again = f"the id also appears in row {places[sample.id]}"
        yield Problem(code="data.duplicate", where=where, problem=again)
    has_gold = split not in task.splits or task.splits[split].has_gold
    if has_gold and not sample.answers and task.data.table is None:
        yield Problem(code="data.no_gold", where=where, problem="the row has no answer")
    pictures = sum(isinstance(medium, ImageRef) for medium in sample.media)
    tags = image_tags("\n".join([sample.question, *sample.choices]))
    if absent := sorted(tag for tag in tags if tag > pictures):
        named = ", ".join(f"<image {tag}>" for tag in absent)
        yield Problem(code="media.missing", where=where, problem=f"{named} has no image: the row has {pictures}")


def _row_notes(sample: Sample, where: str) -> Iterator[Problem]:
    """What is odd about a row that can be used."""
    texts = [text for text in sample.choices if text]
    if sample.choices and not texts:
        yield Problem(code="data.options", where=where, problem="the row has no options, so its letters have no text")
    elif len(texts) < len(sample.choices):
        yield Problem(code="data.options", where=where, problem="an option has no text")
    if twice := [text for text, count in Counter(texts).items() if count > 1]:
        yield Problem(code="data.options", where=where, problem=f"two options are {twice[0][:80]!r}")
    own = sample.row.get("id")
    if own is not None and str(own) not in sample.id:
        yield Problem(code="data.id", where=where, problem=f"the column `id` contains {str(own)[:80]!r}")


def _picture_problems(picture: ImageRef, most: int, where: str) -> Iterator[Problem]:
    from kvl_eval.media.images import Opening, header_size

    try:
        header_size(picture, Opening(most=most))
    except MediaError as error:
        yield _problem(error, where)


def _problem(error: DataError | SampleError, where: str) -> Problem:
    text = f"{error.message}: {error.why}" if error.why else error.message
    return Problem(code=error.code, where=where, problem=text)


def _place(task: Task, source: Source, split: str) -> str:
    if task.data.table is not None:
        return str(task.data.table.path)
    if split == "mini":
        return "the bundled split"
    if source.data_dir is not None:
        return str(source.data_dir)
    if source.repo is None:
        return "generated data"
    return f"hub data set {source.repo}" + (f"@{source.revision}" if source.revision else "")
