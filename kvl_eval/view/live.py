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
from typing import Any

from kvl_eval.decode import decode
from kvl_eval.reports.numbers import plain
from kvl_eval.scorers.statistics import wilson
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.scoring.stored_answers import answer_of
from kvl_eval.store.journal import Line, LineReader, read_line
from kvl_eval.store.records import Key, Record
from kvl_eval.store.run_folder import RunFolder, legacy_key_of
from kvl_eval.store.task_records import sample_lines
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Task
from kvl_eval.types import Sample, Score, ScoreView, score_view

LAST = 12  # samples shown
LENGTH = 600  # characters of a text of theirs
PACE = 64  # answers whose times give the pace

Fields = dict[str, Any]


@dataclass(slots=True)
class _TaskState:
    """What is known of one task.

    Attributes:
        places: {key: where the plan's line with the sample's text starts}.
        read:   bytes of the records' file that were read, and `lines`, how many lines these are.
        packed_read: whether what an earlier session compressed was taken in.
        found:  {key: (failure or None, points or None)}; the last record of a key counts.
    """

    name: str
    places: dict[Key, int] = field(default_factory=dict)
    read: int = 0
    lines: int = 0
    packed_read: bool = False
    found: dict[Key, tuple[str | None, float | None]] = field(default_factory=dict)


class LiveRun:
    """A run that may be going on. `state()` may be called from several threads."""

    def __init__(self, path: Path, lookup: Callable[[str], Task | None] = TASKS.get) -> None:
        folder = RunFolder.open(path)
        self._path = path
        self._lookup = lookup
        self._lock = threading.Lock()
        self._tasks: dict[str, _TaskState] = {}
        for entry in folder.legacy_plan():
            state = self._tasks.setdefault(entry["task"], _TaskState(entry["task"]))
            state.places[legacy_key_of(entry)] = entry["offset"]
        self._plan = LineReader(path / "plan.jsonl")
        self._last: deque[Fields] = deque(maxlen=LAST)
        self._ends: deque[float] = deque(maxlen=PACE)

    @property
    def running(self) -> bool:
        """Whether a process works on the run."""
        return RunFolder.open(self._path).status == "running"

    def close(self) -> None:
        """Let go of the plan."""
        self._plan.close()

    def state(self) -> Fields:
        """Everything the page shows, as JSON values; texts of others are fit to be shown."""
        with self._lock:
            folder = RunFolder.open(self._path)
            for task in self._tasks.values():
                self._read(folder, task)
            tasks = [_told(task, self._lookup(task.name)) for task in self._tasks.values()]
            left = sum(task["planned"] - task["ok"] - task["failed"] for task in tasks)
            return {
                "run_id": plain(folder.run_id),
                "model": plain((folder.legacy_manifest.get("model") or {}).get("name") or "unknown model"),
                "demo": bool(folder.legacy_manifest.get("demo")),
                "status": folder.status,
                "created": folder.legacy_manifest.get("created"),
                "left": left,
                "seconds_left": self._seconds_left(left),
                "tasks": tasks,
                "last": list(reversed(self._last)),
            }

    def _read(self, folder: RunFolder, task: _TaskState) -> None:
        """Take in the records that were finished since the last call."""
        path = folder.samples_path(task.name)
        if not task.packed_read:
            self._read_packed(folder, task)
        if not path.exists():
            return
        if path.stat().st_size < task.read:  # put in place anew: read it from its start
            task.read, task.lines, task.found = 0, 0, {}
            self._read_packed(folder, task)
        view, protocol = _scoring(folder, self._lookup(task.name))
        for line in _new_lines(path, task):
            if line.fields is not None:
                self._take(task, line.fields, protocol, view)

    def _read_packed(self, folder: RunFolder, task: _TaskState) -> None:
        """Take in what an earlier session compressed, once."""
        task.packed_read = True
        view, protocol = _scoring(folder, self._lookup(task.name))
        for line in sample_lines(folder.samples_path(task.name)):
            if line.place.file:
                return
            if line.fields is not None:
                self._take(task, line.fields, protocol, view)

    def _take(self, task: _TaskState, record: Fields, protocol: str | None, view: ScoreView) -> None:
        key = legacy_key_of(record)
        if key not in task.places:
            return
        entry = self._plan.at(task.places[key])
        failed = None if record["status"] == "ok" else str(record.get("reason") or "unknown")
        known = self._lookup(task.name)
        score = None
        if failed is None and known is not None and protocol is not None:
            sample = replace(known.sample(entry["row"]), id=record["sample_id"])
            score = _score(known, protocol, view, sample, record)
        task.found[key] = failed, None if score is None else score.value
        self._last.append(_shown(task.name, entry, record, score))
        ended = _seconds(record.get("ended_at"))
        if ended is not None:
            self._ends.append(ended)

    def _seconds_left(self, left: int) -> float | None:
        if len(self._ends) < 2:
            return None
        span = max(self._ends) - min(self._ends)
        return left * span / (len(self._ends) - 1)


def _new_lines(path: Path, task: _TaskState) -> Iterator[Line]:
    with open(path, "rb") as file:
        file.seek(task.read)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset, task.read, task.lines = task.read, task.read + len(line), task.lines + 1
            yield read_line(line, task.lines, offset, path)


def _scoring(folder: RunFolder, task: Task | None) -> tuple[ScoreView, str | None]:
    """What a scorer sees, and the protocol; None where single answers cannot be scored."""
    config = folder.legacy_manifest.get("config") or {}
    view = score_view(config.get("thinking"))
    if task is None:
        return view, None
    named = str(config.get("protocol"))
    protocol = named if named in task.protocols else task.default_protocol
    return view, None if task.protocols[protocol].score_run else protocol


def _score(task: Task, protocol: str, view: ScoreView, sample: Sample, record: Fields) -> Score:
    answer = answer_of(decode(Record, record), view)
    return score_outputs(task, protocol, [Item(sample, answer)], view)[0]


def _told(task: _TaskState, known: Task | None) -> Fields:
    failed = Counter(reason for reason, _ in task.found.values() if reason is not None)
    points = [value for _, value in task.found.values() if value is not None]
    return {
        "task": plain(task.name),
        "title": plain(known.title if known else task.name),
        "planned": len(task.places),
        "ok": len(task.found) - failed.total(),
        "failed": failed.total(),
        "reasons": [[plain(reason), count] for reason, count in failed.most_common()],
        "scored": len(points),
        "score": sum(points) / len(points) if points else None,
        "ci95": list(wilson(sum(points), len(points))) if points else None,
    }


def _shown(task: str, entry: Fields, record: Fields, score: Score | None) -> Fields:
    key = legacy_key_of(record)
    return {
        "task": plain(task),
        "id": plain(key.sample_id),
        "repeat": key.repeat,
        "budget": key.budget,
        "question": _text(entry["question"]),
        "gold": _text(" | ".join(str(one) for one in entry["gold"])),
        "answer": _text(record["answer"] or record["raw_output"]),
        "verdict": record["status"] if score is None else score.verdict,
        "reason": plain(record.get("reason") or (score.reason if score else None) or ""),
        "seconds": record["time"].get("total"),
        "tokens": record["tokens"].get("thinking", 0) + record["tokens"].get("answer", 0),
    }


def _text(value: object) -> str:
    shown = plain(str(value)[: LENGTH + 1], keep="\n\t")
    return shown if len(shown) <= LENGTH else f"{shown[:LENGTH]}…"


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
