"""The scores of a run by sample, for planning: means over repeats, variances, clusters and strata."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.errors import UsageError
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of
from kvl_eval.scorers.statistics import stderr, stderr_clustered
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSampleScore:
    """One sample of a plan.

    Attributes:
        cluster: what depends on each other; the sample itself where it is alone.
        label:   of the first category; empty without one.
        text:    question, options and gold answers, by which two runs know that they asked the same.
        scores:  of its repeats; empty where none was scored.
    """

    cluster: str
    label: str
    text: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the repeats."""
        return math.fsum(self.scores) / len(self.scores)


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """A task of a run at its largest budget, under the run's own protocol.

    Attributes:
        case:    what was read.
        samples: {sample id: scores}, in plan order, of every planned sample.
    """

    case: ExplainedCase
    samples: Mapping[str, PlannedSampleScore]

    @property
    def split(self) -> str:
        """The split's name; empty where the run does not say."""
        return self.case.row.split or ""

    @property
    def unit(self) -> Unit:
        """In which scores are printed."""
        return "points" if self.case.row.unit == "points" else "percent"

    @property
    def planned(self) -> int:
        """Samples of the plan."""
        return len(self.samples)

    @property
    def total(self) -> int:
        """Samples of the split where known, else those of the plan."""
        data = self.case.run.folder.manifest.data.get(self.case.task.name)
        return self.planned if data is None or data.total is None else data.total

    @property
    def scored(self) -> list[PlannedSampleScore]:
        """Samples with a score."""
        return [sample for sample in self.samples.values() if sample.scores]

    @property
    def values(self) -> list[float]:
        """The mean score of each sample that has one."""
        return [sample.mean for sample in self.scored]

    @property
    def clusters(self) -> list[str]:
        """The cluster of each of `values`."""
        return [sample.cluster for sample in self.scored]

    @property
    def repeats(self) -> int:
        """The most answers of a sample."""
        return max((len(sample.scores) for sample in self.scored), default=0)

    @property
    def variance(self) -> float:
        """Of the score of one answer."""
        answers = [score for sample in self.scored for score in sample.scores]
        mean = math.fsum(answers) / len(answers)
        return math.fsum((score - mean) ** 2 for score in answers) / len(answers)

    @property
    def within(self) -> float | None:
        """The variance between answers to one question; None without repeats."""
        repeated = [sample for sample in self.scored if len(sample.scores) > 1]
        if not repeated:
            return None
        spreads = [
            math.fsum((score - sample.mean) ** 2 for score in sample.scores) / (len(sample.scores) - 1)
            for sample in repeated
        ]
        return math.fsum(spreads) / len(spreads)

    @property
    def changed_by_repeats(self) -> float | None:
        """Mean square of the difference of two answers to one question: the share of changed verdicts."""
        return None if self.within is None else 2 * self.within

    @property
    def share_within(self) -> float | None:
        """The part of `variance` that lies between answers to one question; None where nothing varies."""
        if self.within is None or not self.variance:
            return None
        return min(1.0, self.within / self.variance)


@dataclass(frozen=True, slots=True)
class PairedColumns:
    """Differences B - A of the samples that both runs have scored."""

    values: Sequence[float]
    clusters: Sequence[str]

    @property
    def mean(self) -> float:
        """The difference."""
        return math.fsum(self.values) / len(self.values)


def columns_of(run: RunReader, task: str | None) -> ScoreColumns:
    """The scores of a task of a run; None means its only one. Raises: as `case_of`."""
    case = case_of(run, ExplainOptions(task=task))
    verdicts = case.replies.verdicts(case.own)
    scores: dict[str, list[float]] = {}
    samples: dict[str, PlannedSampleScore] = {}
    for facts in case.replies.facts:
        made, entry = verdicts.get(facts.entry.key), facts.entry
        of_sample = scores.setdefault(entry.sample_id, [])
        if made is not None and made.value is not None:
            of_sample.append(made.value)
        group = entry.sample.group
        samples[entry.sample_id] = PlannedSampleScore(
            cluster=facts.cluster if group is None else f"group {group}",
            label=facts.stratum,
            text=(entry.sample.question, *entry.sample.choices, *entry.sample.gold),
            scores=(),
        )
    return ScoreColumns(
        case,
        {
            name: PlannedSampleScore(
                cluster=sample.cluster, label=sample.label, text=sample.text, scores=tuple(scores[name])
            )
            for name, sample in samples.items()
        },
    )


def paired_columns(a: ScoreColumns, b: ScoreColumns) -> PairedColumns:
    """B minus A, sample by sample, where the question is the same. Raises: UsageError `usage.plan_size` for none."""
    pairs = [
        (sample, b.samples[name])
        for name, sample in a.samples.items()
        if sample.scores and name in b.samples and b.samples[name].scores and b.samples[name].text == sample.text
    ]
    if not pairs:
        raise UsageError(
            "usage.plan_size",
            "the runs have no scored sample in common",
            why=f"{a.case.task.name} / {a.split} versus {b.case.task.name} / {b.split}",
            fix="use two runs of the same task and split",
        )
    return PairedColumns([theirs.mean - ours.mean for ours, theirs in pairs], [ours.cluster for ours, _ in pairs])


def design_effect(values: Sequence[float], clusters: Sequence[str]) -> float:
    """By how much the variance of a mean grows, since samples of a cluster depend on each other; at least 1."""
    alone, together = stderr(values), stderr_clustered(values, clusters)
    return max(1.0, (together / alone) ** 2) if alone and together else 1.0
