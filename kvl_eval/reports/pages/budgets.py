"""The page of thinking budgets: scores and costs by budget, and up to which budget thinking pays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kvl_eval.references import ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.columns import quantity
from kvl_eval.reports.costs import Prices, reply_tokens
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.charts import Axis, DrawnLine
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.pages.sweeps import Sweep, budget_of, published_curve, published_name, thinking_mean
from kvl_eval.store.result_records import ResultRow
from kvl_eval.verdicts import Sign, pays_sentence

POLICIES = {
    "cut": "generation stops at the budget; the sample has no answer",
    "force": "the thought is closed at the budget, and the answer follows",
    "approximate": "the server’s max_tokens limits thought and answer together; thoughts are not measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPanel:
    """One task: score against budget, and score against tokens."""

    label: str
    n: int
    score: Markup
    cost: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPoint:
    """One point of a sweep as texts; `budget` and `tokens` are also numbers, for sorting."""

    series: Series
    task: str
    budget: int
    budget_text: str
    score: str
    interval: str
    published: str
    thought: str
    ended: str
    tokens: str
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPage:
    """What the template shows.

    Attributes:
        sentences: (sign, task, sentence) of each sweep.
        policies:  (name, what it does) of those that were used.
        published: whose curve is drawn beside ours; empty where none was published.
        silent:    whether no reply contains a thought: then there are no charts.
        prices:    what is said of prices; empty without them.
    """

    kicker: str
    sentences: tuple[tuple[Sign, str, str], ...]
    policies: tuple[tuple[str, str], ...]
    series: tuple[Series, ...]
    published: str
    panels: tuple[BudgetPanel, ...]
    points: tuple[BudgetPoint, ...]
    silent: bool
    prices: str


def budget_page(context: Context) -> BudgetPage | None:
    """The page; None without a sweep."""
    sweeps = context.sweeps
    if not sweeps:
        return None
    keys = {sweep.series.key for sweep in sweeps}
    policies = dict.fromkeys(row.policy for sweep in sweeps for row in sweep.rows if row.policy)
    names = dict.fromkeys(sweep.series.name for sweep in sweeps)
    curves = [curve for sweep in sweeps if (curve := published_curve(sweep.rows[0]))]
    silent = not any(sweep.has_thoughts for sweep in sweeps)
    return BudgetPage(
        kicker=" · ".join(("Thinking budgets", ", ".join(names))),
        sentences=() if silent else tuple(_sentences(sweeps)),
        policies=tuple((policy, POLICIES.get(policy, "")) for policy in policies),
        series=tuple(model for model in context.series if model.key in keys),
        published=published_name(curves[0]) if curves else "",
        panels=() if silent else tuple(_panels(sweeps, context.prices)),
        points=tuple(point for sweep in sweeps for point in _points(sweep, context.prices)),
        silent=silent,
        prices=context.prices.words,
    )


def _sentences(sweeps: Sequence[Sweep]) -> Iterator[tuple[Sign, str, str]]:
    several = len({sweep.series.key for sweep in sweeps}) > 1
    for sweep in sweeps:
        if sweep.pays is not None and sweep.has_thoughts:
            name = f"{sweep.label}, {sweep.series.name}" if several else sweep.label
            yield "pays" if sweep.pays.still else "same", name, pays_sentence(sweep.pays)


def _panels(sweeps: Sequence[Sweep], prices: Prices) -> Iterator[BudgetPanel]:
    """One for each task, with every model that swept it."""
    for label in dict.fromkeys(sweep.label for sweep in sweeps):
        own = [sweep for sweep in sweeps if sweep.label == label]
        published = published_curve(own[0].rows[0])
        budgets = sorted({budget_of(row) for sweep in own for row in sweep.rows} | {budget for budget, _ in published})
        ticks = [(_drawn_budget(budget), numbers.budget_label(budget)) for budget in budgets]
        axis = Axis(ticks=ticks, name="thinking tokens at most")
        lines = [*_published_line(published), *(_line(sweep) for sweep in own)]
        spoken = "; ".join(f"{sweep.series.name}: {_spoken(sweep)}" for sweep in own)
        yield BudgetPanel(
            label=label,
            n=own[0].rows[0].n_planned,
            score=charts.curves(lines, axis, f"{label}, score by thinking budget: {spoken}"),
            cost=_cost(label, own, prices),
        )


def _drawn_budget(budget: int) -> float:
    """Where a budget is drawn on a logarithmic axis: 0 has a place, too."""
    return float(max(1, budget))


def _line(sweep: Sweep) -> DrawnLine:
    model = sweep.series
    points = [(_drawn_budget(budget_of(row)), 100 * (row.score or 0.0), _bounds(row)) for row in sweep.rows]
    return DrawnLine(name=model.name, css=model.css, shape=model.shape, points=points)


def _bounds(row: ResultRow) -> tuple[float, float] | None:
    return None if row.ci95 is None else (100 * row.ci95[0], 100 * row.ci95[1])


def _published_line(points: Sequence[tuple[int, ReferenceScore]]) -> list[DrawnLine]:
    if not points:
        return []
    drawn = [(_drawn_budget(budget), 100 * score.value, None) for budget, score in points]
    return [DrawnLine(name=published_name(points), css="pub", shape="diamond", points=drawn, dashed=True)]


def _spoken(sweep: Sweep) -> str:
    return ", ".join(f"{numbers.budget_label(budget_of(row))} {numbers.headline(row)}" for row in sweep.rows)


def _cost(label: str, sweeps: Sequence[Sweep], prices: Prices) -> Markup:
    """Score against dollars, without prices against mean tokens of a reply; empty where nothing was counted."""
    lines = []
    for sweep in sweeps:
        costs = [(prices.of_thousand([row]) if prices.words else reply_tokens(row), row) for row in sweep.rows]
        points = [(cost, 100 * (row.score or 0.0), _bounds(row)) for cost, row in costs if cost]
        model = sweep.series
        if points:
            points.sort(key=lambda point: point[0])
            lines.append(DrawnLine(name=model.name, css=model.css, shape=model.shape, points=points))
    if not lines:
        return Markup("")
    words = "dollars per 1,000 samples" if prices.words else "mean tokens of a reply"
    places = [x for line in lines for x, _, _ in line.points]
    axis = Axis(ticks=_cost_ticks(min(places), max(places), money=bool(prices.words)), name=words)
    return charts.curves(lines, axis, f"{label}, score by {words}", height=220)


def _cost_ticks(least: float, most: float, money: bool) -> list[tuple[float, str]]:
    """Powers of two between two costs, or round numbers where there are not three."""
    ticks = [2.0**power for power in range(math.ceil(math.log2(least)), math.floor(math.log2(most)) + 1)]
    if len(ticks) < 3:
        ticks = [tick for tick in charts.nice_ticks(least, most) if tick > 0]
        return [(tick, f"${tick:,.10g}" if money else f"{tick:,.10g}") for tick in ticks]
    return [(tick, f"${tick:,.10g}" if money else numbers.budget_label(round(tick))) for tick in ticks]


def _points(sweep: Sweep, prices: Prices) -> Iterator[BudgetPoint]:
    published = dict(published_curve(sweep.rows[0]))
    for row in sweep.rows:
        score = published.get(budget_of(row))
        yield BudgetPoint(
            series=sweep.series,
            task=sweep.label,
            budget=budget_of(row),
            budget_text=numbers.budget(row),
            score=numbers.headline(row),
            interval=numbers.interval(row) or "·",
            published="·" if score is None else score.printed,
            thought=quantity(thinking_mean(row)) if row.n_ok else "·",
            ended=numbers.share(ended_share(row), 1) if row.n_ok else "·",
            tokens=quantity(reply_tokens(row)),
            cost=quantity(prices.of_thousand([row])),
        )


def ended_share(row: ResultRow) -> float:
    """Share of the replies whose thought the budget ended: unclosed under `cut`, closed by force under `force`."""
    if row.policy == "approximate":
        return row.truncated_share
    return row.forced_share if row.policy == "force" else row.unclosed_share
