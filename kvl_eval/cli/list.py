"""The verb that lists tasks, models, published figures or runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kvl_eval.cli.terminal import echo
from kvl_eval.printable import json_line, one_line, printable

Listing = Sequence[Mapping[str, object]]  # {column: value}, the same columns in every row


def list_verb(what: str, output_dir: Path, as_json: bool) -> int:
    """Print one line for each task, model, published figure or run."""
    rows = {"tasks": _tasks, "models": _models, "references": _references, "runs": _runs}[what](output_dir)
    if as_json:
        echo(json_line(rows))
        return 0
    lines = [{key: printable(value, keep="") for key, value in row.items()} for row in rows]
    widths: dict[str, int] = {}
    for line in lines:
        widths |= {key: max(widths.get(key, 0), len(text)) for key, text in line.items()}
    for line in lines:
        echo("  ".join(f"{line.get(key, ''):<{width}}" for key, width in widths.items()).rstrip())
    if not rows:
        echo(f"no runs in {one_line(output_dir)}" if what == "runs" else f"no {what}", err=True)
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
