"""Check a data set without running anything: layout, counts, ids, gold, the header of every picture, every file.

Videos and documents are opened as far as their index, in worker processes, so that one that hangs a decoder costs its
time limit. Each file is opened once, however many questions ask about it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from kvl_eval.errors import DataError, MediaError, SampleError
from kvl_eval.sources import Reporter, Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, PdfRef, Sample, VideoRef

SHOWN = 50  # problems listed by `as_text`; the JSON form has all
FILE_SECONDS = 120.0  # most time that one video or document may take
UNDER_WAY = 32  # files that wait for a worker
File = VideoRef | PdfRef


def check(task: Task, source: Source, split: str) -> dict[str, Any]:
    """What is right and wrong with a split; pictures, videos and documents are opened as far as their header.

    Returns: {"task", "split", "place", "ok", "rows", "pictures", "files", "counts": [{"what", "expected", "found",
             "ok"}], "problems": [{"code", "where", "problem"}], "notes": the same form}, every bad row among the
             problems; notes say what is odd about a file that can be used.
    Raises: UsageError for a split the task has not.
    """
    faults: list[DataError] = []
    seen: dict[str, int] = {}
    counted: Counter[str] = Counter()
    problems: list[dict[str, str]] = []
    pictures = 0
    files = _Files()
    try:
        for number, sample in enumerate(open_split(task, source, split, Reporter(bad_row=faults.append)), 1):
            counted.update(_labels(sample))
            pictures += sum(isinstance(one, ImageRef) for one in sample.media)
            problems += _row_problems(task, split, sample, number, seen)
            seen.setdefault(sample.id, number)
            for one in sample.media:
                if isinstance(one, VideoRef | PdfRef):
                    files.open(one, f"row {number}, id {sample.id[:80]}")
    except DataError as error:
        faults.append(error)
    finally:
        files.close()
    problems += files.problems
    counted["files"] = files.count
    problems = [_problem(fault.code, fault.where or "", _told(fault)) for fault in faults] + problems
    counts = list(_counts(task, split, counted))
    return {
        "task": task.name,
        "split": split,
        "place": _place(source, split),
        "ok": not problems and all(one["ok"] for one in counts),
        "rows": counted["rows"],
        "pictures": pictures,
        "files": files.count,
        "counts": counts,
        "problems": problems,
        "notes": files.notes,
    }


def as_text(report: Mapping[str, Any]) -> str:
    """The report for a terminal."""
    media = [f"{report['pictures']} pictures"] if report["pictures"] or not report["files"] else []
    media += [f"{report['files']} videos or documents"] if report["files"] else []
    found = ", ".join([f"{report['rows']} rows", *media])
    lines = [f"{report['task']} {report['split']} in {report['place']}: {found}"]
    lines += [
        f"  {'ok ' if one['ok'] else 'BAD'} {one['what']}: {one['found']}"
        + ("" if one["ok"] else f", expected {one['expected']}")
        for one in report["counts"]
    ]
    problems = report["problems"]
    lines += [f"  BAD {one['where']}: {one['problem']} [{one['code']}]" for one in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more; --json lists all")
    lines += [f"  note {one['where']}: {one['problem']}" for one in report["notes"][:SHOWN]]
    lines.append("everything is as expected" if report["ok"] else f"{len(problems)} problems")
    return "\n".join(lines)


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
        self.problems: list[dict[str, str]] = []
        self.notes: list[dict[str, str]] = []
        self._seen: set[Hashable] = set()
        self._pool: Any = None
        self._waiting: deque[tuple[str, Future[tuple[str, ...]]]] = deque()

    @property
    def count(self) -> int:
        """Files opened."""
        return len(self._seen)

    def open(self, file: File, where: str) -> None:
        """Queue a file, unless it was opened before."""
        data = file.data if isinstance(file, PdfRef) else None
        key = (file.root, file.path) if data is None else hashlib.sha256(data).digest()
        if key in self._seen:
            return
        self._seen.add(key)
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
            self.notes += [_problem("media.note", where, note) for note in answer.result()]
        except SampleError as error:
            self.problems.append(_problem(error.code, where, _told(error)))


def _labels(sample: Sample) -> Iterator[str]:
    yield "rows"
    for field, values in sample.categories.items():
        yield from (f"{field}={value}" for value in values)


def _counts(task: Task, split: str, counted: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Named counts the task expects: `rows`, or `field=value` of its categories, where this layout has the field."""
    if not counted.get("rows"):
        return
    fields = {label.partition("=")[0] for label in counted if counted[label]}
    expected = dict(task.data.count.get(split, {}))
    known = task.splits.get(split)
    if known is not None and known.rows is not None:
        expected.setdefault("rows", known.rows)
    for what, number in expected.items():
        if what.partition("=")[0] not in fields:
            continue
        found = counted.get(what, 0)
        yield {"what": what, "expected": number, "found": found, "ok": found == number}


def _row_problems(
    task: Task, split: str, sample: Sample, number: int, seen: Mapping[str, int]
) -> Iterator[dict[str, str]]:
    where = f"row {number}, id {sample.id[:80]}"
    if sample.id in seen:
        yield _problem("data.duplicate", where, f"the id stands at row {seen[sample.id]} too")
    has_gold = split not in task.splits or task.splits[split].has_gold
    if has_gold and not sample.answers:
        yield _problem("data.no_gold", where, "the row has no answer")
    for picture in sample.media:
        if isinstance(picture, ImageRef):
            yield from _picture_problems(picture, where)


def _picture_problems(picture: ImageRef, where: str) -> Iterator[dict[str, str]]:
    from kvl_eval.media.images import header_size

    try:
        header_size(picture)
    except MediaError as error:
        yield _problem(error.code, where, _told(error))


def _problem(code: str, where: str, problem: str) -> dict[str, str]:
    return {"code": code, "where": where, "problem": problem}


def _told(error: DataError | SampleError) -> str:
    return f"{error.message}: {error.why}" if error.why else error.message


def _place(source: Source, split: str) -> str:
    if split == "mini":
        return "the bundled split"
    if source.data_dir is not None:
        return str(source.data_dir)
    if source.repo is None:
        return "what is generated here"
    return f"hub data set {source.repo}" + (f"@{source.revision}" if source.revision else "")
