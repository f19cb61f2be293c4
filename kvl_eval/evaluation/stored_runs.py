"""The same call again: a stored run that is complete, or is to be continued."""

from __future__ import annotations

from dataclasses import fields

from kvl_eval.backends.base import Backend
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import Plan
from kvl_eval.run.progress import Progress
from kvl_eval.run.runner import RunOutcome, complete_run, resume_run
from kvl_eval.run.same_run import same_runs
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.store.run_list import list_runs


def has_runs_of(config: RunConfig) -> bool:
    """Whether the results folder has a run of the same tasks: only then is the plan compared with what is stored."""
    names = {task.task for task in config.tasks}
    return any(set(run.tasks) == names for run in list_runs(config.output_dir))


def to_continue(plan: Plan) -> RunEntry | None:
    """The newest run of the same plan that no other process works on; None where a new one is to begin."""
    return next((run for run in same_runs(plan) if run.status in ("planned", "interrupted", "finished")), None)


def complete_or_continue(run: RunReader, config: RunConfig, backend: Backend, progress: Progress) -> RunOutcome:
    """The outcome of a stored run: at once if it is complete, else with what it lacks."""
    if run.folder.status == "finished":
        return complete_run(run, config, progress)
    changes = {option.name: getattr(config, option.name) for option in fields(config)}
    return resume_run(run, lambda _: backend, progress, changes=changes, handle_signals="interrupts")
