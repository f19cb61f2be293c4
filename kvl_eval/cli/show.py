"""The verbs that only look: list, describe, check."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kvl_eval.errors import UsageError
from kvl_eval.sources import Source
from kvl_eval.tasks.base import Task

FOUND_FAULTS = 4  # exit code of a check that found something


def list_verb(what: str, output_dir: Path, include_path: Sequence[str], as_json: bool) -> int:
    """Print one line for each task, model, published figure or run."""
    rows = {"tasks": _tasks, "models": _models, "references": _references, "runs": _runs}[what](
        output_dir, include_path
    )
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return 0
    widths = [max(len(str(row[key])) for row in rows) for key in rows[0]] if rows else []
    for row in rows:
        click.echo("  ".join(f"{row[key]!s:<{width}}" for key, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        click.echo(f"no runs in {output_dir}" if what == "runs" else f"no {what}", err=True)
    return 0


def _tasks(_: Path, include_path: Sequence[str]) -> list[dict[str, Any]]:
    from kvl_eval.tasks import TASKS, include

    include(include_path)
    return [
        {
            "task": task.name,
            "title": task.title,
            "splits": ",".join(task.split_names()),
            "groups": ",".join(task.groups),
        }
        for task in TASKS.values()
    ]


def _models(_: Path, __: Sequence[str]) -> list[dict[str, Any]]:
    from kvl_eval.backends import MODELS

    return [
        {
            "model": entry.name,
            "location": "bundled" if Path(entry.location).is_absolute() else entry.location,
            "note": entry.note,
        }
        for entry in MODELS.values()
    ]


def _references(_: Path, __: Sequence[str]) -> list[dict[str, Any]]:
    from kvl_eval.references import load

    return [
        {
            "benchmark": row.benchmark,
            "split": row.split,
            "system": row.system,
            "setting": row.setting,
            "value": row.printed,
            "table": row.table,
        }
        for row in load()
    ]


def _runs(output_dir: Path, _: Sequence[str]) -> list[dict[str, Any]]:
    from kvl_eval.store.run_list import legacy_list_runs

    return legacy_list_runs(output_dir)


def describe_verb(name: str, flags: Mapping[str, Any], as_json: bool) -> int:
    """Print everything that defines a task's number."""
    from kvl_eval.describe import as_text, describe

    task, source, split = task_and_source(name, flags, default="mini")
    found = describe(task, source, split)
    click.echo(json.dumps(found, ensure_ascii=False, default=str) if as_json else as_text(found))
    return 0


def check_data_verb(name: str, flags: Mapping[str, Any], as_json: bool) -> int:
    """Check a data set; exit 4 where something is wrong."""
    from kvl_eval.check_data import as_text, check

    task, source, split = task_and_source(name, flags)
    found = check(task, source, split)
    click.echo(json.dumps(found, ensure_ascii=False, default=str) if as_json else as_text(found))
    return 0 if found["ok"] else FOUND_FAULTS


def check_model_verb(location: str, *, revision: str | None, family: str | None, offline: bool, as_json: bool) -> int:
    """Check a checkpoint; exit 4 where something is wrong."""
    from kvl_eval.backends import resolve_model
    from kvl_eval.check_model import as_text, check

    place = resolve_model(location).location
    found = check(place, revision=revision, offline=offline, family=family)
    click.echo(json.dumps(found, ensure_ascii=False, default=str) if as_json else as_text(found))
    return 0 if found["ok"] else FOUND_FAULTS


def task_and_source(name: str, flags: Mapping[str, Any], default: str | None = None) -> tuple[Task, Source, str]:
    """The task, where its data comes from, and the split, as the data options say. Raises UsageError."""
    from kvl_eval.run.config import task_source
    from kvl_eval.tasks import get_task, include

    include(flags.get("include_path") or ())
    task = get_task(name)
    split = flags.get("split") or (
        default if default in task.split_names() and not flags.get("data_dir") else task.default_split
    )
    given = {option: value for option, value in flags.items() if value}
    source = task_source(task, given)
    if source.data_dir is not None and not source.data_dir.is_dir():
        raise UsageError("usage.data_dir", f"--data-dir {source.data_dir} is no folder")
    return task, source, str(split)
