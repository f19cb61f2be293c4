"""The table of `kvl-eval list runs`: one line per run, or with `--long` one line per result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from kvl_eval.printable import cut_middle, policy_name
from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.store.run_entry import RunEntry, RunScore
from kvl_eval.tasks import TASKS, known_task

NAMED = 2  # tasks and scores of one run that are named
MODEL_WIDTHS = (28, 16)  # cells of a model's name: with room, and without
LINE = 120  # cells; the width where no terminal says another
HEADER = ("run", "model", "tasks", "n", "scores", "status")
COUNT = HEADER.index("n")


class RunColumns(NamedTuple):
    """What a table shows: cells of a model's name, tasks and scores by name, cells of each, and whether `n` stands."""

    model: int
    named: int
    name: int
    has_n: bool


LAYOUTS = (
    RunColumns(MODEL_WIDTHS[0], NAMED, 28, True),
    RunColumns(MODEL_WIDTHS[1], NAMED, 18, True),
    RunColumns(MODEL_WIDTHS[1], NAMED, 18, False),
    RunColumns(MODEL_WIDTHS[1], 1, 20, False),
    RunColumns(12, 1, 12, False),
)
"""From the widest to the narrowest: first names are shortened, then `n` goes, then the tasks beyond the first."""


def main_scores(entry: RunEntry) -> list[RunScore]:
    """One result per task and budget: under the run's own protocol, else the task's default, else the first."""
    chosen: dict[tuple[str, str | None, int | None, str | None], RunScore] = {}
    for score in entry.results:
        setting = (score.task, score.split, score.budget, score.policy)
        if setting not in chosen or score.protocol == _protocol(entry, score.task):
            chosen[setting] = score
    return list(chosen.values())


def _protocol(entry: RunEntry, task: str) -> str | None:
    known = known_task(task)
    if entry.protocol not in (None, "all"):
        return entry.protocol
    return None if known is None else known.default_protocol


def runs_table(entries: Sequence[RunEntry], names: Mapping[str, str], width: int = LINE) -> str:
    """One line per run below a header, in at most `width` cells where that can be; `names` are the first column."""
    for layout in LAYOUTS:
        rows = [HEADER, *(_run_cells(entry, names[entry.run_id], layout) for entry in entries)]
        counts = max(len(row[COUNT]) for row in rows)
        cells = [(*row[:COUNT], row[COUNT].rjust(counts), *row[COUNT + 1 :]) for row in rows]
        table = numbers.columns(cells if layout.has_n else [row[:COUNT] + row[COUNT + 1 :] for row in rows])
        if max(map(cell_len, table.splitlines())) <= width:
            break
    return table


def results_table(entries: Sequence[RunEntry], names: Mapping[str, str]) -> str:
    """One line per result below a header, with interval, protocol and path."""
    header = ("run", "model", "task", "budget", "n", "score", "95% CI", "protocol", "status", "path")
    rows = [cells for entry in entries for cells in _result_cells(entry, names[entry.run_id])]
    return numbers.columns([header, *rows])


def _run_cells(entry: RunEntry, name: str, layout: RunColumns) -> tuple[str, ...]:
    scores = main_scores(entry)
    return (
        plain(name),
        cut_middle(plain(entry.model or "-"), layout.model),
        _task_names(entry, scores, layout),
        _count(entry, scores),
        _score_texts(scores, layout),
        status_text(entry),
    )


def _task_names(entry: RunEntry, scores: Sequence[RunScore], layout: RunColumns) -> str:
    names = entry.tasks or tuple(dict.fromkeys(score.task for score in scores))
    if len(names) == 1:
        split = next((score.split for score in scores if score.split and not _is_published(score)), None)
        return cut_middle(plain(names[0] if split is None else f"{names[0]}/{split}"), layout.name)
    return _some([cut_middle(plain(name), layout.name) for name in names], layout.named, " ")


def _is_published(score: RunScore) -> bool:
    """Whether a score is of the split that is published."""
    task = TASKS.get(score.task)
    return task is None or score.split == task.published_split


def _score_texts(scores: Sequence[RunScore], layout: RunColumns) -> str:
    scored = [score for score in scores if score.score is not None]
    if not scored:
        return "-"
    has_tasks = len({score.task for score in scores}) > 1
    has_budgets = len({(score.budget, score.policy) for score in scores}) > 1
    texts = []
    for score in scored:
        budget = "none" if score.budget is None else numbers.budget_label(score.budget)
        label = cut_middle(plain(score.task), layout.name) if has_tasks else ""
        label += ("@" if label else "") + budget if has_budgets else ""
        texts.append(f"{label} {score_text(score)}".strip())
    return ", ".join(texts[: layout.named]) if has_tasks else _some(texts, layout.named, ", ")


def score_text(score: RunScore) -> str:
    """`67.9`; `861/1000` in points; `-` where nothing was scored."""
    if score.score is None:
        return "-"
    in_points = score.unit == "points" and not score.partial and score.n == score.n_planned
    return f"{1000 * score.score:.0f}/1000" if in_points else numbers.percent(score.score)


def _some(texts: Sequence[str], most: int, separator: str) -> str:
    more = f" +{len(texts) - most}" if len(texts) > most else ""
    return separator.join(texts[:most]) + more or "-"


def _count(entry: RunEntry, scores: Sequence[RunScore]) -> str:
    """`8,420` samples with a score; `6/90` of those that the splits have, `412/3040` of those planned."""
    if entry.planned and entry.status != "finished":
        return f"{entry.answered or 0}/{entry.planned}"
    done = sum(score.n for score in scores)
    of = sum(max(score.n_planned, (score.n_total or 0) if score.partial else 0) for score in scores)
    return "-" if not scores else f"{done:,}" if done == of else f"{done}/{of}"


def status_text(entry: RunEntry) -> str:
    """`finished (partial, 3 failed)`, `interrupted 14%`, `running 14%`, `unreadable`."""
    counts, status = entry.counts, "interrupted" if entry.status in ("planned", "unknown") else entry.status
    if status == "finished":
        failed = sum(counts.failed.values()) if counts is not None else 0
        marks = ["partial"] if any(score.partial for score in entry.results) else []
        marks += [f"{failed:,} failed"] if failed else []
        return f"finished ({', '.join(marks)})" if marks else "finished"
    if status in ("interrupted", "running") and entry.planned:
        return f"{status} {100 * (entry.answered or 0) // entry.planned}%"
    return status


def _result_cells(entry: RunEntry, name: str) -> list[tuple[str, ...]]:
    last = (status_text(entry), plain(entry.path))
    model = plain(entry.model or "-")
    cells: list[tuple[str, ...]] = [
        (
            plain(name),
            model,
            plain(f"{score.task}/{score.split}" if score.split else score.task),
            "-"
            if score.budget is None
            else f"{numbers.budget_label(score.budget)} {policy_name(score.policy)}".rstrip(),
            f"{score.n:,}" if score.n == score.n_planned else f"{score.n}/{score.n_planned}",
            score_text(score),
            numbers.percent_interval(score.ci95) or "-",
            plain(score.label),
            *last,
        )
        for score in entry.results
    ]
    return cells or [(plain(name), model, " ".join(map(plain, entry.tasks)) or "-", *["-"] * 5, *last)]
