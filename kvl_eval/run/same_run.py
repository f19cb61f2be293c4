"""Runs of one plan, and whether one to be continued is still the one that was started: first what needs no contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvl_eval.backends.base import Limits
from kvl_eval.decode import Json, encode_object
from kvl_eval.errors import UsageError
from kvl_eval.run.config import RunConfig
from kvl_eval.run.fingerprint import differences, identity_of, task_identity
from kvl_eval.run.former_plan import former_sha256
from kvl_eval.run.plan import Plan, PlannedTasks, plan_tasks
from kvl_eval.run.row_order import in_stored_order
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task


def has_alike(config: RunConfig, model: str) -> bool:
    """Whether a finished run of these tasks with a model of that name is in the output folder; its plan is not read."""
    tasks = {task.task for task in config.tasks}
    runs = list_runs(config.output_dir)
    return any(run.status == "finished" and run.model == model and set(run.tasks) == tasks for run in runs)


def same_runs(plan: Plan) -> list[RunEntry]:
    """The runs below the output folder with the plan's fingerprint, samples and rows, the newest first."""
    fitting = [run for run in list_runs(plan.config.output_dir) if run.config_fingerprint == plan.fingerprint]
    return [run for run in reversed(fitting) if _is_same(RunFolder.open(run.path).manifest, plan)]


def free_runs(runs: Sequence[RunEntry]) -> list[RunEntry]:
    """Those that can be continued, or are complete already: no other process works on them."""
    return [run for run in runs if run.status in ("planned", "interrupted", "finished")]


def _is_same(manifest: Manifest, plan: Plan) -> bool:
    return manifest.parent is None and manifest.selection == plan.selection and _has_lines(manifest, plan)


def _has_lines(manifest: Manifest, plan: Plan) -> bool:
    return manifest.plan_sha256 in (plan.lines.sha256, former_sha256(plan.lines.chunks()))


def check_offline(folder: RunFolder, config: RunConfig, own: Sequence[Task]) -> PlannedTasks | None:
    """The tasks as they are planned now, where their data lies on this machine; else None, and the data is compared
    later. The model counts as unchanged. Sends no request.

    Raises: UsageError `run.mismatch`; those of `plan_tasks`.
    """
    planned = None
    if _is_here(config, own):
        planned = in_stored_order(folder, plan_tasks(config, Limits(), own, draft_dir=folder.path))
    tasks = _stored_tasks(folder, config) if planned is None else planned.identities()
    model = folder.manifest.model_identity
    _refuse(folder, differences(folder.manifest.identity, identity_of(config, model, tasks)))
    return planned


def check_same(folder: RunFolder, plan: Plan) -> None:
    """Raises UsageError `run.mismatch`, listing old → new, unless `plan` is the one the run was started with."""
    manifest = folder.manifest
    changes = differences(manifest.identity, plan.identity)
    changes += differences(encode_object(manifest.selection), encode_object(plan.selection))
    if not changes and not _has_lines(manifest, plan):
        changes = ["the rows' text columns"]
    _refuse(folder, changes)


def _refuse(folder: RunFolder, changes: Sequence[str]) -> None:
    if changes:
        raise UsageError(
            "run.mismatch",
            f"cannot resume {folder.path} with these options or this data",
            why="; ".join(changes),
            fix=f"`kvl-eval resume {folder.path}` keeps the old values; add --no-resume to start a new run",
        )


def _is_here(config: RunConfig, own: Sequence[Task]) -> bool:
    """Whether all data can be read without asking anybody, and without the model's tokens."""
    return all(
        (task.split == "mini" or task.source.repo is None) and task_named(task.task, own).data.measured is None
        for task in config.tasks
    )


def _stored_tasks(folder: RunFolder, config: RunConfig) -> dict[str, Mapping[str, Json]]:
    """What of each task can change an answer, as configured now; of the data what is stored."""
    stored = folder.manifest.identity.get("tasks")
    known = stored if isinstance(stored, dict) else {}
    tasks: dict[str, Mapping[str, Json]] = {}
    for task in config.tasks:
        before = known.get(task.task)
        old = before if isinstance(before, dict) else {}
        tasks[task.task] = task_identity(task, str(old.get("data")), str(old.get("prompt_text")))
    return tasks
