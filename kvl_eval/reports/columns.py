"""The columns of tables of results, as data: one list for the terminal, notebooks, pages, Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kvl_eval.reports import numbers
from kvl_eval.reports.costs import NO_PRICES, Prices, hours_of, reply_tokens, tokens_of
from kvl_eval.reports.runs import task_of
from kvl_eval.store.result_records import ResultRow

ResultTable = Literal["terminal", "notebook"]
"""Tables with a line for each result."""
BoardForm = Literal["page", "markdown", "json"]
"""Tables with a line for each model."""
TableForm = ResultTable | BoardForm
RESULTS: tuple[TableForm, ...] = ("terminal", "notebook")
BOARDS: tuple[TableForm, ...] = ("page", "markdown", "json")
LEAST = 0.01  # tokens or hours; less is not told apart
NOTHING = "·"
"""What a cell says whose number is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResults:
    """The results of one model that a leaderboard shows, the device that answered (`server` for a server), prices."""

    rows: tuple[ResultRow, ...]
    device: str
    prices: Prices = NO_PRICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key:     names it in JSON and in code.
        title:   its head; `unit` stands below it.
        text:    result -> its cell; an empty text where it has none.
        total:   model -> its number over all results, lower being better; None where it is not known. Columns without
                 it are in no leaderboard, which has the scores of tasks in their place.
        help:    what it counts.
        numeric: whether cells are aligned right.
        where:   the tables that have it.
        always:  whether a table of results shows it also where no cell says anything.
    """

    key: str
    title: str
    text: Callable[[ResultRow], str]
    total: Callable[[ModelResults], float | None] | None = None
    unit: str = ""
    help: str = ""
    numeric: bool = False
    where: tuple[TableForm, ...] = RESULTS
    always: bool = True

    def number(self, model: ModelResults) -> float | None:
        """What a leaderboard shows of a model; None where it is not known."""
        return None if self.total is None else self.total(model)


def task_name(row: ResultRow) -> str:
    """`mathvista`, or `mathvista/mini` where the split is not the published one; the file's name of an own table."""
    task = task_of(row)
    if row.task.startswith("file:"):
        name = row.title
    elif row.split is None or (task is not None and task.published_split == row.split):
        name = row.task
    else:
        name = f"{row.task}/{row.split}"
    return numbers.plain(f"{name} blind" if row.blind else name)


def _budget(row: ResultRow) -> str:
    return "" if row.budget is None else numbers.budget(row)


def _published(row: ResultRow) -> str:
    """The published result, where the score is compared with it."""
    reference = row.reference
    if reference is None or reference.delta is None:
        return ""
    return numbers.figure(reference.value, numbers.in_points(row))


def _no_answer(row: ResultRow) -> str:
    return numbers.no_answer_share(row) if row.verdicts.get("no_answer") else ""


def _failed(row: ResultRow) -> str:
    return f"{row.n_failed}" if row.n_failed else ""


def _on_gpus(model: ModelResults) -> bool:
    return model.device.startswith("cuda")


def quantity(value: float | None) -> str:
    """Tokens or hours in few digits: `4,850`, `32.7`, `0.042`; `·` where nothing is known."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1 or value <= 0:
        return f"{value:.1f}"
    if value < LEAST:
        return f"< {LEAST:g}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


COLUMNS = (
    Column(key="task", title="task", text=task_name),
    Column(key="budget", title="budget", text=_budget, always=False),
    Column(key="n", title="n", text=numbers.counted, numeric=True),
    Column(key="score", title="score", text=numbers.headline, numeric=True),
    Column(key="ci95", title="95% CI", text=numbers.interval, always=False),
    Column(key="published", title="published", text=_published, numeric=True, always=False),
    Column(key="delta", title="Δ", text=numbers.delta, numeric=True, always=False),
    Column(key="no_answer", title="no answer", text=_no_answer, numeric=True, always=False),
    Column(key="failed", title="failed", text=_failed, numeric=True, always=False),
    Column(key="protocol", title="protocol", text=numbers.protocol_name),
    Column(
        key="tokens",
        title="tokens",
        unit="per reply",
        help="Mean tokens of a reply, the thought included",
        text=lambda row: quantity(reply_tokens(row)),
        total=lambda model: tokens_of(model.rows),
        where=BOARDS,
    ),
    Column(
        key="gpu_hours",
        title="GPU",
        unit="hours",
        help="Hours during which a reply was under way, times GPUs",
        text=lambda row: quantity(hours_of([row])),
        total=lambda model: hours_of(model.rows) if _on_gpus(model) else None,
        where=("page", "json"),
    ),
    Column(
        key="hours",
        title="run",
        unit="hours",
        help="Hours during which a reply was under way, on a server or without a GPU",
        text=lambda row: quantity(hours_of([row])),
        total=lambda model: None if _on_gpus(model) else hours_of(model.rows),
        where=("page", "json"),
    ),
    Column(
        key="cost",
        title="cost, $",
        unit="per 1,000",
        help="Dollars for 1,000 samples, at the prices that the report was given",
        text=lambda row: NOTHING,
        total=lambda model: model.prices.of_thousand(model.rows),
        where=BOARDS,
    ),
)
EMPTY = {"no_answer": "0.0%", "failed": "0"}
"""{column that is shown: what its cells say where there is nothing to count}."""


def filled(form: ResultTable, rows: Sequence[ResultRow]) -> list[Column]:
    """The columns of a table of these results: those that some row fills."""
    return [
        column
        for column in COLUMNS
        if form in column.where and (column.always or any(column.text(row) for row in rows))
    ]


def board_columns(form: BoardForm, models: Sequence[ModelResults]) -> list[Column]:
    """The columns of a leaderboard of these models beside its tasks: those that have a number for some model."""
    return [
        column
        for column in COLUMNS
        if form in column.where and any(column.number(model) is not None for model in models)
    ]


def cells(columns: Sequence[Column], row: ResultRow) -> list[str]:
    """One result under these columns."""
    return [column.text(row) or (EMPTY.get(column.key, "") if row.n_scored else "") for column in columns]
