"""How far a run is, read from its folder while another process writes it: progress, running score, last samples.

Reads only lines that are whole, each once, and writes nothing.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from kvl_eval.decode import DecodeError, decode
from kvl_eval.reports.numbers import DEMO, plain
from kvl_eval.scorers.statistics import wilson
from kvl_eval.scoring.outputs import Item, score_so_far
from kvl_eval.store.answers import answer_of
from kvl_eval.store.journal import LineReader, StoredLine, read_line
from kvl_eval.store.records import Key, PlannedSample, Record
from kvl_eval.store.run_files import open_run_file
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.task_records import sample_lines
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Task
from kvl_eval.types import Score, ScoreView, score_view

LAST = 12  # samples shown
LENGTH = 600  # characters of a text of theirs
PACE = 64  # answers whose times give the pace


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an answer: why it failed, or its points where it could be scored."""

    failure: str | None
    points: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """How far one task is, as the page shows it. `reasons` are (failure, count), most frequent first."""

    task: str
    title: str
    planned: int
    ok: int
    failed: int
    reasons: list[tuple[str, int]]
    scored: int
    score: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerText:
    """An answer as the page shows it; `tokens` are those of thought and answer."""

    task: str
    id: str
    repeat: int
    budget: int | None
    question: str
    gold: str
    answer: str
    verdict: str
    reason: str
    seconds: float | None
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Everything the page shows of a run; texts of others are fit to be shown. `live.json` holds it.

    Attributes:
        demo_text: what is to be said of a demo model; empty for others.
        last:      the newest answer first.
        report:    whether the report is written; `problem`, why it cannot be.
    """

    run_id: str
    model: str
    demo_text: str
    status: str
    created: str | None
    left: int
    seconds_left: float | None
    tasks: list[TaskProgress]
    last: list[AnswerText]
    report: bool = False
    problem: str = ""


@dataclass(slots=True)
class _TaskState:
    """What is known of one task.

    Attributes:
        places:      {key: where the plan's line with the sample's text starts}.
        read:        bytes of the records' file that were read, and `lines`, how many lines these are.
        packed_read: whether what an earlier session compressed was taken in.
        outcomes:    {key: what came of it}; the last record of a key counts.
    """

    name: str
    places: dict[Key, int] = field(default_factory=dict)
    read: int = 0
    lines: int = 0
    packed_read: bool = False
    outcomes: dict[Key, Outcome] = field(default_factory=dict)


class LiveRun:
    """A run that may be in progress. `state()` may be called from several threads."""

    def __init__(self, path: Path, lookup: Callable[[str], Task | None] = TASKS.get) -> None:
        folder = RunFolder.open(path)
        self._path = path
        self._lookup = lookup
        self._lock = threading.Lock()
        self._tasks: dict[str, _TaskState] = {}
        for entry in folder.plan():
            state = self._tasks.setdefault(entry.task, _TaskState(entry.task))
            state.places[entry.key] = entry.sample.offset
        self._plan = LineReader(path / "plan.jsonl")
        self._last: deque[AnswerText] = deque(maxlen=LAST)
        self._ends: deque[float] = deque(maxlen=PACE)

    @property
    def running(self) -> bool:
        """Whether a process works on the run."""
        return RunFolder.open(self._path).status == "running"

    def close(self) -> None:
        """Let go of the plan."""
        self._plan.close()

    def state(self) -> RunProgress:
        """How far the run is now."""
        with self._lock:
            folder = RunFolder.open(self._path)
            for task in self._tasks.values():
                self._read(folder, task)
            tasks = [_progress(task, self._lookup(task.name)) for task in self._tasks.values()]
            left = sum(task.planned - task.ok - task.failed for task in tasks)
            manifest = folder.manifest
            return RunProgress(
                run_id=plain(folder.run_id),
                model=plain(manifest.model.name or "unknown model"),
                demo_text=DEMO if manifest.demo else "",
                status=folder.status,
                created=manifest.created,
                left=left,
                seconds_left=self._seconds_left(left),
                tasks=tasks,
                last=list(reversed(self._last)),
            )

    def _read(self, folder: RunFolder, task: _TaskState) -> None:
        """Take in the records that were finished since the last call."""
        path = folder.samples_path(task.name)
        if not task.packed_read:
            self._read_packed(folder, task)
        if not path.exists():
            return
        if path.stat().st_size < task.read:  # put in place anew: read it from its start
            task.read, task.lines, task.outcomes = 0, 0, {}
            self._read_packed(folder, task)
        view, protocol = _scoring(folder, self._lookup(task.name))
        for line in _new_lines(path, task):
            if (record := _record(line.fields)) is not None:
                self._take(task, record, protocol, view)

    def _read_packed(self, folder: RunFolder, task: _TaskState) -> None:
        """Take in what an earlier session compressed, once."""
        task.packed_read = True
        view, protocol = _scoring(folder, self._lookup(task.name))
        for line in sample_lines(folder.samples_path(task.name)):
            if line.place.file:
                return
            if (record := _record(line.fields)) is not None:
                self._take(task, record, protocol, view)

    def _take(self, task: _TaskState, record: Record, protocol: str | None, view: ScoreView) -> None:
        if record.key not in task.places:
            return
        sample = decode(PlannedSample, self._plan.at(task.places[record.key]))
        failure = None if record.status == "ok" else record.reason or "unknown"
        known = self._lookup(task.name)
        score = None
        if failure is None and known is not None and protocol is not None:
            item = Item(replace(known.sample(sample.row), id=record.sample_id), answer_of(record, view))
            score = score_so_far(known, protocol, item, view)
        task.outcomes[record.key] = Outcome(failure, None if score is None else score.value)
        self._last.append(_answer_text(task.name, sample, record, score))
        ended = _seconds(record.ended_at)
        if ended is not None:
            self._ends.append(ended)

    def _seconds_left(self, left: int) -> float | None:
        if len(self._ends) < 2:
            return None
        span = max(self._ends) - min(self._ends)
        return left * span / (len(self._ends) - 1)


def _new_lines(path: Path, task: _TaskState) -> Iterator[StoredLine]:
    with open_run_file(path) as file:
        file.seek(task.read)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset, task.read, task.lines = task.read, task.read + len(line), task.lines + 1
            yield read_line(line, task.lines, offset, path)


def _record(stored: object) -> Record | None:
    """The record of a line; None for what is none, which the run folder's own readers report."""
    try:
        return decode(Record, stored)
    except DecodeError:
        return None


def _scoring(folder: RunFolder, task: Task | None) -> tuple[ScoreView, str | None]:
    """What a scorer sees, and the protocol; None where single answers cannot be scored."""
    config = folder.manifest.config
    view = score_view(config.get("thinking"))
    if task is None:
        return view, None
    named = str(config.get("protocol"))
    protocol = task.protocol_named(named) or task.default_protocol
    return view, None if task.protocols[protocol].score_run else protocol


def _progress(task: _TaskState, known: Task | None) -> TaskProgress:
    failed = Counter(outcome.failure for outcome in task.outcomes.values() if outcome.failure is not None)
    points = [outcome.points for outcome in task.outcomes.values() if outcome.points is not None]
    return TaskProgress(
        task=plain(task.name),
        title=plain(known.title if known else task.name),
        planned=len(task.places),
        ok=len(task.outcomes) - failed.total(),
        failed=failed.total(),
        reasons=[(plain(reason), count) for reason, count in failed.most_common()],
        scored=len(points),
        score=sum(points) / len(points) if points else None,
        ci95=wilson(sum(points), len(points)) if points else None,
    )


def _answer_text(task: str, sample: PlannedSample, record: Record, score: Score | None) -> AnswerText:
    return AnswerText(
        task=plain(task),
        id=plain(record.sample_id),
        repeat=record.repeat,
        budget=record.budget,
        question=_text(sample.question),
        gold=_text(" | ".join(sample.gold)),
        answer=_text(record.answer or record.raw_output),
        verdict=record.status if score is None else score.verdict,
        reason=plain(record.reason or (score.reason if score else None) or ""),
        seconds=record.time.get("total"),
        tokens=record.tokens.thinking + record.tokens.answer,
    )


def _text(value: str) -> str:
    text = plain(value[: LENGTH + 1], keep="\n\t")
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
