"""Score against thinking budget: the curves of each task, as data, as a Markdown table and as cells of a page.

One run gives one curve a task: its budgets under its policy. Runs of both policies, or of several models, share a
chart. The published curve (report, Figure 13) stands beside runs of Kimi-VL-A3B-Thinking alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kvl_eval import references
from kvl_eval.decode import Json
from kvl_eval.families import is_sure
from kvl_eval.model.kimi_vl.families import THINKING
from kvl_eval.printable import policy_name
from kvl_eval.references import TABLES, ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.markdown import cell, escape, table
from kvl_eval.reports.numbers import budget_label, plain
from kvl_eval.reports.runs import ReportRun, Setting, beside_rows, main_rows, setting_of, task_of
from kvl_eval.store.result_records import ResultRow

FIGURE = "budget_sweep_fig13"
BUDGET = "max_thinking_tokens="
POLICIES = {
    "cut": "generation stops at the budget; the sample has no answer",
    "force": "the thought is closed at the budget, and the answer follows",
}
APPROXIMATE = {"approx": "the server's max_tokens limits thought and answer together; thoughts are not measured"}
HEADER = ("budget", "n", "score", "95% CI", "published", "Δ", "unclosed", "forced", "thinking tokens", "no answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The results of one run on one task and split, by budget, ascending."""

    run: ReportRun
    policy: str
    rows: tuple[ResultRow, ...]

    @property
    def name(self) -> str:
        """`kimi-vl-thinking, cut`, with what sets the run apart."""
        marks = ["blind"] if self.rows[0].blind else []
        marks += ["demo"] if self.run.demo else []
        marks += ["partial"] if any(row.partial for row in self.rows) else []
        marks += [] if all(row.complete for row in self.rows) else ["incomplete"]
        return ", ".join([self.run.model, policy_name(self.policy), *marks])

    @property
    def is_approximate(self) -> bool:
        """Whether thoughts were not measured: such a curve is dashed and has no published one beside it."""
        return self.policy == "approximate"

    @property
    def repeats(self) -> int:
        """Answers per question; 1 without repeats."""
        return max((row.repeats.n for row in self.rows if row.repeats is not None), default=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """All curves of one task and split.

    Attributes:
        published: (budget, figure) of Figure 13, ascending; empty where no run can stand beside it.
        key:       letters, digits and hyphens; differs from chart to chart.
    """

    key: str
    name: str
    title: str
    curves: tuple[Curve, ...]
    published: tuple[tuple[int, ReferenceScore], ...]

    @property
    def source(self) -> str:
        """Where the published results come from."""
        return f"{self.published[0][1].system_label} ({TABLES[FIGURE]})"


def budget_charts(runs: Sequence[ReportRun]) -> list[Chart]:
    """One chart for each task and split that any run answered within budgets, in order of first appearance."""
    curves: dict[tuple[str, str | None], list[Curve]] = {}
    for run in runs:
        for where, rows in _rows_by_place(run).items():
            ordered = tuple(sorted(rows, key=budget_of))
            curve = Curve(run=run, policy=plain(where.policy or "cut"), rows=ordered)
            curves.setdefault((where.task, where.split), []).append(curve)
    return [_chart(number, task, group) for number, ((task, _), group) in enumerate(curves.items(), 1)]


def _rows_by_place(run: ReportRun) -> dict[Setting, list[ResultRow]]:
    """Results within budgets by what they have in common but for the budget."""
    places: dict[Setting, list[ResultRow]] = {}
    for row in main_rows(run):
        if row.budget is not None:
            places.setdefault(setting_of(row)._replace(budget=None), []).append(row)
    return places


def budget_of(row: ResultRow) -> int:
    """The budget of a row of a curve, in tokens."""
    assert row.budget is not None, "a curve has results within budgets only"
    return row.budget


def _chart(number: int, task: str, curves: Sequence[Curve]) -> Chart:
    row = curves[0].rows[0]
    known = task_of(row)
    slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:40]
    return Chart(
        key=f"{number}-{slug}" if slug else f"{number}",
        name=numbers.task_name(replace(row, blind=False)),
        title=plain(row.title or (known.title if known else task)),
        curves=tuple(curves),
        published=tuple(_published(row, curves)),
    )


def _published(row: ResultRow, curves: Sequence[Curve]) -> Iterator[tuple[int, ReferenceScore]]:
    """Figure 13's points of this task, if one of the runs is of the model it shows."""
    known = task_of(row)
    measured = [curve for curve in curves if not curve.run.demo and not curve.is_approximate]
    models = [curve.run.manifest.model for curve in measured]
    models = [model for model in models if model.weights is None]
    families = {model.family for model in models if is_sure(_text(model.others.get("family_rule")))}
    if known is None or known.reference is None or THINKING.name not in families:
        return
    points = [
        (int(score.setting.removeprefix(BUDGET)), score)
        for score in references.load()
        if (score.table, score.system) == (FIGURE, THINKING.published)
        and score.benchmark == known.reference.benchmark
        and known.reference.split in (None, score.split)
    ]
    yield from sorted(points, key=lambda point: point[0])


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def capped_share(row: ResultRow) -> float:
    """Share of outputs whose thought the budget ended: unclosed under `cut`, closed by force under `force`."""
    if row.policy == "approximate":
        return row.truncated_share
    return row.forced_share if row.policy == "force" else row.unclosed_share


def thinking_mean(row: ResultRow) -> float | None:
    """Mean thinking tokens, markers included; None where nothing was answered."""
    tokens = row.tokens.get("thinking")
    return tokens.mean if tokens is not None and row.n_ok else None


def header_of(curve: Curve) -> list[str]:
    """Column heads of a curve's table."""
    n = curve.repeats
    return [*HEADER, *beside_names(curve), *([f"pass@{n}", f"maj@{n}"] if n > 1 else [])]


def beside_names(curve: Curve) -> list[str]:
    """Labels of the protocols that stand beside the default one in any row of a curve."""
    others = (other for row in curve.rows for other in beside_rows(curve.run, row))
    return list(dict.fromkeys(map(numbers.protocol_name, others)))


def cells_of(curve: Curve, row: ResultRow) -> list[str]:
    """One budget of a curve as texts, under `header_of`."""
    spent = thinking_mean(row)
    cells = [
        budget_label(budget_of(row)),
        numbers.counted(row),
        numbers.headline(row),
        numbers.interval(row),
        numbers.published_value(row, curve.run.demo),
        numbers.delta(row),
        _share(row, row.unclosed_share),
        _share(row, row.forced_share),
        "-" if spent is None else f"{spent:,.1f}",
        numbers.no_answer_share(row),
    ]
    beside = {numbers.protocol_name(other): numbers.headline(other) for other in beside_rows(curve.run, row)}
    cells += [beside.get(name, "-") for name in beside_names(curve)]
    n = curve.repeats
    if n > 1:
        repeats = row.repeats
        passed = None if repeats is None else repeats.pass_at.get(str(n))
        cells += [numbers.percent(passed), numbers.percent(None if repeats is None else repeats.majority)]
    return cells


def _share(row: ResultRow, value: float) -> str:
    return "-" if not row.n_ok else numbers.share(value, 1)


def policies_of(charts: Sequence[Chart]) -> Mapping[str, str]:
    """{policy: what it does}, of `approx` only where a curve has it."""
    has_approximate = any(curve.is_approximate for chart in charts for curve in chart.curves)
    return {**POLICIES, **(APPROXIMATE if has_approximate else {})}


def budgets_markdown(charts: Sequence[Chart]) -> str:
    """The section on budgets, each chart a picture beside the report with its tables; empty without charts."""
    if not charts:
        return ""
    parts = ["## Thinking budgets", "  \n".join(f"`{policy}`: {text}." for policy, text in policies_of(charts).items())]
    for chart in charts:
        parts.append(f"### {escape(chart.title)}: score by thinking budget")
        parts.append(f"![{escape(chart.name)}: score by thinking budget]({picture_file(chart)})")
        for curve in chart.curves:
            parts.append(f"**{escape(curve.name)}** ({escape(curve.run.run_id)})" + _demo(curve))
            rows = [[cell(text) for text in cells_of(curve, row)] for row in curve.rows]
            parts.append(table(header_of(curve), rows, right=[*range(3), *range(4, len(header_of(curve)))]))
        if chart.published:
            points = [[budget_label(tokens), score.printed] for tokens, score in chart.published]
            parts.append(f"**Published**: {escape(chart.source)}")
            parts.append(table(["budget", "score"], points, right=(0, 1)))
    return "\n\n".join(parts)


def _demo(curve: Curve) -> str:
    return f": {numbers.DEMO}" if curve.run.demo else ""


def picture_file(chart: Chart, narrow: bool = False) -> str:
    """Name of a chart's picture beside `report.md`, or of the one for telephones."""
    return f"budgets-{chart.key}{'-narrow' if narrow else ''}.svg"
