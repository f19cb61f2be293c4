"""The dot plot of a task's page: our results and the published ones together, sorted by score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.references import TABLES
from kvl_eval.reports import numbers
from kvl_eval.reports.links import task_file
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.board import BoardColumn, column_label, published_scores
from kvl_eval.reports.pages.charts import ChartPoint, Plot, Scale
from kvl_eval.reports.pages.task_results import NamedResult
from kvl_eval.scorers.statistics import wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class DotRow:
    """One result: `value` in the unit of the plot, its texts and its drawing."""

    mark: Markup
    name: str
    ours: bool
    value: float
    text: str
    interval: str
    drawn: Markup
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DotPlot:
    """The results of a task, the best first."""

    axis: Markup
    rows: tuple[DotRow, ...]
    has_published: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dot:
    mark: Markup
    name: str
    point: ChartPoint
    text: str
    interval: str
    source: str


def column_of(results: Sequence[NamedResult]) -> BoardColumn:
    """How scores of these results are printed, and which published ones belong to them."""
    row = results[0].row
    points = all(numbers.in_points(named.row) for named in results)
    return BoardColumn(task=row.task, split=row.split, label=column_label(row), points=points, page=task_file(row.task))


def dot_plot(column: BoardColumn, results: Sequence[NamedResult], n: int) -> DotPlot:
    """The plot; published results have the interval that `n` samples alone would give, drawn faintly."""
    published = list(_published(column, n))
    dots = sorted([*_ours(column, results), *published], key=lambda dot: -dot.point.value)
    ends = [end for dot in dots for end in (dot.point.value, *(dot.point.interval or ()))]
    low, high = charts.span(ends or [0.0, 100.0])
    plot = Plot(scale=Scale(low, high), ticks=charts.nice_ticks(low, high, 8))
    rows = tuple(
        DotRow(
            mark=dot.mark,
            name=dot.name,
            ours=dot.point.css != "pub",
            value=dot.point.value,
            text=dot.text,
            interval=dot.interval,
            drawn=charts.interval_row(plot, dot.point),
            source=dot.source,
        )
        for dot in dots
    )
    return DotPlot(axis=charts.axis(plot), rows=rows, has_published=bool(published))


def _ours(column: BoardColumn, results: Sequence[NamedResult]) -> Iterator[_Dot]:
    for named in results:
        row, model = named.row, named.result.series
        if row.score is None:
            continue
        text, interval = column.text(row.score), column.interval(row.ci95)
        bounds = None if row.ci95 is None else (column.shown(row.ci95[0]), column.shown(row.ci95[1]))
        point = ChartPoint(
            value=column.shown(row.score),
            interval=bounds,
            css=model.css,
            shape=model.shape,
            label=f"{named.name}: {text} {interval}".strip(),
        )
        source = f"this report, {named.note}" if named.note else "this report"
        yield _Dot(mark=named.mark, name=named.name, point=point, text=text, interval=interval, source=source)


def _published(column: BoardColumn, n: int) -> Iterator[_Dot]:
    mark = charts.key("diamond", "pub")
    for score in published_scores(column).values():
        text = column.text(score.value)
        low, high = wilson(score.value * n, n)
        point = ChartPoint(
            value=column.shown(score.value),
            interval=(column.shown(low), column.shown(high)),
            css="pub",
            shape="diamond",
            label=f"{score.system_label}: {text}, published",
            faint=True,
        )
        source = TABLES[score.table]
        yield _Dot(mark=mark, name=score.system_label, point=point, text=text, interval="", source=source)
