"""The runs of a report: run folders read once, with what tables need to know about each result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvl_eval.errors import UsageError
from kvl_eval.reports.numbers import plain
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.names import scores_name
from kvl_eval.store.records import PlanEntry, ScoreLine
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.task_records import RecordIndex, Room, TaskRecords

if TYPE_CHECKING:
    from kvl_eval.scoring.run_reader import RunReader
    from kvl_eval.tasks.base import Task


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run folder and its results.json; `number` is its place in the report."""

    number: int
    reader: RunReader
    results: Results
    _plan: dict[str, list[PlanEntry]] = field(default_factory=dict, compare=False, repr=False)  # by task
    _scores: dict[tuple[str, str], list[ScoreLine]] = field(default_factory=dict, compare=False, repr=False)

    def plan(self, task: str | None = None) -> Sequence[PlanEntry]:
        """The planned answers in order, of one task or all, read once; without their rows but for own tables.

        Raises: DataError `run.plan`, naming file and line, if one cannot be read.
        """
        if not self._plan:
            for entry in self.folder.plan():
                slim = entry if entry.task.startswith("file:") else replace(entry, sample=replace(entry.sample, row={}))
                self._plan.setdefault(entry.task, []).append(slim)
        if task is None:
            return [entry for entries in self._plan.values() for entry in entries]
        return self._plan.get(task, ())

    @property
    def folder(self) -> RunFolder:
        """Where the run is."""
        return self.reader.folder

    def index(self, task: str) -> RecordIndex:
        """Where each record of a task is; read once. Raises: UsageError `run.mixed`."""
        return self.reader.index(task)

    def records(self, task: str) -> TaskRecords:
        """The records of a task, to be used as a context. Raises: UsageError `run.mixed`."""
        return self.reader.records(task)

    def scores(self, task: str, protocol: str) -> Sequence[ScoreLine]:
        """A task's scores in plan order; read once. Raises: DataError `run.scores` for one that cannot be read."""
        if (task, protocol) not in self._scores:
            self._scores[task, protocol] = list(self.folder.scores(task, protocol))
        return self._scores[task, protocol]

    @property
    def manifest(self) -> Manifest:
        """run.json."""
        return self.folder.manifest

    @property
    def run_id(self) -> str:
        """The folder's name, fit to be shown."""
        return plain(self.folder.run_id)

    @property
    def model(self) -> str:
        """The model's name, fit to be shown."""
        return plain(self.manifest.model.name or "unknown model")

    @property
    def demo(self) -> bool:
        """Whether this run shows the harness rather than Kimi-VL."""
        return self.results.demo

    @property
    def rows(self) -> Sequence[ResultRow]:
        """Rows of results.json: one per task, split, budget, policy and protocol."""
        return self.results.rows


def open_runs(folders: Sequence[Path]) -> list[ReportRun]:
    """The runs of these folders in order. Raises UsageError for none, DataError for one that cannot be read."""
    if not folders:
        raise UsageError("usage.report", "no run given", fix="see `kvl-eval list runs`")
    from kvl_eval.scoring.run_reader import RunReader

    room = Room()
    opened = [RunReader(RunFolder.open(folder), room=room) for folder in folders]
    return [ReportRun(number, run, run.folder.results()) for number, run in enumerate(opened)]


class Setting(NamedTuple):
    """What results have in common that differ in protocol alone."""

    task: str
    split: str | None
    budget: int | None
    policy: str | None
    blind: bool


def task_of(row: ResultRow) -> Task | None:
    """The task of a result; None for one this version does not know."""
    from kvl_eval.tasks import known_task

    return known_task(row.task)


def is_default_protocol(row: ResultRow) -> bool:
    """Whether a result was scored as the task does by default; an unknown task has only one way."""
    task = task_of(row)
    return row.thinking == "split" and (task is None or task.default_protocol == row.protocol)


def scores_of(row: ResultRow) -> str:
    """How `scores/` calls what is behind a result."""
    return scores_name(row.protocol, row.thinking, row.judge)


def setting_of(row: ResultRow) -> Setting:
    """Task, split, budget and pictures of a result."""
    return Setting(row.task, row.split, row.budget, row.policy, row.blind)


def main_rows(run: ReportRun) -> list[ResultRow]:
    """One result for each task, split and budget: that of the default protocol, or the first there is.

    Where judges were asked, the newest one's.
    """
    chosen: dict[Setting, ResultRow] = {}
    for row in run.rows:
        if setting_of(row) not in chosen or is_default_protocol(row):
            chosen[setting_of(row)] = row
    return list(chosen.values())


def beside_rows(run: ReportRun, main: ResultRow) -> list[ResultRow]:
    """What a task shows beside its main result: the same answers under the protocols it names, the newest judge's."""
    task = task_of(main)
    beside = () if task is None else task.view.beside
    others = {
        row.protocol: row for row in protocol_rows(run, main)[1:] if row.protocol in beside and row.thinking == "split"
    }
    return [row for name, row in others.items() if name != main.protocol]


def protocol_rows(run: ReportRun, main: ResultRow) -> list[ResultRow]:
    """All protocols' results of one setting, the main one first."""
    others = [row for row in run.rows if setting_of(row) == setting_of(main) and row is not main]
    return [main, *others]


def task_names(runs: Sequence[ReportRun]) -> list[str]:
    """Names of the tasks with results, in order of first appearance."""
    return list(dict.fromkeys(row.task for run in runs for row in run.rows))


def blind_score(runs: Sequence[ReportRun], run: ReportRun, row: ResultRow) -> float | None:
    """The score of the same model on the same split with every picture grey, where such a run is given."""
    if row.blind:
        return None
    for other in runs:
        if other.model != run.model:
            continue
        for candidate in main_rows(other):
            same = setting_of(candidate) == setting_of(row)._replace(blind=True)
            if same and candidate.protocol == row.protocol:
                return candidate.score
    return None
