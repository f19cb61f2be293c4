"""The verb that lists tasks, models, published figures or runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line, printable

LISTS_OF = {
    "task": ("runs", "references"),
    **dict.fromkeys(("model", "status", "since", "sort", "all", "long"), ("runs",)),
}
"""{option: the lists that take it}; the others belong to all."""

Listing = Sequence[Mapping[str, object]]  # {column: value}, the same columns in every row


def list_verb(what: str, flags: Flags, results_dir: Path, as_json: bool) -> int:
    """Print one line per task, model, published result or run."""
    _check_flags(what, flags)
    if what == "runs":
        from kvl_eval.cli.list_runs import RunQuery, list_runs_verb

        query = RunQuery(
            **{name: flags.text(name) for name in ("pattern", "task", "model", "status", "since")},
            sort=flags.text("sort") or "when",
            shows_all=flags.switch("all"),
            long=flags.switch("long"),
        )
        return list_runs_verb(results_dir, query, as_json)
    rows = {"tasks": _tasks, "models": _models, "references": _references}[what]()
    if as_json:
        echo(json_line(rows))
        return 0
    lines = [{key: printable(value, keep="") for key, value in row.items()} for row in rows]
    widths: dict[str, int] = {}
    for line in lines:
        widths |= {key: max(widths.get(key, 0), len(text)) for key, text in line.items()}
    for line in lines:
        echo("  ".join(f"{line.get(key, ''):<{width}}" for key, width in widths.items()).rstrip())
    return 0


def _check_flags(what: str, flags: Flags) -> None:
    """Raises: UsageError `usage.list` for an option of another list."""
    for name, lists in LISTS_OF.items():
        if flags.values.get(name) not in (None, False) and what not in lists:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                "usage.list", f"{option} is not an option of list {what}", fix=f"kvl-eval list {lists[0]} {option} ..."
            )


def _tasks() -> Listing:
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


def _models() -> Listing:
    from kvl_eval.backends import MODELS

    return [
        {
            "model": entry.name,
            "location": "bundled" if Path(entry.location).is_absolute() else entry.location,
            "note": entry.note,
        }
        for entry in MODELS.values()
    ]


def _references() -> Listing:
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
