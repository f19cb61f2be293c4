"""The page of published tables, each as it was printed, with our results in the last columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.reports import numbers
from kvl_eval.reports.leaderboard import PRINTED, OurCell, PublishedCell, PublishedTable, TableRow, published_table
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.series import Series

BUDGETS = "budget"  # the table whose rows are budgets: shown with budgets as columns
SHORT = {"table3": "Table 3", "thinking": "Table 4", BUDGETS: "Figure 13", "niah": "Table 2", "2506": "2506 card"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedCell:
    """A published result as text; `note` is the number of the note on it, or 0."""

    text: str
    best: bool = False
    note: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedRow:
    """One benchmark; `ours` is a text for each of our models. A line of our own stands under its published one."""

    label: str
    cells: tuple[PrintedCell, ...]
    ours: tuple[str, ...] = ()
    ours_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedTable:
    """One published table; `models` are those of ours with a result in it."""

    key: str
    short: str
    title: str
    heads: tuple[str, ...]
    models: tuple[Series, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPage:
    """What the template shows."""

    tables: tuple[PrintedTable, ...]


def published_page(context: Context, include_demo: bool = False) -> PublishedPage:
    """All tables that were printed; results of demo models are among ours only where they are asked for."""
    runs = [model.run for model in context.series]
    tables = [(name, published_table(name, runs, include_demo)) for name in PRINTED]
    return PublishedPage(
        tables=tuple(
            _by_budget(name, table, context) if name == BUDGETS else _as_printed(name, table, context)
            for name, table in tables
        )
    )


def _as_printed(name: str, table: PublishedTable, context: Context) -> PrintedTable:
    models = _models(table, context)
    return PrintedTable(
        key=f"table-{name}",
        short=SHORT[name],
        title=table.title,
        heads=table.systems,
        models=tuple(models),
        rows=tuple(_row(row, table, models) for row in table.rows),
        notes=table.notes,
        left_out=_left_out(table, context),
    )


def _models(table: PublishedTable, context: Context) -> list[Series]:
    """Our models that have a result in a table."""
    used = {run.number for place, run in enumerate(table.columns) if any(row.ours[place] for row in table.rows)}
    return [model for model in context.series if model.number in used]


def _left_out(table: PublishedTable, context: Context) -> tuple[str, ...]:
    """Why rows or runs are left out, with models for runs."""
    names = {model.run.run_id: model.name for model in context.series}
    reasons: dict[str, list[str]] = {}
    for text in table.left_out:
        name, colon, rest = text.partition(": ")
        is_run = bool(colon) and name in names
        models = reasons.setdefault(rest if is_run else text, [])
        models += [names[name]] if is_run and names[name] not in models else []
    return tuple(f"{', '.join(models)}: {text}" if models else text for text, models in reasons.items())


def _row(row: TableRow, table: PublishedTable, models: Sequence[Series]) -> PrintedRow:
    known = [cell.score.value for cell in row.published if cell is not None]
    cells = {run.number: cell for run, cell in zip(table.columns, row.ours, strict=True)}
    return PrintedRow(
        label=row.label,
        cells=tuple(_cell(cell, known) for cell in row.published),
        ours=tuple(_our_text(cells.get(model.number)) for model in models),
    )


def _cell(cell: PublishedCell | None, known: Sequence[float]) -> PrintedCell:
    if cell is None:
        return PrintedCell(text="")
    is_best = len(known) > 1 and cell.score.value == max(known)
    return PrintedCell(text=cell.score.printed, best=is_best, note=cell.note)


def _our_text(cell: OurCell | None) -> str:
    if cell is None or cell.row.score is None:
        return ""
    return numbers.figure(cell.row.score, numbers.in_points(cell.row)) + ("*" if cell.marks else "")


def _by_budget(name: str, table: PublishedTable, context: Context) -> PrintedTable:
    """The sweep with budgets as columns: a line for each task, and one below it for each of our models."""
    places = [(match[1], match[2], row) for row in table.rows if (match := re.fullmatch(r"(.*), (\d+k)", row.label))]
    budgets = list(dict.fromkeys(budget for _, budget, _ in places))
    models = _models(table, context)
    rows = []
    for task in dict.fromkeys(task for task, _, _ in places):
        own = {budget: row for label, budget, row in places if label == task}
        published = {budget: next(filter(None, row.published), None) for budget, row in own.items()}
        cells = [PrintedCell(text="" if (cell := published.get(b)) is None else cell.score.printed) for b in budgets]
        rows.append(PrintedRow(label=task, cells=tuple(cells)))
        for model in models:
            texts = [_our_text(_of(own.get(budget), table, model)) for budget in budgets]
            if any(texts):
                line = tuple(PrintedCell(text=text) for text in texts)
                rows.append(PrintedRow(label=f"{task}, {model.name}", cells=line, ours_line=True))
    return PrintedTable(
        key=f"table-{name}",
        short=SHORT[name],
        title=table.title,
        heads=tuple(budgets),
        models=(),
        rows=tuple(rows),
        notes=table.notes,
        left_out=_left_out(table, context),
    )


def _of(row: TableRow | None, table: PublishedTable, model: Series) -> OurCell | None:
    """Our result in a row."""
    cells = {} if row is None else {run.number: cell for run, cell in zip(table.columns, row.ours, strict=True)}
    return cells.get(model.number)
