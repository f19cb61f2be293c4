"""Scores of a run folder, written: `scores/` and `results.json`. Loads neither a model nor a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kvl_eval.errors import DataError, UsageError, unknown
from kvl_eval.scoring.judged import can_be_judged
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import ScoredRun, score_run
from kvl_eval.store.names import scores_name
from kvl_eval.store.replies import JudgeView
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.tasks.base import Task
from kvl_eval.types import ScoreView, score_view


def rescore(
    run: RunReader, protocol: str | None = None, view: ScoreView = "answer", *, strict: bool = False
) -> Results:
    """Score stored answers and write the results.

    `protocol` is a name, `all`, or None: each task's default and what it shows beside. A protocol that a judge serves
    is also scored with the stored replies of each judge that was shown the same of the answers.

    Rows of other protocols that results.json holds are kept.
    Returns: results.json. Raises: UsageError for a protocol a task has not, DataError for a damaged plan.
    """
    folder = run.folder
    if folder.problem is None:
        folder.check_plan()
    rows: list[ResultRow] = []
    for task in _scored_tasks(run, protocol, view, strict=strict):
        folder.write_scores(task.name, task.scorer, task.scored.version, task.scored.lines)
        rows += task.scored.rows
    results = _joined(run, rows)
    folder.write_results(results)
    return results


def fresh_results(run: RunReader) -> Results:
    """results.json, made first where a run that did not end left none, a damaged one, or one older than its records."""
    stored = _stored_results(run)
    if stored is not None and run.folder.status == "finished":
        return stored
    return rescore(run, *_own_scoring(run))


def current_results(run: RunReader) -> Results:
    """What `fresh_results` returns, without writing anything.

    A task that is not known here has the rows that were stored for it, if any.
    """
    stored = _stored_results(run)
    if stored is not None and run.folder.status == "finished":
        return stored
    return _joined(
        run, [row for task in _scored_tasks(run, *_own_scoring(run), skips_unknown=True) for row in task.scored.rows]
    )


class _ScoredTask(NamedTuple):
    """One task under one protocol and judge; `scorer` is what `scores/` calls them."""

    name: str
    scorer: str
    scored: ScoredRun


def _scored_tasks(
    run: RunReader, protocol: str | None, view: ScoreView, *, strict: bool = False, skips_unknown: bool = False
) -> Iterator[_ScoredTask]:
    for name in run.task_names:
        run.index(name, strict=strict)
        try:
            task = run.task(name)
        except UsageError:
            if skips_unknown:
                continue
            raise
        for rule in _protocols(task, protocol):
            for judge in judges(run, task, rule, view):
                scored = score_run(run, task, rule, view, judge)
                yield _ScoredTask(name, scores_name(rule, view, None if judge is None else judge.judge), scored)


def _joined(run: RunReader, rows: Sequence[ResultRow]) -> Results:
    """Results with these rows, and those of other protocols that results.json holds."""
    fresh = {row_key(row) for row in rows}
    stored = _stored_results(run)
    older = [row for row in (stored.rows if stored else ()) if row_key(row) not in fresh]
    folder = run.folder
    return Results(
        run_id=folder.run_id,
        created=folder.manifest.created,
        model=folder.manifest.model,
        demo=folder.manifest.demo,
        rows=tuple(_in_plan_order([*older, *rows], run.task_names)),
    )


def _stored_results(run: RunReader) -> Results | None:
    try:
        return run.folder.results()
    except DataError:
        return None


def _own_scoring(run: RunReader) -> tuple[str | None, ScoreView]:
    """Protocol and view that a run was started with."""
    config = run.folder.manifest.config
    protocol = config.get("protocol")
    return protocol if isinstance(protocol, str) else None, score_view(config.get("thinking"))


def judges(run: RunReader, task: Task, protocol: str, view: ScoreView) -> list[JudgeView | None]:
    """No judge, and then each judge that was asked about what this protocol is shown."""
    if not can_be_judged(task, task.protocols[protocol]):
        return [None]
    return [None, *(judge for judge in run.replies(task.name).views if judge.view == view)]


class RowKey(NamedTuple):
    """What tells the rows of `results.json` apart."""

    task: str
    split: str | None
    budget: int | None
    policy: str | None
    protocol: str
    thinking: str
    judge: str | None


def row_key(row: ResultRow) -> RowKey:
    """The key of a row."""
    return RowKey(row.task, row.split, row.budget, row.policy, row.protocol, row.thinking, row.judge)


def _protocols(task: Task, protocol: str | None) -> list[str]:
    if protocol == "all":
        return list(task.protocols)
    if protocol is None:
        return [task.default_protocol, *task.view.beside]
    known = task.protocol_named(protocol)
    if known is None:
        raise unknown("protocol", protocol, [*task.protocols, "all"], f"kvl-eval describe {task.name}")
    return [known]


def _in_plan_order(rows: Iterable[ResultRow], tasks: Sequence[str]) -> list[ResultRow]:
    place = {name: number for number, name in enumerate(tasks)}
    return sorted(
        rows,
        key=lambda row: (
            place.get(row.task, len(place)),
            row.protocol != "official",
            row.protocol,
            row.thinking,
            row.budget is None,
            row.budget or 0,
        ),
    )
