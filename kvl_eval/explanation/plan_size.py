"""How many samples a wanted precision or difference needs, from runs or from assumptions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kvl_eval.decode import Count, Json, encode_object
from kvl_eval.explanation.score_columns import ScoreColumns, design_effect, paired_columns
from kvl_eval.explanation.sentences import unsigned
from kvl_eval.printable import how_many
from kvl_eval.references import load
from kvl_eval.scorers.sample_size import (
    POWER,
    best_difference,
    best_precision,
    size_for_precision,
    size_of_finite,
    size_to_detect,
    whole_samples,
)
from kvl_eval.tasks.base import Task
from kvl_eval.types import Unit

ASSUMED = (0.15, 0.30)  # share of changed verdicts between two models, as measured on public runs
SizeKind = Literal["score", "difference"]
SizeSource = Literal["runs", "repeats", "option", "assumed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRequest:
    """What is wanted, in fractions: a precision (half a 95 % interval) or a difference to show, one of them.

    Attributes:
        score: the expected score where there is no run.
        power: the chance that the difference is shown.
    """

    precision: float | None = None
    detect: float | None = None
    power: float = POWER
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeBasis:
    """What an estimate is made from.

    Attributes:
        kind:          one score, or a paired difference.
        source:        how `variance` is known: `runs`, `repeats` of a run, an `option`, or `assumed`.
        variance:      of one sample; of a difference the share of changed verdicts, before `difference` is taken off.
        difference:    the expected one.
        design_effect: by how much samples that share an image, document or video count less.
    """

    kind: SizeKind
    source: SizeSource
    variance: float
    difference: float = 0.0
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeEstimate:
    """How many samples one basis asks for.

    Attributes:
        basis:         what it is made from.
        n_of_kind:     for a claim about questions of this kind.
        n_of_these:    for a claim about these questions; null where their number is unknown.
        best:          the precision, or the smallest difference, that the whole split gives for questions of this
                       kind; null likewise.
        feasible:      whether the split has as many as `n_of_kind`; null likewise.
    """

    basis: SizeBasis
    n_of_kind: Count
    n_of_these: Count | None
    best: float | None
    feasible: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatGain:
    """What repeats are worth: the share of a score's variance that lies between answers to the same question.

    Attributes:
        repeats: that were measured.
        share:   of the variance; `repeats` answers per question need `1 - share (1 - 1 / repeats)` of the questions.
    """

    repeats: Count
    share: float

    @property
    def saved(self) -> float:
        """The share of the questions that the repeats save."""
        return self.share * (1 - 1 / self.repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSize:
    """What `plan-size` prints. Precisions and differences are fractions.

    Attributes:
        schema:    1.
        kind:      `plan-size`.
        task:      the task's name.
        split:     the split's name.
        total:     samples of the split; null where unknown.
        unit:      `percent` or `points`: how views print values.
        precision: that was asked for, half a 95 % interval; null where a difference was.
        detect:    the difference to show; null where a precision was asked for.
        power:     the chance that it is shown.
        estimates: one per basis; two for an assumed range.
        repeats:   what repeats are worth; null where none were measured.
        file:      the list of ids that was written; null for none, `n_listed` are in it.
        verdict:   sentences.
        exit_code: 0.
    """

    schema: int = 1
    kind: Literal["plan-size"] = "plan-size"
    task: str
    split: str | None
    total: Count | None
    unit: Unit
    precision: float | None
    detect: float | None
    power: float
    estimates: tuple[SizeEstimate, ...]
    repeats: RepeatGain | None
    file: str | None = None
    n_listed: Count | None = None
    verdict: tuple[str, ...]
    exit_code: Count = 0

    def as_json(self) -> dict[str, Json]:
        """The document as JSON values."""
        return encode_object(self)

    @property
    def wanted(self) -> int:
        """The most samples that an estimate of these questions asks for."""
        sizes = [
            estimate.n_of_kind if estimate.n_of_these is None else estimate.n_of_these for estimate in self.estimates
        ]
        return max(sizes)


def plan_size(columns: Sequence[ScoreColumns], task: Task, request: SizeRequest) -> PlanSize:
    """The sizes for two runs, for one, or, without a run, for a task and an expected score.

    Raises: UsageError where the runs share no scored sample.
    """
    split = columns[0].split if columns else task.published_split
    rows = task.splits[split].rows if split in task.splits else None
    total = columns[0].total if columns else rows
    document = PlanSize(
        task=task.name,
        split=split,
        total=total,
        unit=columns[0].unit if columns else task_unit(task),
        precision=request.precision,
        detect=request.detect,
        power=request.power,
        estimates=tuple(_estimate(basis, request, total) for basis in _bases(columns, request)),
        repeats=_repeat_gain(columns[0]) if columns else None,
        verdict=(),
    )
    return replace(document, verdict=tuple(_sentences(document, task.title)))


def _bases(columns: Sequence[ScoreColumns], request: SizeRequest) -> Iterator[SizeBasis]:
    if len(columns) > 1:
        pairs = paired_columns(*columns[:2])
        changed = math.fsum(value * value for value in pairs.values) / len(pairs.values)
        difference = pairs.mean if request.detect is None else request.detect
        yield SizeBasis(
            kind="difference",
            source="runs",
            variance=changed,
            difference=difference,
            design_effect=design_effect(pairs.values, pairs.clusters),
        )
        return
    if request.score is not None:
        yield SizeBasis(kind="score", source="option", variance=request.score * (1 - request.score))
        return
    effect = design_effect(columns[0].values, columns[0].clusters) if columns else 1.0
    if columns and request.precision is not None:
        yield SizeBasis(kind="score", source="runs", variance=columns[0].variance, design_effect=effect)
    difference = request.detect or 0.0
    changed_by_repeats = columns[0].changed_by_repeats if columns else None
    if changed_by_repeats is not None:
        yield SizeBasis(
            kind="difference",
            source="repeats",
            variance=changed_by_repeats,
            difference=difference,
            design_effect=effect,
        )
        return
    for share in ASSUMED:
        yield SizeBasis(
            kind="difference", source="assumed", variance=share, difference=difference, design_effect=effect
        )


def _estimate(basis: SizeBasis, request: SizeRequest, total: int | None) -> SizeEstimate:
    effect = basis.design_effect
    if request.detect is not None:
        size = effect * size_to_detect(basis.variance, request.detect, request.power)
        best = None if total is None else best_difference(basis.variance * effect, total, request.power)
    else:
        spread = max(0.0, basis.variance - basis.difference**2)
        size = effect * size_for_precision(spread, request.precision or 1.0)
        best = None if total is None else best_precision(spread * effect, total)
    n_of_kind = max(1, whole_samples(size))
    return SizeEstimate(
        basis=basis,
        n_of_kind=n_of_kind,
        n_of_these=None if total is None else max(1, whole_samples(size_of_finite(size, total))),
        best=best,
        feasible=None if total is None else n_of_kind <= total,
    )


def _repeat_gain(columns: ScoreColumns) -> RepeatGain | None:
    share = columns.share_within
    return None if share is None else RepeatGain(repeats=columns.repeats, share=share)


def task_unit(task: Task) -> Unit:
    """In which a task's published results are printed."""
    benchmark = None if task.reference is None else task.reference.benchmark
    units = [score.unit for score in load() if score.benchmark == benchmark]
    return "points" if units[:1] == ["points"] else "percent"


def _sentences(document: PlanSize, title: str) -> Iterator[str]:
    """What the estimates mean."""
    for kind in dict.fromkeys(estimate.basis.kind for estimate in document.estimates):
        estimates = [estimate for estimate in document.estimates if estimate.basis.kind == kind]
        yield from _kind_sentences(document, title, estimates)
    if gain := document.repeats:
        saved = f"{100 * gain.saved:.0f} %"
        yield f"{how_many(gain.repeats, 'repeat')} per question need {saved} fewer questions: sampling noise alone."


def _kind_sentences(document: PlanSize, title: str, estimates: Sequence[SizeEstimate]) -> Iterator[str]:
    total, unit = document.total, document.unit
    points = f"{unsigned(document.precision or document.detect or 0.0, unit)} points"
    does = f"give ±{points}" if document.detect is None else f"show a difference of {points}"
    about = "for one score" if estimates[0].basis.kind == "score" else "between two runs"
    of_kind = span([estimate.n_of_kind for estimate in estimates])
    if total is None:
        yield f"{of_kind} samples {does} {about}."
        return
    of_these = span([estimate.n_of_these or 0 for estimate in estimates])
    yield f"{of_these} of the {total:,} samples of {title} {does} {about}, for a claim about these questions."
    if all(estimate.feasible for estimate in estimates):
        yield f"For a claim about questions of this kind, {of_kind} samples are needed."
        return
    best = " to ".join(dict.fromkeys(unsigned(estimate.best or 0.0, unit) for estimate in estimates))
    most = f"give ±{best} points at best" if document.detect is None else f"show {best} points or more"
    yield f"For a claim about questions of this kind, {of_kind} are needed: {title}'s {total:,} questions {most}."


def span(sizes: Sequence[int]) -> str:
    """`836`, or `836 to 1,500`."""
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
