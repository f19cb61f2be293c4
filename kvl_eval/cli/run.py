"""The verbs that may load weights: run, sweep, resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kvl_eval.backends.base import Backend
from kvl_eval.cli import options
from kvl_eval.decode import decode
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.families import DEMO_NOTE
from kvl_eval.model.registry import stored_family
from kvl_eval.run.config import RunConfig, answers_bundled, resolve, settings_of
from kvl_eval.run.runner import RunOutcome

LARGE = 2 * 10**9  # bytes; a larger download needs --yes
SAME = (
    "split",
    "prompt",
    "data_dir",
    "data_version",
    "system_prompt",
    "score_view",
    "protocol",
    "seed",
    "repeats",
    "answer_tokens",
    "budget_policy",
    "temperature",
    "top_p",
    "top_k",
    "max_new_tokens",
    "output_dir",
    "image_prep",
    "frames",
    "fps",
    "max_pixels",
    "video_decoder",
    "timeout",
    "num_workers",
    "kv_cache_gb",
    "device",
    "dtype",
    "revision",
    "family",
    "cache_dir",
    "base_url",
    "served_model",
    "api_key_env",
    "max_connections",
    "max_retries",
    "request_timeout",
    "backend",
    "num_replicas",
    "gpus_per_replica",
    "ray_address",
    "judge",
    "judge_base_url",
    "judge_model",
    "judge_key_env",
    "judge_connections",
)
"""Flags whose values are taken as they are."""
DEMO = """\
{model}{where}: {note}.
The real thing: kvl-eval run --task {tasks} --model kimi-vl-instruct"""


def run_verb(flags: Mapping[str, Any], as_json: bool) -> int:
    """Plan, show the plan, and carry it out unless --dry-run."""
    from kvl_eval.run.large_data import bring_large, not_here
    from kvl_eval.run.plan import plan_run
    from kvl_eval.run.plan_text import plan_text
    from kvl_eval.run.progress import make_progress
    from kvl_eval.run.runner import find_resumable, resume_run, start_run
    from kvl_eval.run.warm_plan import plan_warm

    config = configuration(flags)
    if not flags["dry_run"]:
        bring_large(config)
    elif absent := not_here(config):
        click.echo(f"notice: videos are not here yet: `kvl-eval fetch {','.join(absent)}`", err=True)
    backend = make(config, fetch=not flags["dry_run"])
    plan = (plan_run if flags["dry_run"] or flags["resume"] else plan_warm)(config, backend)
    if stored_family(config.family).is_demo:
        where = " on the bundled mini split" if all(task.split == "mini" for task in config.tasks) else ""
        tasks = ",".join(task.task for task in config.tasks)
        click.echo(DEMO.format(model=backend.name, where=where, note=DEMO_NOTE, tasks=tasks), err=True)
    click.echo(plan_text(plan), err=not flags["dry_run"])
    if flags["dry_run"]:
        return 0
    progress = make_progress(quiet=flags["no_progress"] or as_json)
    unfinished = find_resumable(plan) if flags["resume"] is not False else None
    if unfinished is not None and not flags["resume"]:
        click.echo(f"notice: {unfinished} is unfinished and fits; --resume continues it", err=True)
    if unfinished is not None and flags["resume"]:
        outcome = resume_run(unfinished, lambda _: backend, progress, rerun=_rerun(flags["rerun"]), handle_signals=True)
    else:
        outcome = start_run(plan, backend, progress, handle_signals=True)
    return show(outcome, as_json)


def resume_verb(path: Path, *, rerun: str | None, progress: bool, as_json: bool, compress: bool = False) -> int:
    """Finish a run with its stored configuration."""
    from kvl_eval.run.progress import make_progress
    from kvl_eval.run.runner import resume_run

    outcome = resume_run(
        path,
        make,
        make_progress(quiet=not progress or as_json),
        changes={"compress": True} if compress else None,
        rerun=_rerun(rerun),
        handle_signals=True,
    )
    return show(outcome, as_json)


def show(outcome: RunOutcome, as_json: bool) -> int:
    """Print the final table (or results.json) and what to do next; returns the exit code."""
    from kvl_eval.reports.table import final_table
    from kvl_eval.store.result_records import Results

    if as_json:
        click.echo(json.dumps({**outcome.results, "folder": str(outcome.folder.path), "exit_code": outcome.exit_code}))
    else:
        click.echo(final_table(decode(Results, outcome.results)))
    click.echo(outcome.message, err=True)
    return outcome.exit_code


def make(config: RunConfig, *, fetch: bool = True) -> Backend:
    """The backend of a configuration; without `fetch` no weights are downloaded. Raises UsageError, CheckpointError."""
    from kvl_eval.backends import make_backend

    return make_backend(config.model, config.settings, fetch=fetch)


def configuration(flags: Mapping[str, Any]) -> RunConfig:
    """Flags as one resolved RunConfig. Raises UsageError, ConfigError."""
    from kvl_eval.backends import family_of
    from kvl_eval.tasks import include, select

    if flags["trust_remote_code"]:
        raise UsageError(
            "usage.remote_code", "nothing here runs code from a checkpoint or a data set, so there is no such option"
        )
    include(flags["include_path"])
    chosen = _options(flags)
    named = select(flags["task"])
    family = family_of(flags["model"], settings_of(chosen))
    tasks = select(flags["task"], bundled=answers_bundled(family.family, flags))
    if left_out := [task.name for task in named if task not in tasks]:
        click.echo(f"notice: no bundled split, left out: {', '.join(left_out)}", err=True)
    return resolve(flags["model"], family, tasks, chosen)


def _options(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Values as `config.resolve` takes them; None where a flag was not given."""
    return {
        **{name: flags[name] for name in SAME},
        "data_repo": tuple(flags["data_repo"]) or None,
        "offline": flags["offline"] or None,
        "blind": flags["blind"] or None,
        "no_cache": flags["no_cache"] or None,
        "limit": None if flags["limit"] is None else options.scalar(flags["limit"]),
        "sample_ids": options.sample_ids(flags["sample_ids"]) or None,
        "shard": options.shard(flags["shard"]),
        "think_budget": options.budgets(flags["think_budget"]) or None,
        "batch_size": _batch_size(flags["batch_size"]),
        "model_args": options.pairs(flags["model_args"], "--model-args") or None,
        "prompt_text": _prompt_text(flags["prompt_file"]),
        "compress": flags["compress"] or None,
        "fail_on_error": _share(flags["fail_on_error"]),
        "max_download": None if flags["yes"] else LARGE,
    }


def _batch_size(text: str) -> int | None:
    if str(text) == "auto":
        return None
    if not str(text).isdecimal() or int(text) < 1:
        raise ConfigError("config.batch_size", f"--batch-size {text!r} is neither auto nor a number from 1 on")
    return int(text)


def _share(text: str | None) -> float | None:
    value = None if text is None else options.scalar(str(text))
    if value is not None and not isinstance(value, int | float):
        raise ConfigError("config.fail_on_error", f"--fail-on-error {text!r} is no number")
    return value


def _prompt_text(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.prompt_file", f"cannot read --prompt-file {name}", why=str(error)) from error


def _rerun(text: str | None) -> str | tuple[str, ...] | None:
    return text if text in (None, "failed", "all") else options.sample_ids(text)
