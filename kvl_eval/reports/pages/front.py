"""The front page: title, sentences, the pair that they name, warnings, leaderboard, strips, what is kept apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from kvl_eval.reports.columns import Column, board_columns
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.apart import Card, cards_of
from kvl_eval.reports.pages.board import Board, BoardColumn, BoardScore, OurScore
from kvl_eval.reports.pages.charts import ChartPoint, Plot, Scale
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.warning_table import WarningTable, warning_table
from kvl_eval.verdicts import Gap, ModelPair, Sentence, verdict_sentences

STRIP = 26  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """One task of the pair that the sentences name: its difference, drawn and as text."""

    label: str
    anchor: str
    drawn: Markup
    text: str
    decided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One task from its lowest to its highest result."""

    column: BoardColumn
    low: str
    high: str
    drawn: Markup
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPage:
    """What the template of the front page shows."""

    title: str
    date: str
    sentences: tuple[tuple[Sentence, Markup], ...]
    pair: ModelPair | None
    pair_lines: tuple[PairLine, ...]
    warnings: WarningTable
    board: Board
    columns: tuple[Column, ...]
    strips: tuple[Strip, ...]
    cards: tuple[Card, ...]


def front_page(context: Context) -> FrontPage:
    """The front page of a report."""
    pair = context.evidence.pair
    sentences = verdict_sentences(context.evidence)
    return FrontPage(
        title=context.title,
        date=report_date(context),
        sentences=tuple((sentence, with_bold(sentence)) for sentence in sentences),
        pair=pair,
        pair_lines=() if pair is None else tuple(_pair_lines(pair, context)),
        warnings=warning_table(context.series),
        board=context.board,
        columns=tuple(board_columns("page", [line.results for line in context.board.ours])),
        strips=tuple(
            _strip(context.board, place)
            for place in range(len(context.board.columns))
            if _is_range(context.board, place)
        ),
        cards=tuple(cards_of(context.series, context.board, context.sweeps, context.book)),
    )


def report_date(context: Context) -> str:
    """`30 November 2026`: the day of the newest run; a report has no time of its own."""
    days = [text for model in context.series if (text := model.run.manifest.created)]
    return day_text(max(days)) if days else ""


def day_text(stamp: str) -> str:
    """A stored time as a day; empty where it cannot be read."""
    try:
        day = datetime.fromisoformat(stamp)
    except ValueError:
        return ""
    return f"{day.day} {day:%B} {day.year}"


def with_bold(sentence: Sentence) -> Markup:
    """A sentence with its names in bold."""
    names = sorted(filter(None, sentence.bold), key=len, reverse=True)
    if not names:
        return escape(sentence.text)
    parts = re.split("(" + "|".join(map(re.escape, names)) + ")", sentence.text)
    return Markup("").join(Markup("<b>{}</b>").format(part) if part in names else escape(part) for part in parts)


def _pair_lines(pair: ModelPair, context: Context) -> list[PairLine]:
    b = next(model for model in context.series if model.name == pair.b)
    anchors = {column.label: anchor_of(column) for column in context.compared.columns}
    plot = pair_plot(pair.gaps, height=20)
    return [
        PairLine(
            label=gap.task,
            anchor=anchors.get(gap.task, ""),
            drawn=gap_row(gap, plot, b.css if sign != "same" else "pub", b.shape),
            text=gap.printed,
            decided=sign != "same",
        )
        for gap, sign in zip(pair.gaps, pair.decided, strict=True)
    ]


def anchor_of(column: BoardColumn) -> str:
    """How pages call a column in their addresses."""
    return re.sub(r"[^a-z0-9]+", "-", f"{column.task} {column.split or ''}".lower()).strip("-")


def pair_plot(gaps: Sequence[Gap], height: int = 26, ticks: bool = False) -> Plot:
    """The scale that the differences of a pair share, in points of 100, with 0 on it."""
    ends = [100 * bound for gap in gaps for bound in (*gap.ci95, 0.0)]
    low, high = charts.span(ends)
    return Plot(scale=Scale(low, high), ticks=charts.nice_ticks(low, high, 5) if ticks else (), zero=0, height=height)


def gap_row(gap: Gap, plot: Plot, css: str, shape: str) -> Markup:
    """A difference on its line."""
    low, high = gap.ci95
    point = ChartPoint(
        value=100 * gap.difference,
        interval=(100 * low, 100 * high),
        css=css,
        shape=shape,
        label=f"{gap.task}: {gap.printed} {gap.interval}",
    )
    return charts.interval_row(plot, point)


def _is_range(board: Board, place: int) -> bool:
    """Whether a column has several results, which a strip can lie between."""
    cells = [*(line.cells[place] for line in board.ours), *(line.cells[place] for line in board.published)]
    return sum(cell is not None for cell in cells) > 1


def _strip(board: Board, place: int) -> Strip:
    column = board.columns[place]
    ours = [cell for line in board.ours if (cell := line.cells[place]) is not None]
    published = [(line.label, score) for line in board.published if (score := line.cells[place]) is not None]
    values = [*(cell.value for cell in ours), *(cell.value for _, cell in published)]
    low, high = charts.span(values, 0.04)
    points = [_published_point(label, cell) for label, cell in published] + [_our_point(cell) for cell in ours]
    plot = Plot(scale=Scale(low, high), height=STRIP)
    words = f"{column.label}: " + ", ".join(point.label for point in points)
    return Strip(
        column=column,
        low=column.text(_fraction(column, min(values))),
        high=column.text(_fraction(column, max(values))),
        drawn=charts.rows_chart(plot, points, words),
        words=_standing(ours, [cell for _, cell in published]),
    )


def _fraction(column: BoardColumn, value: float) -> float:
    return value / (1000 if column.points else 100)


def _published_point(label: str, cell: BoardScore) -> ChartPoint:
    return ChartPoint(value=cell.value, interval=None, css="pub", shape="diamond", label=f"{label} {cell.text}")


def _our_point(cell: OurScore) -> ChartPoint:
    model, row = cell.result
    scale = cell.value / row.score if row.score else 100
    bounds = None if row.ci95 is None else (scale * row.ci95[0], scale * row.ci95[1])
    label = f"{model.name} {cell.text} {cell.interval}".strip()
    return ChartPoint(value=cell.value, interval=bounds, css=model.css, shape=model.shape, label=label)


def _standing(ours: Sequence[OurScore], published: Sequence[BoardScore]) -> str:
    """`my-vlm 70.9: above 7 of 10 published`."""
    leader = max(ours, key=lambda cell: cell.value)
    text = f"{leader.result.series.name} {leader.text}"
    if not published:
        return text
    return f"{text}: above {sum(cell.value < leader.value for cell in published)} of {len(published)} published"
