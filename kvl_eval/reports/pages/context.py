"""What all pages of a report share: models, leaderboard, sweeps, evidence, score lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvl_eval.reports.costs import NO_PRICES, Prices
from kvl_eval.reports.pages.board import Board, board_of
from kvl_eval.reports.pages.evidence import evidence_of
from kvl_eval.reports.pages.score_book import ScoreBook
from kvl_eval.reports.pages.series import Series, series_of
from kvl_eval.reports.pages.sweeps import Sweep, sweeps_of
from kvl_eval.reports.runs import ReportRun
from kvl_eval.verdicts import Evidence

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A report before it is written.

    Attributes:
        title:    of the front page.
        prices:   what costs are computed with.
        board:    the leaderboard: whole results.
        compared: the same with partial results, which pairs may share.
    """

    title: str
    prices: Prices
    series: tuple[Series, ...]
    board: Board
    compared: Board
    sweeps: tuple[Sweep, ...]
    evidence: Evidence
    book: ScoreBook

    @property
    def demo(self) -> bool:
        """Whether a demo model is among the models."""
        return self.evidence.demo


def context_of(runs: Sequence[ReportRun], title: str = "", prices: Prices = NO_PRICES) -> Context:
    """What the pages of these runs share; an empty title is replaced by one that counts models and tasks."""
    book, series = ScoreBook(), tuple(series_of(runs))
    board = _priced(board_of(series, book), prices)
    has_partial = any(row.partial for run in runs for row in run.rows)
    compared = board_of(series, book, with_partial=True) if has_partial else board
    sweeps = tuple(sweeps_of(series, book))
    return Context(
        title=title or title_of(board if board.columns else compared, series),
        prices=prices,
        series=series,
        board=board,
        compared=compared,
        sweeps=sweeps,
        evidence=evidence_of(series, compared, sweeps, book),
        book=book,
    )


def _priced(board: Board, prices: Prices) -> Board:
    return replace(board, ours=tuple(replace(line, prices=prices) for line in board.ours))


def title_of(board: Board, series: Sequence[Series]) -> str:
    """`Three models on eight benchmarks`; a single model or task by its name."""
    n = len(board.columns)
    tasks = board.columns[0].label if n == 1 else f"{_number(n)} benchmarks"
    models = dict.fromkeys(model.run.model for model in series)
    if len(models) == 1:
        return f"{next(iter(models))} on {tasks}"
    count = _number(len(models))
    return f"{count[0].upper()}{count[1:]} models on {tasks}"


def _number(n: int) -> str:
    return WORDS[n] if n < len(WORDS) else f"{n}"
