"""The leaderboard: models by tasks, ours and published ones, as data for the front page and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

from kvl_eval import references
from kvl_eval.references import LEADERBOARD_SYSTEMS, ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.columns import NOTHING, ModelResults
from kvl_eval.reports.costs import NO_PRICES, Prices
from kvl_eval.reports.links import filtered_address, task_file
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages.score_book import ScoreBook, SeriesResult
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.runs import is_default_protocol, main_rows, task_of
from kvl_eval.scorers.statistics import holm
from kvl_eval.store.result_records import ResultRow
from kvl_eval.types import Interval
from kvl_eval.verdicts import LEVEL

SUBJECT = "kimi-vl"  # how the systems begin that this project is about
EMPTY = NOTHING
"""What a cell says that was not run, or not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    """A task and split that was run.

    Attributes:
        label:  as heads and sentences name it.
        points: whether scores are printed in points of 1,000.
        page:   the task's page.
    """

    task: str
    split: str | None
    label: str
    points: bool
    page: str

    def text(self, value: float) -> str:
        """A score under this head: `70.9`, `861`."""
        return numbers.figure(value, self.points)

    def shown(self, value: float) -> float:
        """A score in the unit of this column."""
        return (1000 if self.points else 100) * value

    def interval(self, bounds: Interval | None) -> str:
        """`[68.0, 73.7]`; empty where there is none."""
        return "" if bounds is None else "[" + ", ".join(map(self.text, bounds)) + "]"


@dataclass(frozen=True, slots=True, kw_only=True)
class OurScore:
    """A result of ours in the table.

    Attributes:
        value:  in the unit of the column.
        ranked: whether it takes part in what is best: whole, and scored by the default protocol.
        tied:   whether a paired test shows no difference from the best of ours.
        note:   what is odd about it; empty for nothing.
        href:   the samples behind it.
    """

    result: SeriesResult
    value: float
    text: str
    interval: str
    half: str
    ranked: bool
    note: str
    href: str
    best: bool = False
    tied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OurLine:
    """One model of ours: a score (or None) for each task."""

    series: Series
    cells: tuple[OurScore | None, ...]
    prices: Prices = NO_PRICES

    @property
    def results(self) -> ModelResults:
        """The results behind its scores."""
        rows = tuple(score.result.row for score in self.cells if score is not None)
        return ModelResults(rows=rows, device=self.series.run.manifest.model.device or "", prices=self.prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardScore:
    """A published result in the table; `letter` names its source."""

    score: ReferenceScore
    value: float
    text: str
    letter: str
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLine:
    """One published system: a result (or None) for each column."""

    system: str
    label: str
    params: str
    family: bool
    cells: tuple[BoardScore | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The leaderboard; `sources` are {letter: where those results stand}."""

    columns: tuple[BoardColumn, ...]
    ours: tuple[OurLine, ...]
    published: tuple[PublishedLine, ...]
    sources: dict[str, str]


def board_of(series: Sequence[Series], book: ScoreBook, with_partial: bool = False) -> Board:
    """The table of these models: sighted results at each model's largest budget, partial ones only if allowed."""
    results = [headlines(model, with_partial) for model in series]
    places = dict.fromkeys(place for rows in results for place, row in rows.items() if row.score is not None)
    columns = tuple(_column(*place, [rows[place] for rows in results if place in rows]) for place in places)
    scores = [
        _column_scores(
            column,
            [
                _score(column, SeriesResult(model, rows[place])) if place in rows else None
                for model, rows in zip(series, results, strict=True)
            ],
            book,
        )
        for place, column in zip(places, columns, strict=True)
    ]
    ours = tuple(
        OurLine(series=model, cells=tuple(column[number] for column in scores))
        for number, model in enumerate(series)
        if results[number]
    )
    published, sources = _published(columns)
    return Board(columns=columns, ours=ours, published=published, sources=sources)


def headlines(model: Series, with_partial: bool = False) -> dict[tuple[str, str | None], ResultRow]:
    """{(task, split): the result that stands for it}: sighted, at the largest budget; a partial one only if allowed."""
    chosen: dict[tuple[str, str | None], ResultRow] = {}
    for row in main_rows(model.run):
        place = (row.task, row.split)
        if row.blind or (row.partial and not with_partial):
            continue
        if place not in chosen or _weight(row) > _weight(chosen[place]):
            chosen[place] = row
    return chosen


def _weight(row: ResultRow) -> tuple[bool, float]:
    """Whole results come before partial ones, then larger budgets."""
    return not row.partial, limit_of(row)


def limit_of(row: ResultRow) -> float:
    """The thinking budget of a result; infinite without one."""
    return math.inf if row.budget is None else row.budget


def column_label(row: ResultRow) -> str:
    """`MathVista`, or `MathVista mini` where the split is not the published one."""
    task = task_of(row)
    title = row.title or (task.title if task is not None else row.task)
    is_whole = row.split is None or task is None or task.published_split == row.split
    return plain(title if is_whole or row.task.startswith("file:") else f"{title} {row.split}")


def _column(task: str, split: str | None, rows: Sequence[ResultRow]) -> BoardColumn:
    return BoardColumn(
        task=task,
        split=split,
        label=column_label(rows[0]),
        points=all(map(numbers.in_points, rows)),
        page=task_file(task),
    )


def _score(column: BoardColumn, result: SeriesResult) -> OurScore | None:
    row = result.row
    if row.score is None:
        return None
    half = "" if row.ci95 is None else numbers.figure((row.ci95[1] - row.ci95[0]) / 2, column.points)
    budget = "" if row.budget is None else numbers.budget(row)
    notes = ["partial"] if row.partial else []
    notes += [] if row.complete else [f"{row.n_scored:,} of {row.n_planned:,} samples have a score"]
    notes += [] if is_default_protocol(row) else [f"protocol {numbers.protocol_name(row)}"]
    return OurScore(
        result=result,
        value=column.shown(row.score),
        text=column.text(row.score),
        interval=column.interval(row.ci95),
        half=half,
        ranked=not notes,
        note="; ".join(notes),
        href=filtered_address(task=row.task, run=result.series.number, budget=budget),
    )


def _column_scores(column: BoardColumn, scores: Sequence[OurScore | None], book: ScoreBook) -> list[OurScore | None]:
    """The scores of one column with the best one marked, and those that a paired test does not set apart from it."""
    ranked = [score for score in scores if score is not None and score.ranked]
    if not ranked:
        return list(scores)
    top = max(score.value for score in ranked)
    best = next(score for score in ranked if score.value == top)
    others = [score for score in ranked if score.value < top]
    tests = [(score, book.test(best.result, score.result)) for score in others]
    same = [(score, test) for score, test in tests if test is not None and test.is_whole]
    corrected = holm([test.p_value for _, test in same])
    tied = {score.result.series.key for (score, _), p in zip(same, corrected, strict=True) if p >= LEVEL}
    return [
        None
        if score is None
        else replace(score, best=score.ranked and score.value == top, tied=score.result.series.key in tied)
        for score in scores
    ]


def _published(columns: Sequence[BoardColumn]) -> tuple[tuple[PublishedLine, ...], dict[str, str]]:
    """The systems with a result under any of these heads, and the letters of their sources."""
    found = [published_scores(column) for column in columns]
    tables = {score.table for scores in found for score in scores.values()}
    letters = dict(zip((table for table in references.TABLES if table in tables), ascii_lowercase, strict=False))
    ordered = sorted(LEADERBOARD_SYSTEMS, key=lambda system: not system.startswith(SUBJECT))
    lines = [
        _published_line(system, columns, [scores.get(system) for scores in found], found, letters)
        for system in ordered
        if any(system in scores for scores in found)
    ]
    return tuple(lines), {letter: references.TABLES[table] for table, letter in letters.items()}


def published_scores(column: BoardColumn) -> dict[str, ReferenceScore]:
    """{system: its result} of a column, where whole results were published of one task and this split."""
    from kvl_eval.tasks import known_task

    task = known_task(column.task)
    if task is None or task.reference is None or task.published_split != column.split:
        return {}
    if task.reference.mean_of or task.reference.by is not None:
        return {}
    scores = references.published(task.reference)
    return {score.system: score for score in scores if score.system in LEADERBOARD_SYSTEMS}


def _published_line(
    system: str,
    columns: Sequence[BoardColumn],
    scores: Sequence[ReferenceScore | None],
    found: Sequence[dict[str, ReferenceScore]],
    letters: dict[str, str],
) -> PublishedLine:
    known = [score for score in scores if score is not None]
    cells = [
        None
        if score is None
        else BoardScore(
            score=score,
            value=column.shown(score.value),
            text=column.text(score.value),
            letter=letters[score.table],
            best=score.value == max(other.value for other in others.values()),
        )
        for column, score, others in zip(columns, scores, found, strict=True)
    ]
    params = next((score.activated_params for score in known if score.activated_params), "")
    return PublishedLine(
        system=system,
        label=known[0].system_label,
        params=params,
        family=system.startswith(SUBJECT),
        cells=tuple(cells),
    )
