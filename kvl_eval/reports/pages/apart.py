"""What the front page keeps apart from the leaderboard: blind runs, sweeps and partial runs, a card for each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.board import Board, OurScore, column_label, headlines
from kvl_eval.reports.pages.score_book import ScoreBook, SeriesResult
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.pages.sweeps import Sweep, budget_of
from kvl_eval.reports.runs import main_rows, setting_of
from kvl_eval.store.result_records import ResultRow
from kvl_eval.verdicts import samples_needed, signed

FEW = 3  # further results that one card names


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One kind of results outside the table.

    Attributes:
        big:   the number of the first of them, `small` what it counts.
        drawn: its drawing; empty for none.
        keys:  (class, words) of the drawing's legend.
        lines: sentences on all of them.
    """

    title: str
    link: str
    big: str
    small: str
    drawn: Markup
    keys: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]


def cards_of(series: Sequence[Series], board: Board, sweeps: Sequence[Sweep], book: ScoreBook) -> list[Card]:
    """The cards that have content, in this order: blind runs, thinking budgets, partial runs."""
    cards = (_blind(series), _swept(sweeps), _partial(series, board, book))
    return [card for card in cards if card is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blind:
    model: Series
    row: ResultRow
    sighted: ResultRow | None


def _blind(series: Sequence[Series]) -> Card | None:
    results = [
        _Blind(model=model, row=row, sighted=_sighted(series, model, row))
        for model in series
        for row in main_rows(model.run)
        if row.blind and row.score is not None
    ]
    if not results:
        return None
    results.sort(key=lambda result: result.sighted is None)
    first = results[0]
    link = filtered_address(task=first.row.task, run=first.model.number)
    lines = tuple(_blind_line(result) for result in results[: FEW + 1])
    score = first.row.score or 0.0
    if first.sighted is None:
        big, small = numbers.percent(score), f"{column_label(first.row)} without images"
        return Card(title="Blind runs", link=link, big=big, small=small, drawn=Markup(""), keys=(), lines=lines)
    whole = first.sighted.score or 0.0
    seen, unseen = max(0.0, whole - score), min(whole, score)
    parts = (("seen", seen, "seen"), ("unseen", unseen, "without images"), ("gap", 1 - seen - unseen, "wrong"))
    drawn = charts.stacked(
        [(css, value, f"{words}: {numbers.percent(value)} points") for css, value, words in parts],
        f"{numbers.percent(unseen)} points without images, {numbers.percent(seen)} more with them",
        height=14,
    )
    return Card(
        title="Blind runs",
        link=link,
        big=signed(whole - score).removeprefix("+"),
        small=f"of {numbers.percent(whole)} points are seen",
        drawn=drawn,
        keys=(("seen", "only with images"), ("unseen", "also without")),
        lines=lines,
    )


def _sighted(series: Sequence[Series], model: Series, row: ResultRow) -> ResultRow | None:
    """The same model's result on the same samples with its images."""
    wanted = setting_of(row)._replace(blind=False)
    for other in series:
        if other.run.model != model.run.model:
            continue
        for candidate in main_rows(other.run):
            is_same = setting_of(candidate) == wanted and candidate.protocol == row.protocol
            if is_same and candidate.score is not None:
                return candidate
    return None


def _blind_line(result: _Blind) -> str:
    score, label = numbers.percent(result.row.score), column_label(result.row)
    if result.sighted is None:
        return f"{result.model.name} on {label}: {score} with every image gray."
    return f"{result.model.run.model} on {label}: {numbers.percent(result.sighted.score)}, blind {score}."


def _swept(sweeps: Sequence[Sweep]) -> Card | None:
    if not sweeps:
        return None
    first = max(sweeps, key=lambda sweep: sweep.gain)
    scores = [row.score for row in first.rows if row.score is not None]
    labels = [numbers.budget_label(budget_of(row)) for row in first.rows]
    texts = [numbers.percent(score) for score in scores]
    named = ", ".join(f"{label} {text}" for label, text in zip(labels, texts, strict=True))
    return Card(
        title="Thinking budgets",
        link="budgets.html",
        big=f"{texts[0]} → {texts[-1]}",
        small=f"{first.label}, {labels[0]} to {labels[-1]}",
        drawn=charts.sparkline([100 * score for score in scores], first.series.css, f"{first.label}: {named}"),
        keys=(),
        lines=tuple(_sweep_lines(sweeps)),
    )


def _sweep_lines(sweeps: Sequence[Sweep]) -> Iterator[str]:
    for name in dict.fromkeys(sweep.series.name for sweep in sweeps):
        own = [sweep for sweep in sweeps if sweep.series.name == name]
        budgets = max(len(sweep.rows) for sweep in own)
        tasks = own[0].label if len(own) == 1 else f"{len(own)} tasks"
        yield f"{name} at {budgets} budgets on {tasks}."


def _partial(series: Sequence[Series], board: Board, book: ScoreBook) -> Card | None:
    results = [
        SeriesResult(model, row)
        for model in series
        for row in headlines(model, with_partial=True).values()
        if row.partial and row.score is not None
    ]
    if not results:
        return None
    first = results[0]
    return Card(
        title="Partial runs",
        link=filtered_address(task=first.row.task, run=first.series.number),
        big=numbers.percent(first.row.score),
        small=f"{numbers.percent_interval(first.row.ci95)} on {_share(first)}".strip(),
        drawn=Markup(""),
        keys=(),
        lines=tuple(_partial_line(result, board, book) for result in results[: FEW + 1]),
    )


def _share(result: SeriesResult) -> str:
    """`300 of 3,040`, as far as the size of the split is known."""
    data = result.series.run.manifest.data.get(result.row.task)
    total = None if data is None else data.total
    n = f"{result.row.n_planned:,}"
    return f"{n} samples" if total is None else f"{n} of {total:,}"


def _partial_line(result: SeriesResult, board: Board, book: ScoreBook) -> str:
    """Where it belongs, and how many samples would decide between it and the best of the table."""
    score = numbers.percent(result.row.score)
    text = f"{result.series.name} on {column_label(result.row)}: {score} on {_share(result)}"
    best = _best(board, result)
    test = None if best is None else book.test(best.result, result)
    if best is None or test is None or not test.difference or not test.changed:
        return f"{text}; too few samples for a rank."
    needed = samples_needed(test.changed, test.difference)
    name = best.result.series.name
    return f"{text}; it would take about {needed:,} samples to show a difference of this size from {name}."


def _best(board: Board, result: SeriesResult) -> OurScore | None:
    """The best score of another model under the head of a partial result."""
    cells = (
        cell
        for line in board.ours
        for column, cell in zip(board.columns, line.cells, strict=True)
        if cell is not None and (column.task, column.split) == (result.row.task, result.row.split)
        if line.series.key != result.series.key
    )
    return max(cells, key=lambda cell: cell.value, default=None)
