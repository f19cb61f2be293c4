"""Interval and standard error of a macro mean: a weighted mean of group means (tasks, tracks), not of questions.

Questions are drawn within their group, so that each group keeps its weight whatever its size. Whole clusters are drawn
where questions share a picture, a video or a document; groups with clusters in common are drawn together, since what
happens to one happens to the other. From n clusters n - 1 are drawn: with n the variance of small groups would come out
too small by (n - 1) / n, and here there are many small groups.

Source: McCarthy and Snowden 1985 (bootstrap of stratified samples, n - 1 draws); Rao and Wu 1988; Zou and Donner
        2008 (MOVER: limits of a sum from those of its parts); Taylor linearisation of a ratio for the standard error.
        Draws as in `statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvl_eval.scorers.statistics import CHUNK, FIXED, Clusters, interval, is_plain_mean, quantile, wilson
from kvl_eval.types import GroupMean, Scored, Summary

if TYPE_CHECKING:
    import numpy as np

SEED, RESAMPLES = 0, 10_000
Counted = dict[str, tuple[int, int]]  # {group: (sum in fixed point, number of values)} of one cluster


@dataclass(frozen=True, slots=True)
class Stratum:
    """Groups that are drawn together, and the clusters to draw from, in an order that names do not change."""

    names: tuple[str, ...]
    units: list[tuple[tuple[int, int], ...]] = field(default_factory=list)  # a cluster: (sum, number) by group


def macro_interval(
    values: Sequence[float], groups: Sequence[str], weights: Mapping[str, float], clusters: Clusters | None = None
) -> tuple[float, float, str]:
    """95 % interval of the weighted mean of group means, and the method's name.

    - `macro bootstrap`, `macro cluster bootstrap`: percentiles of 10,000 resamples within groups; a group that a
      resample misses keeps its mean. Of a group that cannot vary the distance to its own limits is added in squares
      (MOVER): those of Wilson over its clusters where all is right or all is wrong, 0 and 1 where it is one cluster;
    - `macro wilson`: the same where no group can vary;
    - `single`: no group has two clusters, so (0, 1).

    Raises: ValueError, if there are no values.
    """
    if not values:
        raise ValueError("macro_interval() needs at least one value")
    strata = _strata(values, groups, clusters)
    flat = [one for stratum in strata for one in _flat_groups(stratum)]
    score = math.fsum(weights[name] * mean for stratum in strata for name, mean in _means(stratum).items())
    if all(one.clusters == 1 for one in flat) and len(flat) == sum(len(stratum.names) for stratum in strata):
        return 0.0, 1.0, "single"
    drawn = sorted(_resampled(strata, weights))
    ends = quantile(drawn, 0.025), quantile(drawn, 0.975)
    low = math.hypot(score - ends[0], *(weights[one.name] * (one.mean - one.limits[0]) for one in flat))
    high = math.hypot(ends[1] - score, *(weights[one.name] * (one.limits[1] - one.mean) for one in flat))
    if len(flat) == len(set(groups)):
        method = "macro wilson"
    else:
        alone = sum(len(stratum.units) for stratum in strata) == len(values)
        method = "macro bootstrap" if alone else "macro cluster bootstrap"
    return max(0.0, score - low), min(1.0, score + high), method


@dataclass(frozen=True, slots=True)
class FlatGroup:
    """A group whose mean no resample changes, how many clusters it has, and what its mean may be."""

    name: str
    mean: float
    clusters: int

    @property
    def limits(self) -> tuple[float, float]:
        """95 % limits of the mean."""
        return (0.0, 1.0) if self.clusters == 1 else wilson(self.clusters * self.mean, self.clusters)


def _flat_groups(stratum: Stratum) -> list[FlatGroup]:
    found = []
    for column, (name, mean) in enumerate(_means(stratum).items()):
        clusters = sum(unit[column][1] > 0 for unit in stratum.units)
        if clusters == 1 or mean in (0.0, 1.0):
            found.append(FlatGroup(name, mean, clusters))
    return found


def _means(stratum: Stratum) -> dict[str, float]:
    totals = _totals(stratum.units)
    return {name: total / size / FIXED for name, (total, size) in zip(stratum.names, totals, strict=True)}


def macro_stderr(
    values: Sequence[float], groups: Sequence[str], weights: Mapping[str, float], clusters: Clusters | None = None
) -> float | None:
    """Standard error of the weighted mean of group means; None where a group has a single cluster.

    The square root of the sum over strata of n / (n - 1) * sum of squares of what each of n clusters adds to the mean.
    """
    variances = []
    for stratum in _strata(values, groups, clusters):
        n, totals = len(stratum.units), _totals(stratum.units)
        if n < 2:
            return None
        shares = [weights[name] / size for name, (_, size) in zip(stratum.names, totals, strict=True)]
        means = [total / size for total, size in totals]
        added = (
            math.fsum(
                share * (total - size * mean) for share, mean, (total, size) in zip(shares, means, unit, strict=True)
            )
            for unit in stratum.units
        )
        variances.append(math.fsum(one * one for one in added) * n / (n - 1))
    return math.sqrt(math.fsum(variances)) / FIXED if variances else None


def headline_interval(
    summary: Summary, scored: Sequence[Scored], clusters: Sequence[str]
) -> tuple[float, float, str] | None:
    """Interval of the summary's score over these scored questions, whose clusters are given.

    None where there is no score, or where it is not their mean and not a mean of group means.
    """
    values = [one.score.value for one in scored if one.score.value is not None]
    if summary.score is None or not values:
        return None
    if summary.over is not None:
        found = grouped(summary.over, scored, clusters)
        return macro_interval(found[0], found[1], summary.over.weights, found[2])
    return interval(values, clusters) if is_plain_mean(summary.score, values) else None


def grouped(
    over: GroupMean, scored: Sequence[Scored], clusters: Sequence[str]
) -> tuple[list[float], list[str], list[str]]:
    """Values, groups and clusters of the questions that belong to one of the groups."""
    rows = [
        (one.score.value, label, cluster)
        for one, cluster in zip(scored, clusters, strict=True)
        for label in one.sample.categories.get(over.field, ())
        if one.score.value is not None and label in over.weights
    ]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _strata(values: Sequence[float], groups: Sequence[str], clusters: Clusters | None) -> list[Stratum]:
    counted: dict[str, Counted] = {}
    shared = clusters if clusters is not None else [None] * len(values)
    for index, (value, group, cluster) in enumerate(zip(values, groups, shared, strict=True)):
        unit = counted.setdefault(f"alone {index}" if cluster is None else f"cluster {cluster}", {})
        total, size = unit.get(group, (0, 0))
        unit[group] = total + round(value * FIXED), size + 1
    found = []
    for names in _connected(counted.values()):
        units = [unit for unit in counted.values() if unit.keys() <= set(names)]
        found.append(Stratum(names, sorted(tuple(unit.get(name, (0, 0)) for name in names) for unit in units)))
    return found


def _connected(counted: Iterable[Counted]) -> list[tuple[str, ...]]:
    """The groups, those in one tuple that share clusters, directly or through others; sorted."""
    parts: list[set[str]] = []
    for together in {frozenset(unit) for unit in counted}:
        touched = [part for part in parts if part & together]
        parts = [*(part for part in parts if not part & together), set(together).union(*touched)]
    return sorted(tuple(sorted(part)) for part in parts)


def _totals(units: Sequence[tuple[tuple[int, int], ...]]) -> list[tuple[int, int]]:
    """Sum and number of all values, by group."""
    return [(sum(total for total, _ in column), sum(size for _, size in column)) for column in zip(*units, strict=True)]


def _resampled(strata: Sequence[Stratum], weights: Mapping[str, float]) -> list[float]:
    """The weighted mean in each resample."""
    import numpy as np

    source, means = np.random.Philox(key=SEED), np.zeros(RESAMPLES)
    for stratum in strata:
        if len(stratum.units) == 1:
            means += math.fsum(weights[name] * mean for name, mean in _means(stratum).items())
            continue
        units = np.array(stratum.units, dtype=np.int64)  # (clusters, groups, 2)
        shares = [weights[name] for name in stratum.names]
        observed = [total / size for total, size in _totals(stratum.units)]
        rows = max(1, CHUNK // units.size)
        for start in range(0, RESAMPLES, rows):
            sums = units[_picks(source, min(rows, RESAMPLES - start), len(units))].sum(axis=1)  # (rows, groups, 2)
            for column, (share, mean) in enumerate(zip(shares, observed, strict=True)):
                total, size = sums[:, column, 0], sums[:, column, 1]
                drawn = np.where(size > 0, total / np.maximum(size, 1), mean)
                means[start : start + rows] += share * drawn / FIXED
    return [float(one) for one in means]


def _picks(source: np.random.Philox, rows: int, units: int) -> Any:
    """Indices below `units`, uniform: (rows, units - 1)."""
    import numpy as np

    words = source.random_raw(rows * (units - 1)).reshape(rows, units - 1)
    return ((words >> np.uint64(32)) * np.uint64(units)) >> np.uint64(32)
