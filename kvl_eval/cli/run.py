"""The verbs that may load weights: run, sweep, resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.backends.base import Backend
from kvl_eval.cli import terminal
from kvl_eval.cli.documents import plan_document, run_document
from kvl_eval.cli.locks import break_lock
from kvl_eval.cli.options import Flags
from kvl_eval.cli.osworld import use_osworld
from kvl_eval.cli.terminal import echo
from kvl_eval.cli.trusting import check_include, places, settle
from kvl_eval.decode import Json, encode
from kvl_eval.errors import UsageError
from kvl_eval.model.registry import stored_family
from kvl_eval.options.values import sample_ids
from kvl_eval.printable import json_line
from kvl_eval.run.config import RunConfig, answers_bundled, from_json, resolve
from kvl_eval.run.contacts import contacts_of
from kvl_eval.run.options import RUN_TABLE, Options
from kvl_eval.run.runner import RunOutcome
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_lock import read_lock
from kvl_eval.trust import AddressPlace

if TYPE_CHECKING:
    from kvl_eval.reports.warnings import ResultWarning
    from kvl_eval.run.plan import Plan

LARGE = 2 * 10**9  # bytes; a larger download needs --yes
MOST_WARNINGS = 5  # lines of warnings after a table


def run_verb(flags: Flags, as_json: bool) -> int:
    """Plan, show the plan, and carry it out unless --dry-run."""
    outcome = run_outcome(flags, as_json)
    return 0 if outcome is None else show(outcome, as_json)


def run_outcome(flags: Flags, as_json: bool, fits: Callable[[RunEntry, Plan], bool] | None = None) -> RunOutcome | None:
    """How the run ended; None for --dry-run. With `fits`, only runs for which it is true are continued."""
    from kvl_eval.run.large_data import bring_large, not_here
    from kvl_eval.run.plan import plan_run
    from kvl_eval.run.progress import make_progress
    from kvl_eval.run.runner import continue_run, start_run
    from kvl_eval.run.same_run import has_alike, same_runs
    from kvl_eval.run.warm_plan import plan_warm
    from kvl_eval.scoring.run_reader import RunReader

    place_of = places(AddressPlace.COMMAND_LINE)
    check_include(place_of)
    use_osworld(flags, place_of)
    config = configuration(flags)
    settle(contacts_of(config, place_of), records=True)
    say_loading(config)
    dry, resume = flags.switch("dry_run"), flags.values["resume"]
    if not dry:
        _require_environments(config)
        bring_large(config)
    elif absent := not_here(config):
        terminal.note(f"videos are not downloaded yet; run `kvl-eval fetch {','.join(absent)}`")
    backend = make(config, fetch=not dry)
    same_names = resume is not False and has_alike(config, backend.name)  # then there may be nothing to do
    plan = (plan_run if dry or same_names else plan_warm)(config, backend)
    show_plan(plan, dry=dry, as_json=as_json, prompt_file=flags.text("prompt_file"))
    if dry:
        if as_json:
            echo(json_line(encode(plan_document(plan))))
        return None
    progress = make_progress(quiet=flags.switch("no_progress"), verbosity=terminal.verbosity())
    same = [run for run in same_runs(plan) if fits is None or fits(run, plan)] if resume is not False else []
    if any([break_lock(RunFolder.open(run.path), flags) for run in same]):
        same = [run for run in same_runs(plan) if fits is None or fits(run, plan)]
    run, rerun = _to_continue(same), _rerun(flags.text("rerun"))
    if run is None:
        return start_run(plan, backend, progress, handle_signals=True)
    return continue_run(RunReader.open(run.path), config, backend, progress, rerun=rerun, handle_signals=True)


def _require_environments(config: RunConfig) -> None:
    """Raises: UsageError where a task needs an environment of the user's that is not named."""
    from kvl_eval.run.osworld_place import require_osworld
    from kvl_eval.tasks import known_task

    tasks = (known_task(task.task) for task in config.tasks)
    require_osworld(task for task in tasks if task is not None)


def _to_continue(same: Sequence[RunEntry]) -> RunEntry | None:
    """The newest run of the same plan that no other process works on, told of; None where a new one is to begin."""
    for run in same:
        if run.status == "running":
            holder = read_lock(Path(run.path))
            by = "" if holder is None or holder.pid is None else f" (pid {holder.pid})"
            terminal.note(f"the same run is in progress in {run.path}{by}")
    from kvl_eval.run.same_run import free_runs

    free = free_runs(same)
    if not free:
        return None
    newest = free[0]
    if newest.status == "finished":
        others = ", ".join(run.path for run in free[1:] if run.status == "finished")
        also = f"; so is {others}" if others else ""
        terminal.step(f"already complete: {newest.path}{also} (use --no-resume to run it again)")
    else:
        done = "" if newest.planned is None else f": {newest.answered or 0:,} of {newest.planned:,} answered"
        terminal.step(f"continuing {newest.path}{done} (use --no-resume to start a new run)")
    return newest


def resume_verb(path: Path, flags: Flags) -> int:
    """Finish a run with its stored configuration. The flags may confirm or replace what that would contact."""
    from kvl_eval.run.progress import make_progress
    from kvl_eval.run.runner import resume_run
    from kvl_eval.scoring.run_reader import RunReader

    as_json, run, place_of = flags.switch("as_json"), RunReader.open(path), places(AddressPlace.RUN_FOLDER)
    use_osworld(flags, place_of)
    break_lock(run.folder, flags)

    def make_trusted(config: RunConfig) -> Backend:
        _require_environments(config)
        settle(contacts_of(config, place_of))
        return make(config)

    outcome = resume_run(
        run,
        make_trusted,
        make_progress(quiet=flags.switch("no_progress"), verbosity=terminal.verbosity()),
        changes=_changes(run.folder.manifest.config, flags),
        rerun=_rerun(flags.text("rerun")),
        handle_signals=True,
    )
    return show(outcome, as_json)


def _changes(stored: Mapping[str, Json], flags: Flags) -> dict[str, object]:
    """What the flags of `resume` say otherwise than the stored configuration. Raises: UsageError `usage.resume`."""
    changes: dict[str, object] = {"compress": True} if flags.switch("compress") else {}
    if not stored:
        return changes
    config = from_json(stored)
    _check_repeated(config, flags)
    server, cluster, judge = config.settings.server, config.settings.cluster, config.judge
    changes["settings"] = replace(
        config.settings,
        server=replace(
            server,
            base_url=flags.text("base_url") or server.base_url,
            api_key_env=flags.text("api_key_env") or server.api_key_env,
        ),
        cluster=replace(cluster, ray_address=flags.text("ray_address") or cluster.ray_address),
    )
    changes["judge"] = judge and replace(
        judge,
        base_url=flags.text("judge_base_url") or judge.base_url,
        key_env=flags.text("judge_key_env") or judge.key_env,
    )
    return changes


def _check_repeated(config: RunConfig, flags: Flags) -> None:
    """Flags of `resume` that only confirm must say what is stored. Raises: UsageError `usage.resume`."""
    repos = {f"{task.task}={task.source.repo}" for task in config.tasks}
    arguments = config.settings.engine.model_args
    served = {f"{name}={arguments.get(name)}" for name in ("checkpoint", "vllm_args")}
    model = flags.text("model")
    given = {
        "--model": ((model,) if model else (), {config.model}),
        "--data-repo": (flags.texts("data_repo"), repos),
        "--model-args": (flags.texts("model_args"), served),
    }
    for option, (texts, stored) in given.items():
        if odd := sorted(set(texts) - stored):
            raise UsageError(
                "usage.resume",
                f"{option} {odd[0]} is not what the run was started with",
                why=f"it is {', '.join(sorted(stored))}; `resume` takes this option only to confirm it",
                fix="start a new run for something else",
            )


def say_loading(config: RunConfig) -> None:
    """Print what the scores of a demo are not, and what is loaded."""
    from kvl_eval.backends import resolve_model
    from kvl_eval.reports.warnings import DEMO
    from kvl_eval.run.plan_text import demo_note, loading_text

    entry = resolve_model(config.model)
    if stored_family(config.family).is_demo:
        terminal.note(demo_note(entry.name))
        terminal.mark_said(DEMO)
    if text := loading_text(entry):
        terminal.step(text)


def show_plan(plan: Plan, *, dry: bool, as_json: bool = False, prompt_file: str | None = None) -> None:
    """Print the plan: on standard output where it is the result; warnings and notes come before it."""
    from kvl_eval.reports.warnings import planned_warnings, warning_lines
    from kvl_eval.run.manifest import manifest_of
    from kvl_eval.run.plan_text import DRY, PROMPT_FILE, plan_notes, plan_text

    for text in warning_lines(planned_warnings(manifest_of(plan, datetime.now().astimezone()))):
        terminal.warn(text)
    for note in plan_notes(plan):
        (terminal.warn if note.kind == "warning" else terminal.note)(note.text)
    name = PROMPT_FILE if prompt_file is None else Path(prompt_file).name
    text = plan_text(plan, DRY if dry else None, details=terminal.verbosity() > 0, prompt_file=name)
    (terminal.result if dry and not as_json else terminal.step)(text)


def show(outcome: RunOutcome, as_json: bool) -> int:
    """Print the final table (or results.json), warnings and what to do next; returns the exit code."""
    from kvl_eval.reports.table import final_table
    from kvl_eval.reports.warnings import run_warnings

    warnings = run_warnings(outcome.folder, outcome.results)
    if as_json:
        end = (outcome.folder, outcome.results, outcome.exit_code, warnings)
        echo(json_line(run_document(*end, already_complete=outcome.is_old)))
    else:
        terminal.result(final_table(outcome.results, terminal.table_width()))
    show_warnings([warning for warning in warnings if warning.text not in outcome.told])
    terminal.step(outcome.message)
    return outcome.exit_code


def show_warnings(warnings: Sequence[ResultWarning]) -> None:
    """Print the warnings that were not printed before the run: five lines at most, and how many more there are."""
    from kvl_eval.reports.warnings import warning_lines

    lines = [text for text in warning_lines(warnings) if not terminal.is_said(text)]
    for text in lines[:MOST_WARNINGS]:
        terminal.warn(text)
    if len(lines) > MOST_WARNINGS and terminal.verbosity() > -2:
        echo(f"... and {len(lines) - MOST_WARNINGS} more in the report", err=True)


def make(config: RunConfig, *, fetch: bool = True) -> Backend:
    """The backend of a configuration; without `fetch` no weights are downloaded. Raises UsageError, CheckpointError."""
    from kvl_eval.backends import make_backend

    return make_backend(config.model, config.settings, fetch=fetch)


def configuration(flags: Flags) -> RunConfig:
    """Flags as one resolved RunConfig. Raises UsageError, ConfigError."""
    from kvl_eval.backends import chosen_backend, family_of
    from kvl_eval.tasks import include, select

    if flags.switch("trust_remote_code"):
        raise UsageError(
            "usage.remote_code",
            "--trust-remote-code is not supported: kvl-eval never runs code from checkpoints or data sets",
            fix="omit it; checkpoints run with the bundled implementations",
        )
    include(flags.texts("include_path"))
    chosen = _options(flags)
    model, names = str(flags.text("model")), (*flags.texts("tasks"), *flags.texts("task"))
    named = select(names)
    family = family_of(model, chosen.settings.engine)
    if notice := chosen_backend(model, chosen.settings).notice:
        terminal.note(notice)
    tasks = select(names, bundled=answers_bundled(family.family, chosen))
    runs = {task.name for task in tasks}
    if left_out := [task.name for task in named if task.name not in runs]:
        verb = "has" if len(left_out) == 1 else "have"
        terminal.note(f"skipping {', '.join(left_out)}: {verb} no bundled split")
    return resolve(model, family, tasks, chosen)


def _options(flags: Flags) -> Options:
    """The options of a run; those that were not given are left out. Raises: UsageError, ConfigError."""
    given = {name: flags.values[name] for name in RUN_TABLE if name not in ("model", "task")}
    values = {name: value for name, value in given.items() if value is not None and value is not False and value != ()}
    return Options.of({**values, "max_download": None if flags.switch("yes") else LARGE})


def _rerun(text: str | None) -> str | tuple[str, ...] | None:
    return text if text in (None, "failed", "all") else sample_ids(text)
