"""The columns of a table of results, as data: one list for the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kvl_eval.reports import numbers
from kvl_eval.reports.runs import task_of
from kvl_eval.store.result_records import ResultRow

TableForm = Literal["terminal", "markdown"]
EVERYWHERE: tuple[TableForm, ...] = ("terminal", "markdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key:     names it in code.
        title:   its head.
        text:    result -> its cell; an empty text where it has none.
        numeric: whether cells are aligned right.
        where:   the tables that have it.
        always:  whether it is shown also where no cell says anything.
    """

    key: str
    title: str
    text: Callable[[ResultRow], str]
    numeric: bool = False
    where: tuple[TableForm, ...] = EVERYWHERE
    always: bool = True


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
)
EMPTY = {"no_answer": "0.0%", "failed": "0"}
"""{column that is shown: what its cells say where there is nothing to count}."""


def filled(form: TableForm, rows: Sequence[ResultRow]) -> list[Column]:
    """The columns of a table of these results: those that some row fills."""
    return [
        column
        for column in COLUMNS
        if form in column.where and (column.always or any(column.text(row) for row in rows))
    ]


def cells(columns: Sequence[Column], row: ResultRow) -> list[str]:
    """One result under these columns."""
    return [column.text(row) or (EMPTY.get(column.key, "") if row.n_scored else "") for column in columns]
