"""The models of a report: one line each, with a name and a mark that stay the same on every page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.charts import SHAPES
from kvl_eval.reports.runs import ReportRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One model of the report.

    Attributes:
        name:  its model, with the shortest setting that sets it apart from another run of that model.
        css:   the class of its color.
        shape: of its mark.
    """

    run: ReportRun
    name: str
    css: str
    shape: str

    @property
    def key(self) -> str:
        """What addresses call it: `model-1`."""
        return f"model-{self.run.number + 1}"

    @property
    def number(self) -> int:
        """The run's place in the report, from 0."""
        return self.run.number

    @property
    def sub(self) -> str:
        """What stands below the name: how it is served."""
        facts = self.run.manifest.model
        parts = [facts.weights, facts.dtype, "served" if facts.device == "server" else facts.device]
        return plain(" · ".join(part for part in parts if part))

    def mark(self, size: int = 12) -> Markup:
        """Its mark, for names and legends."""
        return charts.key(self.shape, self.css, size)


def series_of(runs: Sequence[ReportRun]) -> list[Series]:
    """The models in the order of the runs; from the seventh on they have no color and are known by their names."""
    return [
        Series(
            run=run,
            name=name,
            css=f"s{place + 1}" if place < len(SHAPES) else "rest",
            shape=SHAPES[place] if place < len(SHAPES) else "circle",
        )
        for place, (run, name) in enumerate(zip(runs, _names(runs), strict=True))
    ]


def _names(runs: Sequence[ReportRun]) -> list[str]:
    names = [run.model for run in runs]
    for model in dict.fromkeys(names):
        places = [place for place, run in enumerate(runs) if run.model == model]
        if len(places) > 1:
            settings = _settings([runs[place] for place in places])
            for place, setting in zip(places, settings, strict=True):
                names[place] = f"{model} ({setting})" if setting else model
    return names


def _settings(runs: Sequence[ReportRun]) -> list[str]:
    """The shortest texts that set runs of one model apart; at most one of them is empty."""
    kinds = [[kind(run) for run in runs] for kind in KINDS]
    for count in (1, 2):
        for chosen in combinations(kinds, count):
            texts = [", ".join(filter(None, parts)) for parts in zip(*chosen, strict=True)]
            if len(set(texts)) == len(texts):
                return texts
    return [f"run {run.number + 1}" for run in runs]


def _blind(run: ReportRun) -> str:
    return "blind" if run.rows and all(row.blind for row in run.rows) else ""


def _budget(run: ReportRun) -> str:
    labels = {row.budget: numbers.budget_label(row.budget) for row in run.rows if row.budget is not None}
    ordered = [labels[budget] for budget in sorted(labels)]
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}" if ordered else ""


def _policy(run: ReportRun) -> str:
    return ", ".join(dict.fromkeys(plain(row.policy) for row in run.rows if row.policy))


def _weights(run: ReportRun) -> str:
    return plain(run.manifest.model.weights or "")


def _temperature(run: ReportRun) -> str:
    values = {f"{generation.temperature:g}" for generation in run.manifest.generation.values()}
    return f"temperature {', '.join(sorted(values))}" if values else ""


def _seed(run: ReportRun) -> str:
    return f"seed {run.manifest.seeds.seed}"


def _part(run: ReportRun) -> str:
    """`20 samples` of a run that was limited to so many of each task."""
    sizes = {row.n_planned for row in run.rows if row.partial}
    return f"{max(sizes):,} samples" if sizes and all(row.partial for row in run.rows) else ""


def _prompt(run: ReportRun) -> str:
    """The prompt of a run that has one for all its tasks."""
    names = {prompt.name for prompt in run.manifest.prompt.values() if prompt.name}
    return f"prompt {plain(names.pop())}" if len(names) == 1 else ""


def _backend(run: ReportRun) -> str:
    return plain(run.manifest.model.device or "")


def _dtype(run: ReportRun) -> str:
    return plain(run.manifest.model.dtype or "")


KINDS: tuple[Callable[[ReportRun], str], ...] = (
    *(_blind, _budget, _part, _policy, _weights, _seed, _temperature, _prompt, _dtype, _backend),
)
"""Settings that may set two runs of one model apart, the most telling first."""
