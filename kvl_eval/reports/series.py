"""The runs of a report as charts and pages mark them: a name, a color and a shape, the same on every page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.reports.runs import ReportRun

SHAPES = ("circle", "square", "triangle", "pentagon", "bar", "cross")


@dataclass(frozen=True, slots=True)
class RunMark:
    """How a run is called and drawn; `css` is the class of its color."""

    name: str
    css: str
    shape: str


def run_marks(runs: Sequence[ReportRun]) -> list[RunMark]:
    """The marks in the order of the runs. From the seventh on they are gray circles, told by name alone."""
    names = run_names(runs)
    return [
        RunMark(name, f"s{place + 1}", SHAPES[place]) if place < len(SHAPES) else RunMark(name, "pub", SHAPES[0])
        for place, name in enumerate(names)
    ]


def run_names(runs: Sequence[ReportRun]) -> list[str]:
    """Model names, never run ids: runs of one model get the shortest setting in which they differ."""
    models = Counter(run.model for run in runs)
    names = [run.model if models[run.model] == 1 else f"{run.model} ({_setting(run, runs)})" for run in runs]
    twice = Counter(names)
    return [name if twice[name] == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]


def _setting(run: ReportRun, runs: Sequence[ReportRun]) -> str:
    """What tells a run from the others of its model: blind, its seed, or its place on the command line."""
    others = [other for other in runs if other.model == run.model]
    if len({other.manifest.blind for other in others}) > 1 and run.manifest.blind:
        return "blind"
    seeds = [other.manifest.seeds.seed for other in others]
    if len(set(seeds)) == len(seeds):
        return f"seed {run.manifest.seeds.seed}"
    return f"run {runs.index(run) + 1}"
