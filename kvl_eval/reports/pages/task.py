"""The page of one task: all models in a row, other protocols, outcomes, sub-scores, lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages.board import BoardColumn, column_label
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.front import with_bold
from kvl_eval.reports.pages.task_dots import DotPlot, column_of, dot_plot
from kvl_eval.reports.pages.task_protocols import ProtocolLine, protocol_lines
from kvl_eval.reports.pages.task_replies import LengthChart, OutcomeTable, length_charts, outcome_table
from kvl_eval.reports.pages.task_results import NamedResult, budgets_of, results_at, task_results
from kvl_eval.reports.pages.task_scores import ScoreTable, SubScores, extra_tables, sub_scores
from kvl_eval.reports.runs import task_of
from kvl_eval.verdicts import leader_sentence

NEXT = 2  # models that the sentence compares with the leading one
ASKED = 140  # characters of what a task asks


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """What a task's page shows of results at one budget: protocols, outcomes, sub-scores, lengths.

    Attributes:
        label: of the budget; empty where no model has several.
    """

    label: str
    results: tuple[NamedResult, ...]
    protocols: tuple[ProtocolLine, ...]
    outcomes: OutcomeTable
    subs: tuple[SubScores, ...]
    lengths: tuple[LengthChart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """What the template shows of one task.

    Attributes:
        title: also the page's name in the menu.
        n:     samples that were planned.
        facts: (name, text), at most four.
        dots:  all models by score.
        views: one for each budget, that of the headline results first.
    """

    title: str
    kicker: str
    n: int
    lead: Markup
    facts: tuple[tuple[str, str], ...]
    dots: DotPlot
    views: tuple[BudgetView, ...]
    extras: tuple[ScoreTable, ...]


def task_page(context: Context, task: str) -> TaskPage:
    """The page of a task that some run has a result of."""
    results = task_results(context, task)
    row = results[0].row
    column = column_of(results)
    budgets = budgets_of(context, task)
    at_budgets = [(numbers.budget_label(budget), results_at(context, task, budget)) for budget in budgets[1:]]
    headline = (numbers.budget_label(budgets[0]) if budgets else "", results)
    kicker = ("Task", plain(row.split or ""), f"{row.n_planned:,} samples", "blind" if row.blind else "")
    return TaskPage(
        title=column_label(row),
        kicker=" · ".join(filter(None, kicker)),
        n=row.n_planned,
        lead=_lead(context, column, results),
        facts=tuple(_facts(results[0])),
        dots=dot_plot(column, results, row.n_planned),
        views=tuple(_view(context, label, group) for label, group in (headline, *at_budgets)),
        extras=tuple(extra_tables(results, context.book)),
    )


def _view(context: Context, label: str, results: Sequence[NamedResult]) -> BudgetView:
    replies = [context.book.replies(named.result) for named in results]
    return BudgetView(
        label=label,
        results=tuple(results),
        protocols=tuple(protocol_lines(results)),
        outcomes=outcome_table(results, replies),
        subs=tuple(sub_scores(results)),
        lengths=tuple(length_charts(results, replies)),
    )


def _lead(context: Context, column: BoardColumn, results: Sequence[NamedResult]) -> Markup:
    """Who leads, and whether that is shown against the next two."""
    scored = [(named.row.score, named) for named in results if named.ranked and named.row.score is not None]
    scored = scored or [(named.row.score, named) for named in results if named.row.score is not None]
    if not scored:
        return Markup("Nothing was scored.")
    ordered = [named for _, named in sorted(scored, key=lambda pair: -pair[0])]
    leader = ordered[0]
    score = f"{column.text(leader.row.score or 0.0)} {column.interval(leader.row.ci95)}".strip()
    same = [named for named in ordered[1:] if named.row.split == leader.row.split]
    gaps = [
        (named.name, gap)
        for named in same[:NEXT]
        if (gap := context.book.quick_gap(named.result, leader.result, column.label, column.points)) is not None
    ]
    return with_bold(leader_sentence(leader.name, score, gaps))


def _facts(named: NamedResult) -> Iterator[tuple[str, str]]:
    row, manifest = named.row, named.result.series.run.manifest
    task = task_of(row)
    if task is not None and task.doc.strip():
        line = task.doc.strip().splitlines()[0].partition(": ")[2] or task.doc.strip().splitlines()[0]
        yield "asked", line if len(line) <= ASKED else f"{line[: ASKED - 1]}…"
    yield "protocol", numbers.protocol_name(row)
    prompt = manifest.prompt.get(row.task)
    if prompt is not None and prompt.name:
        yield "prompt", plain(prompt.name)
    data = manifest.data.get(row.task)
    if data is not None:
        yield "data", _data_text(named, data.fingerprint or "", data.other_data)


def _data_text(named: NamedResult, fingerprint: str, other: str | None) -> str:
    """`8c1f4e2a, the published testmini`."""
    row, task = named.row, task_of(named.row)
    short = plain(fingerprint[:8])
    if other is not None:
        return f"{short}, {plain(other)}".lstrip(", ")
    if row.partial:
        return f"{short}, {plain(row.partial)}".lstrip(", ")
    is_published = task is not None and task.reference is not None and row.split == task.published_split
    what = f"the published {plain(row.split)}" if is_published else f"split {plain(row.split or 'unknown')}"
    return f"{short}, {what}".lstrip(", ")
