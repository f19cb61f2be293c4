"""Intervals of the parts of a gap: one resampling for all of them, so that their sum keeps its correlations.

Clusters are drawn with replacement. Each is a vector of sums over its answers; equal vectors are one type, so that a
replicate is a vector of type counts, and its parts are one matrix product. The rate of truncated replies is computed
again in each replicate. What an estimate says of unknown outcomes gets a normal term of their variance, since the
outcomes are unknown, not only the rate.

Sums are of integers and draws are raw words, as in `kvl_eval.scorers.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kvl_eval.explanation.ledger import ESTIMATED, EXACT, Floats, Ledger
from kvl_eval.scorers.statistics import FIXED, quantile, resampled_counts, wilson
from kvl_eval.types import Interval

RESAMPLES = 2_000
SEED = 0
OUTCOMES, REFERENCE = 1, 2  # added to the seed: streams of normal draws
COLUMNS = ("score", *EXACT, *ESTIMATED, "right in the tail", "in the tail", "scored", "planned")


@dataclass(frozen=True, slots=True)
class Replicates:
    """The score and the parts in each resample of the clusters.

    Attributes:
        score:    under P0.
        parts:    {part: its values}.
        clusters: how many were drawn from; with one nothing is known of the spread.
        seed:     of the draws.
    """

    score: Floats
    parts: Mapping[str, Floats]
    clusters: int
    seed: int

    def interval(self, name: str, ledger: Ledger) -> Interval:
        """95 % interval of a part: percentiles; with one cluster its bounds, or everything.

        A part that no resample changes gets Wilson's interval over the clusters. One of which only a ceiling is known
        reaches down to nothing.
        """
        if self.clusters == 1:
            return ledger.bounds(name) or (-1.0, 1.0)
        if ledger.is_ceiling(name):
            return 0.0, max(0.0, percentiles(np.sort(self.parts[name]))[1])
        values = np.sort(self.parts[name])
        if values[0] == values[-1]:
            least = wilson(self.clusters, self.clusters)[0] * float(values[0])
            return min(least, float(values[0])), max(least, float(values[0]))
        return percentiles(values)

    def unexplained_of_these(self, gap: float, ledger: Ledger) -> Interval:
        """Interval of the rest, for these questions: score, reference and exact parts are fixed."""
        exact = math.fsum(ledger.value(name) for name in EXACT)
        estimated = sum((self.parts[name] for name in ESTIMATED), start=np.zeros(len(self.score)))
        return self._with_ceilings(gap - exact - estimated, ledger)

    def unexplained_of_such(self, gap: float, error: float, ledger: Ledger) -> Interval:
        """Interval of the rest, as a sample of questions; `error` is the standard error of the reference."""
        if self.clusters == 1:
            return -1.0, 1.0
        reference = error * normals(len(self.score), self.seed + REFERENCE)
        explained = sum(self.parts.values(), start=np.zeros(len(self.score)))
        return self._with_ceilings(gap + reference - (self.score - ledger.score) - explained, ledger)

    def _with_ceilings(self, rest: Floats, ledger: Ledger) -> Interval:
        """Interval of a rest, which is larger where parts of which only a ceiling is known are nothing."""
        ceilings = [self.parts[name] for name in ESTIMATED if ledger.is_ceiling(name)]
        largest = sum(ceilings, start=rest)
        return percentiles(np.sort(rest))[0], percentiles(np.sort(largest))[1]


def replicates(ledger: Ledger, n: int = RESAMPLES, seed: int = SEED) -> Replicates:
    """The score and the parts of `n` resamples."""
    types, sizes = _cluster_types(ledger)
    counts = resampled_counts(sizes.tolist(), n, seed)
    totals = dict(zip(COLUMNS, (counts @ types / FIXED).T, strict=True))
    scored = np.maximum(totals["scored"], 1 / FIXED)
    parts = {name: totals[name] / scored for name in EXACT}
    missing = totals["missing"] / np.maximum(totals["planned"], 1.0)
    tail = np.maximum(totals["in the tail"], 1.0)
    rate = np.where(totals["in the tail"] > 0, totals["right in the tail"] / tail, ledger.rate or 0.0)
    estimates = {"missing": ledger.missing_value + missing}
    estimates |= {name: rate * totals[name] / scored for name in ("unclosed", "truncated")}
    outcomes = normals(len(ESTIMATED) * n, seed + OUTCOMES).reshape(len(ESTIMATED), n)
    for name, draws in zip(ESTIMATED, outcomes, strict=True):
        parts[name] = estimates[name] + math.sqrt(_unknown_variance(ledger, name)) * draws
    return Replicates(totals["score"] / scored, parts, int(sizes.sum()), seed)


def normals(n: int, seed: int) -> Floats:
    """`n` draws of the standard normal distribution."""
    words = np.random.Philox(key=seed).random_raw(n) >> np.uint64(11)
    inverse = NormalDist().inv_cdf
    return np.array([inverse((int(word) + 0.5) / 2**53) for word in words])


def percentiles(ordered: Floats) -> Interval:
    """The interval that leaves 2.5 % of sorted values on either side."""
    values = ordered.tolist()
    return quantile(values, 0.025), quantile(values, 0.975)


def _cluster_types(ledger: Ledger) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct sums of clusters, in fixed point: (types, columns); and how many clusters have each."""
    vectors = np.rint(_vectors(ledger) * FIXED).astype(np.int64)
    names, cluster = np.unique([unit.cluster for unit in ledger.units], return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]), dtype=np.int64)
    np.add.at(sums, cluster, vectors)
    types, sizes = np.unique(sums, axis=0, return_counts=True)
    return types, sizes


def _vectors(ledger: Ledger) -> Floats:
    """What each answer adds to the columns; weights are scaled so that they are 1 in a plain mean."""
    n = int(ledger.scored.sum())
    columns = {
        "score": n * ledger.w * ledger.y0,
        **{name: n * ledger.change(name) for name in EXACT},
        "missing": _missing_influence(ledger),
        **{name: n * ledger.full_w * ledger.cut(name) for name in ("unclosed", "truncated")},
        "right in the tail": ledger.tail * ledger.y1,
        "in the tail": ledger.tail.astype(float),
        "scored": n * ledger.w,
        "planned": (ledger.scored | ledger.missing).astype(float),
    }
    return np.stack([columns[name] for name in COLUMNS], axis=1)


def _missing_influence(ledger: Ledger) -> Floats:
    """How each planned answer moves the estimate for missing ones, to first order, times the planned answers."""
    if not ledger.missing.any():
        return np.zeros(len(ledger.units))
    planned = int((ledger.scored | ledger.missing).sum())
    full = ledger.other_score + ledger.missing_value
    means = ledger.strata.means
    stratified = ledger.share * (means - full) + ledger.full_w * (ledger.y1 - means)
    influence: Floats = planned * (stratified - ledger.w * (ledger.y1 - ledger.other_score))
    return influence


def _unknown_variance(ledger: Ledger, name: str) -> float:
    """Variance of what answers would score that were not given, or not to their end."""
    if name == "missing":
        if not ledger.missing.any():
            return 0.0
        chance = ledger.strata.means[ledger.missing]
        return math.fsum(ledger.share[ledger.missing] ** 2 * chance * (1 - chance))
    rate = ledger.rate or 0.0
    return rate * (1 - rate) * math.fsum(ledger.full_w[ledger.cut(name)] ** 2)
