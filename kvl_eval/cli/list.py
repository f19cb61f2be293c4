"""The verb that lists tasks, models, published figures or runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

Listing = Sequence[Mapping[str, object]]  # {column: value}, the same columns in every row


def list_verb(what: str, output_dir: Path, as_json: bool) -> int:
    """Print one line for each task, model, published figure or run."""
    rows = {"tasks": _tasks, "models": _models, "references": _references, "runs": _runs}[what](output_dir)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return 0
    widths = [max(len(str(row[key])) for row in rows) for key in rows[0]] if rows else []
    for row in rows:
        click.echo("  ".join(f"{row[key]!s:<{width}}" for key, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        click.echo(f"no runs in {output_dir}" if what == "runs" else f"no {what}", err=True)
    return 0


def _tasks(_: Path) -> Listing:
    from kvl_eval.tasks import TASKS

    return [
        {
            "task": task.name,
            "title": task.title,
            "splits": ",".join(task.split_names()),
            "groups": ",".join(task.groups),
        }
        for task in TASKS.values()
    ]


def _models(_: Path) -> Listing:
    from kvl_eval.backends import MODELS

    return [
        {
            "model": entry.name,
            "location": "bundled" if Path(entry.location).is_absolute() else entry.location,
            "note": entry.note,
        }
        for entry in MODELS.values()
    ]


def _references(_: Path) -> Listing:
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


def _runs(output_dir: Path) -> Listing:
    from kvl_eval.decode import encode_object
    from kvl_eval.store.run_list import list_runs

    return [encode_object(run) for run in list_runs(output_dir)]
