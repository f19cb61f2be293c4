"""`kvl-eval list runs`: which runs are listed, in which order, and the text or JSON of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from kvl_eval.cli.terminal import echo
from kvl_eval.decode import encode
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line, one_line
from kvl_eval.reports.listed_runs import LINE, main_scores, results_table, runs_table
from kvl_eval.reports.text_match import folded, matches
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.store.run_list import list_runs
from kvl_eval.store.run_names import short_names
from kvl_eval.tasks import TASKS

MOST = 20  # runs that are shown without --all
STATUSES = ("finished", "interrupted", "running", "failed", "unreadable")
ORDERS = ("when", "model", "score")
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs are listed and how.

    Attributes:
        pattern:   part of a run's id, or a glob.
        task:      a task's name.
        model:     part of a model's name, or a glob.
        status:    one of `STATUSES`; `failed` is a finished run with failed samples.
        since:     `7d`, `12h`, or a date.
        sort:      one of `ORDERS`.
        shows_all: list more than the newest 20.
        long:      one line per result.
    """

    pattern: str | None = None
    task: str | None = None
    model: str | None = None
    status: str | None = None
    since: str | None = None
    sort: str = "when"
    shows_all: bool = False
    long: bool = False


def list_runs_verb(results_dir: Path, query: RunQuery, as_json: bool) -> int:
    """Print the runs below `results_dir`, newest first. Raises: UsageError for values that cannot be."""
    entries = list_runs(results_dir)
    names = short_names([entry.run_id for entry in entries])
    newest_first = sorted(entries[::-1], key=lambda entry: entry.created is None)  # unreadable ones last
    chosen = ordered(matching(newest_first, query), query)
    if as_json:
        echo(json_line(encode(chosen)))
        return 0
    if not chosen:
        among = f"no runs in {one_line(results_dir)}"
        echo(among if not entries else f"{among} match; it has {len(entries):,}", err=True)
        return 0
    shown = chosen if query.shows_all else chosen[:MOST]
    echo(results_table(shown, names) if query.long else runs_table(shown, names, line_width()))
    if len(shown) < len(chosen):
        echo(f"{len(shown)} of {len(chosen):,} runs; --all shows the rest")
    return 0


def line_width() -> int:
    """Cells of a line: those of the terminal, or 120 in a pipe."""
    return shutil.get_terminal_size((LINE, 24)).columns


def matching(entries: Sequence[RunEntry], query: RunQuery) -> list[RunEntry]:
    """The entries that a query lets through, in their order. Raises: UsageError `usage.since`, `usage.task`."""
    since = None if query.since is None else since_time(query.since)
    task = None if query.task is None else _task_name(query.task, entries)
    return [
        entry
        for entry in entries
        if (query.shows_all or entry.parent is None)
        and (query.pattern is None or matches(entry.run_id, query.pattern))
        and (task is None or task in entry.tasks)
        and (query.model is None or matches(entry.model or "", query.model))
        and (query.status is None or _has_status(entry, query.status))
        and (since is None or _is_since(entry, since))
    ]


def ordered(entries: list[RunEntry], query: RunQuery) -> list[RunEntry]:
    """Entries, newest first, in the order of a query. Raises: UsageError `usage.sort`."""
    if query.sort == "model":
        return sorted(entries, key=lambda entry: (entry.model or "").casefold())
    if query.sort == "score":
        if query.task is None:
            raise UsageError("usage.sort", "--sort score needs --task NAME", fix="add --task NAME")
        task = _task_name(query.task, entries)
        return sorted(entries, key=lambda entry: _best(entry, task), reverse=True)
    return entries


def since_time(text: str) -> datetime:
    """`7d` (m, h, d or w before now) or a date or time as ISO 8601. Raises: UsageError `usage.since`."""
    if span := _SPAN.fullmatch(text):
        return datetime.now().astimezone() - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise UsageError(
            "usage.since", f"--since must be a span or a date, got {one_line(repr(text))}", fix="--since 7d"
        ) from None


def _is_since(entry: RunEntry, since: datetime) -> bool:
    try:
        return entry.created is not None and datetime.fromisoformat(entry.created).astimezone() >= since
    except ValueError:
        return False


def _task_name(text: str, entries: Sequence[RunEntry]) -> str:
    """The task of these runs, or of the package, that `text` names. Raises: UsageError `usage.task`."""
    known = {folded(name): name for name in (*TASKS, *(task for entry in entries for task in entry.tasks))}
    if (name := known.get(folded(text))) is not None:
        return name
    from kvl_eval.errors import unknown

    raise unknown("task", text, list(known.values()), "kvl-eval list tasks")


def _has_status(entry: RunEntry, status: str) -> bool:
    if status == "failed":
        return entry.status == "finished" and entry.counts is not None and bool(entry.counts.failed)
    if status == "interrupted":
        return entry.status in ("interrupted", "planned")
    return entry.status == status


def _best(entry: RunEntry, task: str) -> float:
    scores = [score.score for score in main_scores(entry) if score.task == task and score.score is not None]
    return max(scores, default=-1.0)
