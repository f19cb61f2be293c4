"""Two sets of scores of the same questions, side by side: how they differ, and on which samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from math import fsum
from typing import NamedTuple

from kvl_eval.decode import Json
from kvl_eval.scorers.statistics import (
    Z95,
    PairedDifference,
    mcnemar_exact,
    paired_difference,
    stderr_clustered,
    wilson,
    z_test,
)
from kvl_eval.store.records import ScoreLine
from kvl_eval.types import Interval, Verdict
from kvl_eval.verdicts import Gap

SampleKey = tuple[str, int]
"""Sample id and repeat."""
LinesBySample = Mapping[SampleKey, ScoreLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideScore:
    """What one side made of an answer; fields as in `ScoreLine`."""

    extracted: Json
    verdict: Verdict
    reason: str | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSample:
    """A sample that one side got right and the other did not."""

    sample_id: str
    repeat: int
    gold: tuple[str, ...]
    a: SideScore
    b: SideScore


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """What was paired, and what was left out.

    Attributes:
        n:               pairs: questions and their repeats.
        n_samples:       questions.
        n_clusters:      documents, videos, pictures or single questions that count as one.
        only_a:          answers scored in A alone; `only_b` in B alone.
        not_scored:      answers of both without a score in one of them.
        changed_samples: samples whose question, options or gold differ; left out.
        scorer_versions: versions of kvl-eval that scored.
    """

    n: int
    n_samples: int
    n_clusters: int
    only_a: int
    only_b: int
    not_scored: int
    changed_samples: tuple[str, ...]
    scorer_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScores:
    """Means of both sides and their difference B - A, in fractions.

    Attributes:
        p_value:  of this comparison alone, as in `PairedTest`.
        n_lower:  pairs in which B scores less than A; `n_higher` more.
    """

    score_a: float
    score_b: float
    difference: PairedDifference
    p_value: float
    n_lower: int
    n_higher: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLines:
    """Two sides of one task: counts, the difference (None where nothing is scored in both), samples lost and gained."""

    counts: PairCounts
    scores: PairedScores | None
    lost: tuple[ChangedSample, ...] = ()
    gained: tuple[ChangedSample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Whether two sides differ, without resampling.

    Attributes:
        counts:     as in `PairedLines`.
        difference: mean of B - A, a fraction.
        ci95:       normal interval from the clustered standard error; Wilson's of no differing cluster where nothing
                    differs; all that is possible where a single cluster differs.
        p_value:    two-sided, of this comparison alone: exact McNemar for 0/1 scores without clusters, else normal
                    from the difference and its clustered standard error.
        changed:    share of the pairs whose scores differ.
        is_whole:   whether both sides scored the same samples.
    """

    counts: PairCounts
    difference: float
    ci95: Interval
    p_value: float
    changed: float
    is_whole: bool

    @property
    def reversed(self) -> PairedTest:
        """The same with A and B exchanged."""
        low, high = self.ci95
        counts = replace(self.counts, only_a=self.counts.only_b, only_b=self.counts.only_a)
        return replace(self, counts=counts, difference=-self.difference, ci95=(-high, -low))


class _Pair(NamedTuple):
    a: ScoreLine
    b: ScoreLine

    @property
    def cluster(self) -> str:
        return f"sample {self.a.sample_id}" if self.a.cluster is None else f"cluster {self.a.cluster}"

    @property
    def values(self) -> tuple[float, float]:
        """The scores of both sides; they have one."""
        assert self.a.score is not None and self.b.score is not None
        return float(self.a.score), float(self.b.score)


def paired(a: LinesBySample, b: LinesBySample, changed: AbstractSet[str]) -> PairedLines:
    """How B differs from A on what both have scored, without `changed` samples."""
    counts, pairs = _counted(a, b, changed)
    if not pairs:
        return PairedLines(counts=counts, scores=None)
    values = [pair.values for pair in pairs]
    before, after = ([pair[side] for pair in values] for side in (0, 1))
    clusters = [pair.cluster for pair in pairs]
    return PairedLines(
        counts=counts,
        scores=PairedScores(
            score_a=fsum(before) / len(pairs),
            score_b=fsum(after) / len(pairs),
            difference=paired_difference(before, after, clusters),
            p_value=paired_p_value(values, clusters),
            n_lower=sum(y < x for x, y in values),
            n_higher=sum(y > x for x, y in values),
        ),
        lost=tuple(_changed(pair) for pair in pairs if pair.values[0] >= 1 > pair.values[1]),
        gained=tuple(_changed(pair) for pair in pairs if pair.values[1] >= 1 > pair.values[0]),
    )


def paired_test(a: LinesBySample, b: LinesBySample, changed: AbstractSet[str]) -> PairedTest | None:
    """Whether B differs from A on what both have scored, without `changed` samples; None where that is nothing.

    Much faster than `paired`, as nothing is resampled.
    """
    counts, pairs = _counted(a, b, changed)
    if not pairs:
        return None
    values = [pair.values for pair in pairs]
    differences = [after - before for before, after in values]
    clusters = [pair.cluster for pair in pairs]
    left_out = (counts.only_a, counts.only_b, counts.not_scored, len(changed))
    return PairedTest(
        counts=counts,
        difference=fsum(differences) / len(pairs),
        ci95=_normal_interval(differences, clusters),
        p_value=paired_p_value(values, clusters),
        changed=sum(map(bool, differences)) / len(pairs),
        is_whole=not any(left_out),
    )


def _counted(a: LinesBySample, b: LinesBySample, changed: AbstractSet[str]) -> tuple[PairCounts, list[_Pair]]:
    """The pairs of two sides, and how many answers they leave out."""
    shared = _shared(a, b, changed)
    scored = _scored(shared)
    pairs = _by_question(scored, [*a.values(), *b.values()])
    counts = PairCounts(
        n=len(pairs),
        n_samples=len({pair.a.sample_id for pair in pairs}),
        n_clusters=len({pair.cluster for pair in pairs}),
        only_a=len(a.keys() - b.keys()),
        only_b=len(b.keys() - a.keys()),
        not_scored=len(shared) - len(scored),
        changed_samples=tuple(sorted(changed)),
        scorer_versions=tuple(sorted({line.scorer_version for pair in pairs for line in pair})),
    )
    return counts, pairs


def _normal_interval(differences: Sequence[float], clusters: Sequence[str]) -> Interval:
    mean, error = fsum(differences) / len(differences), stderr_clustered(differences, clusters)
    if not any(differences):
        bound = wilson(0, len(set(clusters)))[1]
        return -bound, bound
    if error is None:
        return -1.0, 1.0
    return max(-1.0, mean - Z95 * error), min(1.0, mean + Z95 * error)


def paired_p_value(values: Sequence[tuple[float, float]], clusters: Sequence[str]) -> float:
    """Two-sided, of pairs of scores: exact McNemar for 0/1 scores without clusters, else normal."""
    is_alone = len(set(clusters)) == len(clusters)
    if is_alone and all(score in (0, 1) for pair in values for score in pair):
        return mcnemar_exact(sum(x > y for x, y in values), sum(y > x for x, y in values))
    differences = [after - before for before, after in values]
    error = stderr_clustered(differences, clusters)
    return 1.0 if error is None else z_test(fsum(differences) / len(differences), error)


def _shared(a: LinesBySample, b: LinesBySample, changed: AbstractSet[str]) -> list[_Pair]:
    return [_Pair(line, b[key]) for key, line in a.items() if key in b and key[0] not in changed]


def _scored(pairs: Iterable[_Pair]) -> list[_Pair]:
    return [pair for pair in pairs if pair.a.score is not None and pair.b.score is not None]


def _by_question(pairs: Sequence[_Pair], lines: Iterable[ScoreLine]) -> list[_Pair]:
    """One pair for each question that is asked several times: each side's worst, where both answered all of them."""
    times: dict[SampleKey, set[str]] = {}
    for line in lines:
        if line.group is not None:
            times.setdefault((line.group, line.repeat), set()).add(line.sample_id)
    folded: dict[SampleKey, list[_Pair]] = {}
    for pair in pairs:
        if pair.a.group is not None:
            folded.setdefault((pair.a.group, pair.a.repeat), []).append(pair)
    whole = [group for key, group in folded.items() if len(group) == len(times[key])]
    return [pair for pair in pairs if pair.a.group is None] + [_worst(group) for group in whole]


def _worst(pairs: Sequence[_Pair]) -> _Pair:
    a = min((pair.a for pair in pairs), key=lambda line: float(line.score or 0))
    b = min((pair.b for pair in pairs), key=lambda line: float(line.score or 0))
    return _Pair(*(replace(line, sample_id=str(line.group)) for line in (a, b)))


def _changed(pair: _Pair) -> ChangedSample:
    a = pair.a
    return ChangedSample(sample_id=a.sample_id, repeat=a.repeat, gold=a.gold, a=_side_score(a), b=_side_score(pair.b))


def _side_score(line: ScoreLine) -> SideScore:
    return SideScore(extracted=line.extracted, verdict=line.verdict, reason=line.reason, score=line.score)


def gap_of(scores: PairedScores, task: str, points: bool = False) -> Gap:
    """A paired difference as sentences name it; `task` is what they call the task."""
    found = scores.difference
    return Gap(
        task=task,
        n=found.n,
        difference=found.mean,
        ci95=found.ci95,
        p_value=scores.p_value,
        changed=(scores.n_lower + scores.n_higher) / found.n,
        points=points,
    )


def gap_of_test(test: PairedTest, task: str, points: bool = False) -> Gap:
    """As `gap_of`, of a test without resampling."""
    return Gap(
        task=task,
        n=test.counts.n,
        difference=test.difference,
        ci95=test.ci95,
        p_value=test.p_value,
        changed=test.changed,
        points=points,
    )
