"""The effect of a changed setting on a sample of a run's questions, paired with a control, and when enough were asked.

    D = sum over strata of (share of the stratum) x (mean change in it)

Looks at 25, 50, 75 and 100 % of the samples have the limits of `group_sequential`: a difference counts if it exceeds
that many standard errors. Clusters of samples that depend on each other are drawn whole, and so is their variance.

Source: Lan and DeMets 1983, O'Brien and Fleming 1979 (looks); Cochran 1977 (strata, finite populations); McNemar 1947;
        Newcombe 1998, Statistics in Medicine 17, 873 (few changed verdicts).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.scorers.statistics import mcnemar_exact, wilson
from kvl_eval.types import Interval
from kvl_eval.verdicts import LEVEL

LOOKS = 4
FEW = 10  # changed verdicts below which the normal interval is not trusted
SAME = 0.03  # an interval within this on either side shows that a setting changes nothing that matters


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedScore:
    """How the score of one sample differs between two arms; `stratum` is of the run that they were drawn from."""

    cluster: str
    stratum: str
    change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledChange:
    """What a look says of a setting. Fractions.

    Attributes:
        n:      samples.
        gained: that score more with the setting changed; `lost` those that score less.
        value:  the difference of the score.
        error:  its standard error; infinite where nothing is known of it.
        ci95:   its interval at this look.
    """

    n: int
    gained: int
    lost: int
    value: float
    error: float
    ci95: Interval

    @property
    def changed(self) -> int:
        """Samples with another score."""
        return self.gained + self.lost

    @property
    def is_effect(self) -> bool:
        """Whether asking may stop: the difference is more than chance."""
        return self.changed >= FEW and not self.ci95[0] <= 0 <= self.ci95[1]

    @property
    def is_same(self) -> bool:
        """Whether asking may stop: the difference is too small to matter."""
        return self.ci95[0] >= -SAME and self.ci95[1] <= SAME

    def p_value(self, tests: int) -> float | None:
        """Exact McNemar, corrected for the number of tests, where few verdicts changed; else None."""
        return min(1.0, tests * mcnemar_exact(self.gained, self.lost)) if self.changed < FEW else None

    def is_shown(self, tests: int) -> bool:
        """Whether there is an effect, now that all samples were asked."""
        p_value = self.p_value(tests)
        return self.is_effect if p_value is None else p_value < LEVEL


def sampled_change(
    samples: Sequence[ChangedScore], sizes: Mapping[str, int], limit: float, *, is_fixed: bool = False
) -> SampledChange:
    """The difference over a population with strata of these sizes.

    Args:
        limit:    standard errors that the interval reaches on either side.
        is_fixed: whether equal questions get equal answers; then a sample of most of them says more.
    Raises: ValueError without samples.
    """
    if not samples:
        raise ValueError("sampled_change() needs at least one sample")
    total, value, residuals = sum(sizes.values()), 0.0, dict[str, float]()
    is_known = True
    for names in _strata(samples, sizes):
        members = [sample for sample in samples if sample.stratum in names]
        n, size = len(members), sum(sizes[name] for name in names)
        mean = math.fsum(sample.change for sample in members) / n
        value += size / total * mean
        if n < 2:
            is_known = False
            continue
        scale = size / total / n * math.sqrt(n / (n - 1) * (max(0.0, 1 - n / size) if is_fixed else 1.0))
        for sample in members:
            residuals[sample.cluster] = residuals.get(sample.cluster, 0.0) + scale * (sample.change - mean)
    error = math.sqrt(math.fsum(residual**2 for residual in residuals.values())) if is_known else math.inf
    gained, lost = sum(sample.change > 0 for sample in samples), sum(sample.change < 0 for sample in samples)
    below = above = limit * error
    if gained + lost < FEW:
        below, above = _few(gained, lost, len(samples), limit)
    ci95 = max(-1.0, value - below), min(1.0, value + above)
    return SampledChange(n=len(samples), gained=gained, lost=lost, value=value, error=error, ci95=ci95)


def look_ends(clusters: Sequence[str]) -> tuple[int, ...]:
    """How many samples each look has, of samples in order with these clusters: a cluster is never split."""
    n, ends = len(clusters), []
    for look in range(1, LOOKS + 1):
        end = math.ceil(n * look / LOOKS)
        while end < n and clusters[end] == clusters[end - 1]:
            end += 1
        ends.append(end)
    return tuple(ends)


def _strata(samples: Sequence[ChangedScore], sizes: Mapping[str, int]) -> list[frozenset[str]]:
    """The strata, those with fewer than two samples merged, where need be with the smallest other one."""
    sampled = Counter(sample.stratum for sample in samples)
    thin = {name for name in sizes if sampled[name] < 2}
    others = sorted((sampled[name], name) for name in sizes if name not in thin)
    if thin and others and sum(sampled[name] for name in thin) < 2:
        thin.add(others.pop(0)[1])
    return [frozenset({name}) for _, name in others] + ([frozenset(thin)] if thin else [])


def _few(gained: int, lost: int, n: int, limit: float) -> tuple[float, float]:
    """How far the interval reaches below and above: a hybrid of two Wilson intervals, which always has a width."""
    (less, more), (fewer, further) = wilson(gained, n, limit), wilson(lost, n, limit)
    up, down = gained / n, lost / n
    return math.hypot(up - less, further - down), math.hypot(more - up, down - fewer)
