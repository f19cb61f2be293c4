"""The Python call: `kvl_eval.evaluate("kimi-vl-nano", "mathvista", limit=20)`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import cleandoc
from typing import Unpack

from kvl_eval.backends.base import Backend
from kvl_eval.evaluation.notebook import chosen_progress
from kvl_eval.families import ChosenFamily, FamilyRule
from kvl_eval.model.registry import stored_family
from kvl_eval.options import OPTIONS, RunOptions
from kvl_eval.results.evaluation_result import INTERRUPTED, EvaluationResult
from kvl_eval.run.config import RunConfig, answers_bundled, resolve
from kvl_eval.run.large_data import bring_large
from kvl_eval.run.options import Options
from kvl_eval.run.plan import plan_run
from kvl_eval.run.progress import Progress
from kvl_eval.run.runner import MakeBackend, RunOutcome, continue_run, start_run
from kvl_eval.run.same_run import free_runs, has_alike, same_runs
from kvl_eval.run.warm_plan import plan_warm
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.tasks import TASKS, select
from kvl_eval.tasks.base import Task


def evaluate(
    model: str | Backend = "kimi-vl-nano",
    tasks: str | Task | Sequence[str | Task] = "mathvista",
    *,
    resume: bool = True,
    progress: bool | Progress | None = None,
    backend: Backend | str | None = None,
    **options: Unpack[RunOptions],
) -> EvaluationResult:
    """Answer benchmark tasks with a model, score the answers, and store everything in a run folder.

    The same call again continues an unfinished run, and returns the result of a complete one at once.

    Args:
        model:    a built-in name, a folder, `owner/name`, `hf:owner/name` or `endpoint`; or a Backend of your own.
        tasks:    a task, a group, a pattern such as `mmmu*`, `file:PATH`, several joined by commas, a Task of your
                  own, or a list of these.
        resume:   False starts a new run.
        progress: True or False shows or hides it; None shows it on a terminal and in a notebook.
        backend:  the option `--backend`, or a Backend that answers in place of the one that `model` names.
        options:  options of `kvl-eval run`, with underscores: `limit="10%"`, `think_budget=[1024]`. They are listed
                  below, from the table that the command line is made from.
    Raises: KvlEvalError for unknown names and options, unusable data or checkpoints, and storage that fails;
        KeyboardInterrupt when interrupted, after the answers are stored.
    """
    if not isinstance(model, str):
        backend, model = model, model.name
    values: dict[str, object] = {**options}
    if backend is None or isinstance(backend, str):
        values["backend"] = backend or "auto"
        backend = None
    config, chosen = _configuration(model, tasks, Options.of(values), backend)
    bring_large(config, chosen)
    make: MakeBackend = partial(_same, backend) if backend is not None else _make
    own = [task for task in chosen if TASKS.get(task.name) is not task]
    outcome = _outcome(config, own, make(config), chosen_progress(progress), resume)
    if outcome.exit_code == INTERRUPTED:
        raise KeyboardInterrupt(f"stopped; the same call continues the run in {outcome.folder.path}")
    return EvaluationResult(
        RunReader(outcome.folder, own),
        outcome.results,
        exit_code=outcome.exit_code,
        message=outcome.message,
        make=make,
    )


def _make(config: RunConfig) -> Backend:
    from kvl_eval.backends import make_backend

    return make_backend(config.model, config.settings)


def _same(backend: Backend, _: RunConfig) -> Backend:
    return backend


def _configuration(
    model: str, tasks: str | Task | Sequence[str | Task], options: Options, backend: Backend | None
) -> tuple[RunConfig, list[Task]]:
    from kvl_eval.backends import family_of

    if backend is None or options.settings.engine.family:
        family = family_of(model, options.settings.engine)
    else:
        family = ChosenFamily(stored_family(backend.family), FamilyRule.REGISTERED)
    chosen = _tasks(tasks, answers_bundled(family.family, options))
    return resolve(model, family, chosen, options), chosen


def _tasks(tasks: str | Task | Sequence[str | Task], bundled: bool) -> list[Task]:
    listed = [tasks] if isinstance(tasks, str | Task) else tasks
    chosen: list[Task] = []
    for task in listed:
        chosen += [task] if isinstance(task, Task) else select([task], bundled=bundled)
    return list({task.name: task for task in chosen}.values())


def _outcome(config: RunConfig, own: Sequence[Task], backend: Backend, progress: Progress, resume: bool) -> RunOutcome:
    plan = (plan_run if resume and has_alike(config, backend.name) else plan_warm)(config, backend, own)
    free = free_runs(same_runs(plan)) if resume else []
    if not free:
        return start_run(plan, backend, progress, handle_signals="interrupts")
    run = RunReader.open(free[0].path, own)
    return continue_run(run, config, backend, progress, handle_signals="interrupts")


def _option_lines() -> str:
    """The options by name, one line each."""
    known = RunOptions.__annotations__
    rows = [f"    {option.name}: {option.help}" for option in OPTIONS if option.name in known]
    return "\n".join(dict.fromkeys(rows))


evaluate.__doc__ = f"{cleandoc(evaluate.__doc__ or '')}\n\nOptions:\n{_option_lines()}\n"
