"""Sub-scores of a task: a table for each category field, and the tables that only some tasks have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.heatmap import heatmap_of, parts_of
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.charts import ChartPoint, Plot, Scale
from kvl_eval.reports.pages.score_book import ScoreBook
from kvl_eval.reports.pages.task_results import NamedResult
from kvl_eval.store.result_records import CategoryRow

FEW = 50  # samples of a group below which it is gray
APART = 7.0  # pixels between the intervals of two models
LEVELS = 5  # tints of a heat map


@dataclass(frozen=True, slots=True, kw_only=True)
class SubScoreRow:
    """One value of a category: a text (and whether it is the best) for each model."""

    label: str
    link: str
    n: int
    few: bool
    scores: tuple[tuple[str, bool], ...]
    drawn: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class SubScores:
    """One category field."""

    name: str
    axis: Markup
    rows: tuple[SubScoreRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCell:
    """A text; `level` tints it, from 0 (no tint) to `LEVELS`."""

    text: str
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """A table that only some tasks have; `folded` ones are opened by a click."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ScoreCell, ...]], ...]
    legend: str = ""
    folded: bool = False


def sub_scores(results: Sequence[NamedResult]) -> list[SubScores]:
    """One table for each category field, whatever the number of models."""
    fields = dict.fromkeys(field for named in results for field in named.row.categories)
    return [_field(field, results) for field in fields]


def _field(field: str, results: Sequence[NamedResult]) -> SubScores:
    groups = [named.row.categories.get(field, {}) for named in results]
    labels = dict.fromkeys(label for group in groups for label in group)
    ends = [100 * end for group in groups for part in group.values() for end in (part.score, *(part.ci95 or ()))]
    low, high = charts.span(ends or [0.0, 100.0])
    plot = Plot(
        scale=Scale(max(0.0, low), min(100.0, high)),
        ticks=charts.nice_ticks(max(0.0, low), min(100.0, high), 4),
        height=round(10 + APART * len(results)),
    )
    rows = [_row(field, label, results, [group.get(label) for group in groups], plot) for label in labels]
    return SubScores(name=plain(field), axis=charts.axis(plot), rows=tuple(rows))


def _row(
    field: str, label: str, results: Sequence[NamedResult], parts: Sequence[CategoryRow | None], plot: Plot
) -> SubScoreRow:
    known = [part.score for part in parts if part is not None]
    top = max(known) if len(set(known)) > 1 else None
    n = max(part.n for part in parts if part is not None)
    points = [
        ChartPoint(
            value=100 * part.score,
            interval=None if part.ci95 is None else (100 * part.ci95[0], 100 * part.ci95[1]),
            css=named.result.series.css,
            shape=named.result.series.shape,
            label=f"{named.name} {numbers.percent(part.score)} {numbers.percent_interval(part.ci95)}".strip(),
        )
        for named, part in zip(results, parts, strict=True)
        if part is not None
    ]
    words = f"{plain(label)}: " + ", ".join(point.label for point in points)
    return SubScoreRow(
        label=plain(label),
        link=filtered_address(task=results[0].row.task, category=f"{field}: {label}"),
        n=n,
        few=n < FEW,
        scores=tuple(
            ("·", False) if part is None else (numbers.percent(part.score), part.score == top) for part in parts
        ),
        drawn=charts.rows_chart(plot, points, words, apart=APART),
    )


def extra_tables(results: Sequence[NamedResult], book: ScoreBook) -> Iterator[ScoreTable]:
    """Heat maps, parts with published results, repeats, and what the official script prints."""
    for named in results:
        yield from _heatmap(named, book)
    for named in results:
        yield from _parts(named)
    yield from _repeats(results)
    for named in results:
        if named.row.official:
            rows = tuple((plain(key), (ScoreCell(text=plain(text)),)) for key, text in named.row.official.items())
            title = f"As the official script prints it, {named.name}"
            yield ScoreTable(title=title, heads=("value", "printed"), rows=rows, folded=True)


def _heatmap(named: NamedResult, book: ScoreBook) -> Iterator[ScoreTable]:
    run, row = named.result.series.run, named.row
    heatmap = heatmap_of(run, row, list(book.lines(run, row).values()))
    if heatmap is None:
        return
    rows = tuple(
        (down, tuple(_tinted(heatmap.cells.get((down, across))) for across in heatmap.columns)) for down in heatmap.rows
    )
    yield ScoreTable(
        title=f"{heatmap.title}, {named.name}",
        heads=(heatmap.corner, *heatmap.columns),
        rows=rows,
        legend="Percent per cell. A dot: no scored answer.",
    )


def _tinted(value: float | None) -> ScoreCell:
    if value is None:
        return ScoreCell(text="·")
    return ScoreCell(text=numbers.percent(value, 0), level=1 + min(LEVELS - 1, int(value * LEVELS)))


def _parts(named: NamedResult) -> Iterator[ScoreTable]:
    parts = parts_of(named.row)
    if parts is not None:
        rows = tuple((name, tuple(ScoreCell(text=text or "·") for text in texts)) for name, texts in parts.rows)
        title = f"By {parts.name}, {named.name}"
        yield ScoreTable(title=title, heads=(parts.name, *parts.values), rows=rows, legend=f"Published: {parts.source}")


def _repeats(results: Sequence[NamedResult]) -> Iterator[ScoreTable]:
    """Mean, pass@k and majority of those that were asked several times."""
    rows = [(named.name, repeats) for named in results if (repeats := named.row.repeats) is not None]
    if not rows:
        return
    ks = dict.fromkeys(k for _, repeats in rows for k in repeats.pass_at)
    heads = ("model", "answers per question", "questions", "mean", *(f"pass@{plain(k)}" for k in ks), "majority")
    lines = []
    for name, repeats in rows:
        passed = [numbers.percent(repeats.pass_at.get(k)) for k in ks]
        texts = (f"{repeats.n}", f"{repeats.questions:,}", numbers.percent(repeats.mean), *passed)
        lines.append((name, tuple(ScoreCell(text=text or "·") for text in (*texts, numbers.percent(repeats.majority)))))
    yield ScoreTable(title="Several answers per question", heads=heads, rows=tuple(lines))
