"""The columns of the leaderboard that are no tasks, as data: one list for pages, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

from kvl_eval.reports.pages.board import EMPTY, Board, OurLine

LEAST = 0.01  # tokens or hours; less is not told apart
BoardForm = Literal["page", "markdown", "json"]
ALL_FORMS: tuple[BoardForm, ...] = ("page", "markdown", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineColumn:
    """One column; lower values are better in it.

    Attributes:
        key:   names it in JSON and in code.
        title: of the head, by the whole table; `unit` stands below it.
        help:  what it counts.
        value: line -> its number; None where it is not known.
        where: the forms that have it.
    """

    key: str
    title: Callable[[Board], str]
    unit: str
    help: str
    value: Callable[[OurLine], float | None]
    where: tuple[BoardForm, ...] = ALL_FORMS

    def text(self, line: OurLine) -> str:
        """The cell of a line."""
        return quantity(self.value(line))


def _hours_title(board: Board) -> str:
    return "GPU" if board.on_gpus else "run"


LINE_COLUMNS: tuple[LineColumn, ...] = (
    LineColumn(
        key="tokens",
        title=lambda board: "tokens",
        unit="per reply",
        help="Mean tokens of a reply, the thought included",
        value=lambda line: line.tokens,
    ),
    LineColumn(
        key="hours",
        title=_hours_title,
        unit="hours",
        help="Hours during which a reply was under way, times GPUs where there are several",
        value=lambda line: line.hours,
        where=("page", "json"),
    ),
)


def line_columns(form: BoardForm) -> list[LineColumn]:
    """The columns of one form, in order."""
    return [column for column in LINE_COLUMNS if form in column.where]


def quantity(value: float | None) -> str:
    """Tokens or hours in few digits: `4,850`, `32.7`, `0.04`; `·` where nothing is known."""
    if value is None:
        return EMPTY
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1 or value <= 0:
        return f"{value:.1f}"
    if value < LEAST:
        return f"< {LEAST:g}"
    return f"{value:.{1 - floor(log10(value))}f}"
