"""The verb that lists tasks, models, published results or runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kvl_eval.cli.documents import KnownModel, PublishedScore, TaskEntry
from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.decode import encode
from kvl_eval.errors import UsageError, unknown
from kvl_eval.printable import json_line, one_line
from kvl_eval.reports.numbers import columns, plain
from kvl_eval.reports.text_match import folded, matches

LISTS_OF = {
    "task": ("runs", "references"),
    "system": ("references",),
    **dict.fromkeys(("model", "status", "since", "sort", "all", "long"), ("runs",)),
    **dict.fromkeys(("group", "modality", "access", "max_download", "bundled"), ("tasks",)),
}
"""{option: the lists that take it}; the others belong to all."""
UNITS = {"": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12}
UNKNOWN = "?"  # a value that no source gives


def list_verb(what: str, flags: Flags, results_dir: Path, as_json: bool) -> int:
    """Print one line per task, model, published result or run. Raises: UsageError for a value that cannot be."""
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
    entries, text = {"tasks": _tasks, "models": _models, "references": _references}[what](flags)
    if as_json:
        echo(json_line(encode(entries)))
    elif entries:
        echo(text)
    else:
        echo(f"no {what} match", err=True)
    return 0


def _check_flags(what: str, flags: Flags) -> None:
    """Raises: UsageError `usage.list` for an option of another list."""
    for name, lists in LISTS_OF.items():
        if flags.values.get(name) not in (None, False) and what not in lists:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                "usage.list", f"{option} is not an option of list {what}", fix=f"kvl-eval list {lists[0]} {option} ..."
            )


# -- tasks ------------------------------------------------------------------------------------------------------


def _tasks(flags: Flags) -> tuple[Sequence[TaskEntry], str]:
    from kvl_eval.tasks import TASKS

    bundled = {task.name for task in TASKS.values() if task.mini}
    entries = [
        TaskEntry(
            task=task.name,
            title=task.title,
            modality=task.modality,
            samples=task.splits[task.default_split].rows,
            split=task.default_split,
            has_answers=task.splits[task.default_split].has_gold,
            access=task.access,
            download_bytes=task.download_bytes,
            groups=",".join(task.groups),
            splits=",".join(task.split_names()),
        )
        for task in TASKS.values()
    ]
    entries = [entry for entry in entries if _fits(entry, flags, entry.task in bundled)]
    if (group := flags.text("group")) is not None:
        known = sorted({name for task in TASKS.values() for name in task.groups})
        chosen = next((name for name in known if folded(name) == folded(group)), None)
        if chosen is None:
            raise unknown("group", group, known, "kvl-eval list tasks --json")
        entries = [entry for entry in entries if chosen in entry.groups.split(",")]
    return entries, _tasks_table(entries, sum(entry.task in bundled for entry in entries))


def _fits(entry: TaskEntry, flags: Flags, is_bundled: bool) -> bool:
    pattern, most = flags.text("pattern"), flags.text("max_download")
    size = entry.download_bytes
    return (
        (pattern is None or matches(entry.task, pattern))
        and flags.text("modality") in (None, entry.modality)
        and flags.text("access") in (None, entry.access)
        and (most is None or (size is not None and size <= byte_count(most)))
        and (is_bundled or not flags.switch("bundled"))
    )


def byte_count(text: str) -> float:
    """`2GB`, `500 MB`, `1.5g` or a number of bytes. Raises: UsageError `usage.size`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]{0,2})", text.strip().lower())
    if match is None or match[2] not in UNITS:
        raise UsageError(
            "usage.size", f"--max-download must be a size, got {one_line(repr(text))}", fix="--max-download 2GB"
        )
    return float(match[1]) * UNITS[match[2]]


def _tasks_table(entries: Sequence[TaskEntry], bundled: int) -> str:
    cells = [
        (
            plain(entry.task),
            UNKNOWN if entry.samples is None else f"{entry.samples:,}",
            entry.modality,
            entry.access,
            _download(entry.download_bytes),
            plain(f"{entry.title} ({entry.split})" if _has_choice(entry) else entry.title),
        )
        for entry in entries
    ]
    table = _right([("task", "samples", "modality", "access", "download", "title"), *cells], (1, 4))
    share = "all" if bundled == len(entries) else f"{bundled:,}"
    tasks = "1 task" if len(entries) == 1 else f"{len(entries):,} tasks"
    return f"{table}\n{tasks}, {share} with a bundled mini split. Details: kvl-eval describe TASK"


def _has_choice(entry: TaskEntry) -> bool:
    """Whether the split is worth a word: there are several, and the title has no remark yet."""
    return len([name for name in entry.splits.split(",") if name != "mini"]) > 1 and not entry.title.endswith(")")


def _download(size: int | None) -> str:
    """`1.3 GB`, `101 GB`; `none` where nothing is downloaded."""
    if not size:
        return UNKNOWN if size is None else "none"
    unit, factor = ("GB", 10**9) if size >= 10**9 else ("MB", 10**6)
    return f"{size / factor:.1f} {unit}" if size < 100 * factor and factor == 10**9 else f"{size / factor:,.0f} {unit}"


def _right(rows: Sequence[tuple[str, ...]], numbers: Sequence[int]) -> str:
    """Rows as text columns, those of numbers to the right."""
    widths = {column: max(len(row[column]) for row in rows) for column in numbers}
    return columns([[cell.rjust(widths.get(column, 0)) for column, cell in enumerate(row)] for row in rows])


# -- models and published results -------------------------------------------------------------------------------


UNNAMED_MODELS = (  # what `--model` takes beside names
    KnownModel(model="hf:OWNER/NAME", location="Hugging Face Hub", note="any image-text model, through transformers"),
    KnownModel(model="FOLDER or OWNER/NAME", location="disk or Hub", note="a Kimi-VL or Qwen2.5-VL checkpoint"),
)


def _models(flags: Flags) -> tuple[Sequence[KnownModel], str]:
    from kvl_eval.backends import MODELS

    pattern = flags.text("pattern")
    entries = [
        KnownModel(
            model=entry.name,
            location="bundled" if Path(entry.location).is_absolute() else entry.location,
            note=entry.note,
        )
        for entry in MODELS.values()
        if pattern is None or matches(entry.name, pattern)
    ]
    entries += UNNAMED_MODELS if pattern is None else ()
    return entries, columns([("model", "location", "note"), *((e.model, e.location, e.note) for e in entries)])


def _references(flags: Flags) -> tuple[Sequence[PublishedScore], str]:
    from kvl_eval.references import TABLES, load

    task, system = folded(flags.text("pattern") or flags.text("task") or ""), flags.text("system")
    benchmarks = {score.benchmark: folded(score.benchmark) for score in load()}
    chosen = [name for name, text in benchmarks.items() if text == task] or [
        name for name, text in benchmarks.items() if matches(text, task)
    ]
    entries = [
        PublishedScore(
            benchmark=score.benchmark,
            split=score.split,
            system=score.system,
            setting=score.setting,
            value=score.printed,
            table=score.table,
            source=TABLES[score.table],
        )
        for score in load()
        if score.benchmark in chosen
        and (system is None or matches(score.system, system) or matches(score.system_label, system))
    ]
    cells = [
        (
            f"{entry.benchmark.replace('_', '-')}/{entry.split}".rstrip("/"),
            entry.system,
            entry.setting or "-",
            entry.value,
            entry.source,
        )
        for entry in entries
    ]
    return entries, _right([("task", "system", "setting", "value", "source"), *cells], (3,))
