"""The page that sets runs side by side: how each differs from the first one, with a link to every flipped sample.

What is compared comes from `kvl_eval.audit.compare`, as JSON values; the types here are what the page needs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json
from kvl_eval.printable import policy_name
from kvl_eval.reports.links import sample_address
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import ReportRun
from kvl_eval.reports.table import short
from kvl_eval.store.records import Key
from kvl_eval.types import Interval, Policy

MOST = 200  # flips listed in each direction; the sample browser has all


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAnswer:
    """What one side read in an answer, and made of it."""

    extracted: Json
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSample:
    """A sample that one side alone got right."""

    sample_id: str
    repeat: int
    gold: tuple[Json, ...]
    a: ComparedAnswer
    b: ComparedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSide:
    """Under which protocol and within which budget a side was scored."""

    protocol: str
    budget: int | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One task of both runs; without samples that both have scored there is no difference. Scores are fractions."""

    task: str
    title: str
    a: ComparedSide
    b: ComparedSide
    n: int
    only_a: int
    only_b: int
    not_scored: int
    changed_samples: tuple[str, ...]
    difference: float | None
    score_a: float = 0.0
    score_b: float = 0.0
    ci95: Interval = (0.0, 0.0)
    p_value: float | None = None
    detectable: float | None = None
    lost: tuple[ComparedSample, ...]
    gained: tuple[ComparedSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """How one run differs from another: settings that can change an answer, circumstances that should not, tasks."""

    settings: tuple[str, ...]
    circumstances: tuple[str, ...]
    comparisons: tuple[ComparedTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the run at place `b` of a report differs from the one at `a`.

    Attributes:
        result:  None where the runs cannot be compared.
        problem: why they cannot.
    """

    a: int
    b: int
    result: ComparedRuns | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipTexts:
    """A flipped sample on the page: links, verdicts and readings of both sides."""

    id: str
    repeat: int
    links: list[str]
    verdicts: list[str]
    extracted: list[str]
    gold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipList:
    """Flips in one direction: how many there are, and those that the page lists."""

    what: str
    n: int
    samples: list[FlipTexts]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTexts:
    """One task of one pair on the page."""

    task: str
    title: str
    sides: list[str]
    n: int
    left_out: str
    scores: list[str]
    difference: str
    interval: str
    p: str
    detectable: str
    flips: list[FlipList]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTexts:
    """One pair of runs on the page."""

    a: ReportRun
    b: ReportRun
    problem: str
    settings: tuple[str, ...]
    circumstances: tuple[str, ...]
    tasks: list[TaskTexts]


def comparison_page(runs: Sequence[ReportRun], comparisons: Sequence[Comparison]) -> dict[str, object]:
    """What the template shows."""
    return {"title": "Comparison", "pairs": [_pair(runs, comparison) for comparison in comparisons]}


def _pair(runs: Sequence[ReportRun], pair: Comparison) -> PairTexts:
    result = pair.result
    return PairTexts(
        a=runs[pair.a],
        b=runs[pair.b],
        problem=plain(pair.problem),
        settings=() if result is None else result.settings,
        circumstances=() if result is None else result.circumstances,
        tasks=[] if result is None else [_task(pair, task, runs[pair.a], runs[pair.b]) for task in result.comparisons],
    )


def _names(a: ReportRun, b: ReportRun) -> tuple[str, str]:
    """What to call the runs of a pair: their models, or the runs themselves where both have one model."""
    return (a.model, b.model) if a.model != b.model else (a.run_id, b.run_id)


def _task(pair: Comparison, task: ComparedTask, a: ReportRun, b: ReportRun) -> TaskTexts:
    """One task of one pair as texts."""
    known = task.difference is not None
    left_out = {
        "only in the first": task.only_a,
        "only in the second": task.only_b,
        "without a score": task.not_scored,
        "with a changed question or gold answer": len(task.changed_samples),
    }
    first, second = _names(a, b)
    directions = ((f"only {second} is correct", task.gained), (f"only {first} is correct", task.lost))
    return TaskTexts(
        task=plain(task.task),
        title=plain(task.title),
        sides=[_side(task.a), _side(task.b)],
        n=task.n,
        left_out=", ".join(f"{count} {text}" for text, count in left_out.items() if count),
        scores=[f"{100 * score:.1f}" for score in (task.score_a, task.score_b)] if known else ["", ""],
        difference="" if task.difference is None else f"{100 * task.difference:+.1f}",
        interval="[{:+.1f}, {:+.1f}]".format(*(100 * bound for bound in task.ci95)) if known else "",
        p="" if not known or task.p_value is None else f"{task.p_value:.4f}",
        detectable="" if not known or task.detectable is None else f"{100 * task.detectable:.1f}",
        flips=[
            FlipList(what=what, n=len(samples), samples=[_flip(pair, task, sample) for sample in samples[:MOST]])
            for what, samples in directions
            if samples
        ],
    )


def _side(side: ComparedSide) -> str:
    budget = "" if side.budget is None else f" at {side.budget} ({policy_name(side.policy)})"
    return plain(f"{side.protocol}{budget}")


def _flip(pair: Comparison, task: ComparedTask, sample: ComparedSample) -> FlipTexts:
    links = [
        sample_address(run, task.task, Key(sample.sample_id, sample.repeat, side.budget, side.policy))
        for run, side in ((pair.a, task.a), (pair.b, task.b))
    ]
    answers = (sample.a, sample.b)
    return FlipTexts(
        id=plain(sample.sample_id),
        repeat=sample.repeat,
        links=links,
        verdicts=[answer.verdict.replace("_", " ") for answer in answers],
        extracted=[short(answer.extracted, 120) for answer in answers],
        gold=short(" | ".join(str(value) for value in sample.gold), 120),
    )
