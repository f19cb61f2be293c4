"""Which score of a run is explained, under which protocol, and how its answers are read in order to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval import __version__
from kvl_eval.errors import DataError, UnscoredError, UsageError, unknown
from kvl_eval.explanation.document import ExplainedCounts, ExplainedRun, HowKnown
from kvl_eval.explanation.reading import BudgetKey, Scorer, TaskReplies, budgets_of
from kvl_eval.explanation.references import GapTarget, known_of
from kvl_eval.printable import how_many, whole
from kvl_eval.scoring.judged import can_be_judged
from kvl_eval.scoring.published import is_scripted
from kvl_eval.scoring.rescore import judges
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.store.derived_files import newest_scores, scores_version
from kvl_eval.store.records import PlanEntry
from kvl_eval.store.result_records import ResultRow
from kvl_eval.tasks.base import READER, Task
from kvl_eval.types import ScoreView, score_view, stored_view


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What is asked for; fields as the options of `kvl-eval explain`.

    Attributes:
        task:     None where the run has one.
        to:       a system, a number or a run; None means the published result of the run's own model.
        to_n:     questions behind the reference.
        protocol: P0; None means the run's headline.
        as_:      P1; None means the reference's own where it was read, else `reader`.
        budget:   thinking budget; None means the largest.
    """

    task: str | None = None
    to: str | None = None
    to_n: int | None = None
    protocol: str | None = None
    as_: str | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class ExplainedCase:
    """One task of a run at one budget, its P0 and the stored result under it."""

    run: RunReader
    task: Task
    replies: TaskReplies
    own: Scorer
    row: ResultRow

    def about_run(self) -> ExplainedRun:
        """The run, as documents show it."""
        folder, manifest = self.run.folder, self.run.folder.manifest
        return ExplainedRun(
            id=folder.run_id,
            path=str(folder.path),
            model=manifest.model.name,
            demo=manifest.demo,
            scripted=is_scripted(manifest),
            fingerprint=manifest.config_fingerprint,
        )

    def counts(self, scored: int, clusters: int) -> ExplainedCounts:
        """What became of the planned answers."""
        facts = self.replies.facts
        return ExplainedCounts(
            planned=len(facts),
            ok=sum(answer.status == "ok" for answer in facts),
            failed=sum(answer.status == "failed" for answer in facts),
            pending=sum(answer.status == "pending" for answer in facts),
            scored=scored,
            clusters=clusters,
        )


def case_of(run: RunReader, options: ExplainOptions) -> ExplainedCase:
    """What is explained. Raises: UsageError for an unknown task, protocol or budget; UnscoredError; DataError."""
    task = run.task(_task_name(run, options.task))
    plan = list(run.folder.plan(task.name))
    budget = _budget(plan, task.name, options.budget)
    config = run.folder.manifest.config
    stored = config.get("protocol")
    named = options.protocol or (stored if isinstance(stored, str) and stored != "all" else None)
    own = scorer(run, task, named or task.default_protocol, score_view(config.get("thinking")))
    replies = TaskReplies(run, task, budget, plan)
    row = _result_row(run, task, own, budget)
    if row is None or row.score is None:
        raise unscored(run, task, own, replies)
    return ExplainedCase(run, task, replies, own, row)


def scorer(run: RunReader, task: Task, protocol: str, view: ScoreView) -> Scorer:
    """A protocol of a task with the newest judge that this run asked, if any. Raises: UsageError `usage.protocol`."""
    name = task.protocol_named(protocol)
    if name is None:
        raise unknown("protocol", protocol, list(task.protocols), f"kvl-eval describe {task.name}")
    return Scorer(name, view, judges(run, task, name, view)[-1])


def comparing_scorer(case: ExplainedCase, target: GapTarget | None, as_: str | None) -> tuple[Scorer, HowKnown]:
    """P1, and how it was chosen: asked for, read of the reference, or the task's `reader`."""
    run, task, view = case.run, case.task, case.own.view
    if as_ is not None:
        return scorer(run, task, as_, view), "option"
    fact = None if target is None else known_of(target).get("protocol")
    if fact is not None and fact.evidence == "read" and task.protocol_named(fact.value):
        return scorer(run, task, fact.value, view), "read"
    name = task.protocol_named(READER)
    if name is None or (task.protocols[name].needs_judge and scorer(run, task, name, view).judge is None):
        return case.own, "default"
    return scorer(run, task, name, view), "default"


def _task_name(run: RunReader, name: str | None) -> str:
    names = run.task_names
    if name is not None:
        wanted = name.lower().replace("_", "-")
        if wanted not in names:
            raise unknown("task", name, names, "kvl-eval list runs")
        return wanted
    if len(names) == 1:
        return names[0]
    raise UsageError(
        "usage.task",
        f"the run has {how_many(len(names), 'task')}: name one",
        where=str(run.folder.path),
        why=", ".join(names),
        fix=f"add --task {names[0] if names else 'TASK'}",
    )


def _budget(plan: Sequence[PlanEntry], task: str, budget: int | None) -> BudgetKey:
    """The planned budget that is asked for; without one the largest. Raises: UsageError `usage.budget`."""
    planned = budgets_of(plan)
    planned = [key for key in planned if key.policy != "approximate"] or planned
    if not planned:
        return BudgetKey()
    if budget is None:
        return max(planned, key=lambda key: (key.budget is None, key.budget or 0))
    chosen = next((key for key in planned if key.budget == budget), None)
    if chosen is None:
        known = ", ".join("none" if key.budget is None else str(key.budget) for key in planned)
        raise UsageError(
            "usage.budget",
            f"the run has no thinking budget {budget}",
            why=f"budgets of {task}: {known}",
            fix="use one of them, or leave out --budget",
        )
    return chosen


def _result_row(run: RunReader, task: Task, own: Scorer, budget: BudgetKey) -> ResultRow | None:
    """The result under P0: as stored where this version made it, else from the replies."""
    path = newest_scores(run.folder.path, task.name, own.name)
    rows: tuple[ResultRow, ...] = ()
    if run.folder.status == "finished" and path is not None and scores_version(path) == __version__:
        try:
            rows = run.folder.results().rows
        except DataError:
            rows = ()
    judge = None if own.judge is None else own.judge.judge
    wanted = (task.name, budget.budget, budget.policy, own.protocol, judge, stored_view(own.view))
    for row in rows:
        if (row.task, row.budget, row.policy, row.protocol, row.judge, row.thinking) == wanted:
            return row
    made = score_run(run, task, own.protocol, own.view, own.judge).rows
    return next((row for row in made if (row.budget, row.policy) == budget), None)


def unscored(run: RunReader, task: Task, own: Scorer, replies: TaskReplies) -> UnscoredError:
    """The error of a run without a score: what failed, or which judge is missing."""
    counts: dict[str, int] = {}
    for facts in replies.facts:
        if facts.status != "ok":
            name = facts.reason or "pending"
            counts[name] = counts.get(name, 0) + 1
    planned, folder = len(replies.facts), whole(run.folder.path)
    if planned and sum(counts.values()) == planned:
        reasons = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
        alone = next(iter(counts)) if len(counts) == 1 else reasons
        return UnscoredError(
            "explain.unscored",
            f"nothing to explain: {planned:,} of {planned:,} failed ({alone})"[:100],
            where=str(folder),
            why=reasons,
            fix=f"kvl-eval resume {folder} --rerun failed",
        )
    fix = f"kvl-eval describe {task.name}"
    if can_be_judged(task, task.protocols[own.protocol]):
        fix = f"kvl-eval score {folder} --judge endpoint --judge-base-url URL --judge-model NAME"
    return UnscoredError(
        "explain.unscored",
        f"nothing to explain: no answer of {task.name} has a score under {own.protocol}",
        where=str(folder),
        why="the protocol needs a judge's verdicts, or the split has no gold answers",
        fix=fix,
    )
