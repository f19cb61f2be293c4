"""Sweeps of thinking budgets: the results of each model on each task, and up to which budget thinking pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval import references
from kvl_eval.references import TABLES, ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.costs import reply_tokens
from kvl_eval.reports.pages.board import column_label
from kvl_eval.reports.pages.score_book import ScoreBook, SeriesResult
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.runs import Setting, main_rows, setting_of, task_of
from kvl_eval.scorers.statistics import holm
from kvl_eval.store.result_records import ResultRow
from kvl_eval.verdicts import LEVEL, Pays

FIGURE = "budget_sweep_fig13"
LIMIT = "max_thinking_tokens="


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One model on one task within several budgets.

    Attributes:
        label: the task, as heads name it.
        rows:  results by budget, ascending.
        pays:  up to which budget thinking pays; None where nothing can be compared or no reply has a thought.
    """

    series: Series
    label: str
    rows: tuple[ResultRow, ...]
    pays: Pays | None

    @property
    def task(self) -> str:
        """The task's name."""
        return self.rows[0].task

    @property
    def gain(self) -> float:
        """What the largest budget brings over the smallest, as a fraction."""
        scores = [row.score for row in self.rows if row.score is not None]
        return scores[-1] - scores[0] if scores else 0.0

    @property
    def has_thoughts(self) -> bool:
        """Whether some reply contains a thought."""
        return any(row.thoughts or thinking_mean(row) for row in self.rows)


def thinking_mean(row: ResultRow) -> float:
    """Mean tokens of a thought over the replies of a result."""
    return row.tokens["thinking"].mean if "thinking" in row.tokens else 0.0


def sweeps_of(series: Sequence[Series], book: ScoreBook) -> list[Sweep]:
    """Every sighted sweep of at least two budgets, model by model."""
    return [
        Sweep(series=model, label=column_label(rows[0]), rows=tuple(rows), pays=pays_of(model, rows, book))
        for model in series
        for rows in _swept(model).values()
        if len(rows) > 1
    ]


def _swept(model: Series) -> dict[Setting, list[ResultRow]]:
    """Results within budgets by what they have in common but for the budget, by budget."""
    places: dict[Setting, list[ResultRow]] = {}
    for row in main_rows(model.run):
        if row.budget is not None and row.score is not None and not row.blind:
            places.setdefault(setting_of(row)._replace(budget=None), []).append(row)
    return {place: sorted(rows, key=budget_of) for place, rows in places.items()}


def budget_of(row: ResultRow) -> int:
    """The budget of a swept result, in tokens."""
    assert row.budget is not None, "a sweep has results within budgets only"
    return row.budget


def pays_of(model: Series, rows: Sequence[ResultRow], book: ScoreBook) -> Pays | None:
    """The smallest budget that no larger one is shown to beat: paired tests, Holm over the larger budgets."""
    results = [SeriesResult(model, row) for row in rows]
    place = next(number for number in range(len(results)) if not _is_beaten(results, number, book))
    is_last = place == len(results) - 1
    start, end = (results[-2], results[-1]) if is_last else (results[place], results[-1])
    step = book.gap(start, end, column_label(rows[0]), points=all(map(numbers.in_points, rows)))
    if step is None:
        return None
    before, after = reply_tokens(start.row), reply_tokens(end.row)
    return Pays(
        task=step.task,
        budget=budget_of(rows[place]),
        start=budget_of(start.row),
        end=budget_of(end.row),
        step=step,
        tokens=after / before - 1 if before and after is not None else None,
        labels={budget_of(row): numbers.budget_label(budget_of(row)) for row in rows},
        decided=is_last and step.p_value < LEVEL and step.difference > 0,
    )


def _is_beaten(results: Sequence[SeriesResult], place: int, book: ScoreBook) -> bool:
    """Whether some larger budget is better than the one at `place`."""
    tests = [test for larger in results[place + 1 :] if (test := book.test(results[place], larger)) is not None]
    corrected = holm([test.p_value for test in tests])
    return any(test.difference > 0 and p < LEVEL for test, p in zip(tests, corrected, strict=True))


def published_curve(row: ResultRow) -> list[tuple[int, ReferenceScore]]:
    """(budget, result) of the published sweep of this task, ascending; empty where none was published."""
    task = task_of(row)
    if task is None or task.reference is None:
        return []
    points = [
        (int(score.setting.removeprefix(LIMIT)), score)
        for score in references.load()
        if score.table == FIGURE
        and score.benchmark == task.reference.benchmark
        and task.reference.split in (None, score.split)
    ]
    return sorted(points, key=lambda point: point[0])


def published_name(points: Sequence[tuple[int, ReferenceScore]]) -> str:
    """Whose sweep was published, and where."""
    return f"{points[0][1].system_label}, {TABLES[FIGURE]}" if points else ""
