"""Which results a task's page shows: one for each model and split."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages.board import headlines, limit_of
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.score_book import SeriesResult
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.pages.sweeps import budget_of
from kvl_eval.reports.runs import main_rows
from kvl_eval.store.result_records import ResultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedResult:
    """One model's result on the page, by the model and what else sets it apart: split, blind, partial."""

    result: SeriesResult
    name: str
    note: str

    @property
    def row(self) -> ResultRow:
        """The result."""
        return self.result.row

    @property
    def mark(self) -> Markup:
        """The model's mark."""
        return self.result.series.mark()

    @property
    def ranked(self) -> bool:
        """Whether it takes part in what is best."""
        return not self.note and self.row.score is not None


def task_results(context: Context, task: str) -> list[NamedResult]:
    """Each model's result at its largest budget; a blind or partial one where it has no other."""
    chosen = [(model, row) for model in context.series for row in _rows(model, task)]
    splits = {row.split for _, row in chosen}
    return [
        NamedResult(result=SeriesResult(model, row), name=_name(model, row, len(splits) > 1), note=_note(row))
        for model, row in chosen
    ]


def budgets_of(context: Context, task: str) -> list[int]:
    """The budgets of this task, the largest first; empty where no model has several."""
    swept = [sweep for sweep in context.sweeps if sweep.task == task]
    return sorted({budget_of(row) for sweep in swept for row in sweep.rows}, reverse=True)


def results_at(context: Context, task: str, budget: int) -> list[NamedResult]:
    """Each model's result at this budget; that of a model without budgets where it is."""
    results = []
    for named in task_results(context, task):
        model = named.result.series
        own = [row for row in main_rows(model.run) if (row.task, row.split) == (task, named.row.split)]
        row = named.row if named.row.budget is None else next((row for row in own if row.budget == budget), None)
        if row is not None:
            results.append(replace(named, result=SeriesResult(model, row)))
    return results


def _rows(model: Series, task: str) -> list[ResultRow]:
    whole = [row for (name, _), row in headlines(model).items() if name == task]
    if whole:
        return whole
    others: dict[tuple[str | None, bool], ResultRow] = {}
    for row in main_rows(model.run):
        place = (row.split, row.blind)
        if row.task == task and (place not in others or limit_of(row) > limit_of(others[place])):
            others[place] = row
    return list(others.values())


def _name(model: Series, row: ResultRow, with_split: bool) -> str:
    return f"{model.name}, {plain(row.split)}" if with_split and row.split else model.name


def _note(row: ResultRow) -> str:
    notes = ["blind"] if row.blind else []
    notes += ["partial"] if row.partial else []
    notes += [] if row.complete else [f"{numbers.counted(row)} scored"]
    return ", ".join(notes)
