"""Intervals, standard errors and paired comparisons of scores in [0, 1].

Every function gives the same number on every machine and in every order of samples: sums are exact (`math.fsum` or
integers), the bootstrap sorts what it draws from, and its draws are the raw 64-bit words of Philox4x64-10, whose
algorithm is fixed, rather than a library's sampling routine, which may change between versions.

Source: Wilson 1927 (score interval); Efron 1979 (bootstrap, percentile interval); Chen et al. 2021, arXiv 2107.03374,
        section 2.1 (unbiased pass@k); McNemar 1947 (exact form: binomial); Miller 2024, arXiv 2411.00640 (clustered
        standard errors and paired differences of evaluations); Newcombe 1998, Statistics in Medicine 17, 873 and 2635
        (differences of shares); Holm 1979 (several tests); Lan and DeMets 1983, O'Brien and Fleming 1979 (looks).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kvl_eval.types import Interval

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
Z80 = 0.8416212335729143  # 80 % quantile: the power that `detectable` asks for
FIXED = 1 << 40  # scores are drawn as integers of this unit, so that sums are exact
CHUNK = 1 << 20  # draws held in memory at once
FEW_KINDS = 16  # of equal units, up to which counting is faster than looking each one up
GROUP_SEQUENTIAL = (  # for 1 to 8 tests
    (4.333, 2.963, 2.359, 2.014),
    (4.860, 3.345, 2.670, 2.281),
    (5.148, 3.553, 2.841, 2.428),
    (5.345, 3.694, 2.957, 2.527),
    (5.493, 3.801, 3.045, 2.603),
    (5.612, 3.887, 3.115, 2.664),
    (5.711, 3.958, 3.173, 2.714),
    (5.795, 4.019, 3.223, 2.757),
)

Clusters = Sequence[str | None]


def is_plain_mean(score: float | None, values: Sequence[float]) -> bool:
    """Whether a score is the mean of these values, so that their interval is its own."""
    return score is not None and math.isclose(score, math.fsum(values) / len(values), abs_tol=1e-9)


def wilson(k: float, n: float, z: float = Z95) -> Interval:
    """95 % interval of a share of `k` successes in `n`; (0, 1) where n is 0, since nothing is known."""
    if not 0 <= k <= max(n, 0):
        raise ValueError(f"wilson() needs 0 <= k <= n, got k={k}, n={n}")
    if n == 0:
        return 0.0, 1.0
    share, spread = k / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    return low, 1.0 if k == n else min(1.0, centre + half)


def newcombe(
    published: float, n_published: float, score: float, n: float, rounding: float = 0.0, correlation: float = 0.0
) -> Interval:
    """95 % interval of `published - score`, two shares of `n_published` and `n` answers that are taken as independent.

    Newcombe's hybrid of two Wilson intervals (Statistics in Medicine 17, 873, method 10). `rounding` is the step to
    which the published share was printed, as a fraction: it widens that share's interval. `correlation` is that of the
    two shares' errors where the same questions were asked (17, 2635): it narrows the interval.
    """
    low, high = wilson(published * n_published, n_published)
    own_low, own_high = wilson(score * n, n)
    printed = (Z95 * rounding) ** 2 / 12
    gap = published - score
    below = _hybrid(published - low, own_high - score, printed, correlation)
    above = _hybrid(high - published, score - own_low, printed, correlation)
    return max(-1.0, gap - below), min(1.0, gap + above)


def _hybrid(first: float, second: float, printed: float, correlation: float) -> float:
    """The distance from a difference to a limit, by the distances of its two terms to theirs."""
    return math.sqrt(max(0.0, first**2 + printed + second**2 - 2 * correlation * first * second))


def z_test(difference: float, *errors: float) -> float:
    """Two-sided p value of a difference of values with these independent standard errors.

    Without any error 1 where there is no difference, else 0.
    """
    error = math.hypot(*errors)
    if error == 0:
        return 0.0 if difference else 1.0
    return math.erfc(abs(difference) / error / math.sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of one family, in the order given: at most 1, and never below the p value itself."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def group_sequential(tests: int) -> tuple[float, float, float, float]:
    """Limits of |z| at looks after 25, 50, 75 and 100 % of the samples, for one of `tests` tests at 5 % together.

    Lan and DeMets' spending function of O'Brien-Fleming type, two-sided, at 0.05 / `tests`.
    Raises: ValueError for less than 1 or more than 8 tests.
    """
    if not 1 <= tests <= len(GROUP_SEQUENTIAL):
        raise ValueError(f"group_sequential() needs 1 to {len(GROUP_SEQUENTIAL)} tests, got {tests}")
    return GROUP_SEQUENTIAL[tests - 1]


def bootstrap(values: Sequence[float], clusters: Clusters | None = None, n: int = 10_000, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean over `n` resamples; whole clusters are drawn where `clusters` are given.

    A cluster None stands for itself alone. Values are rounded to 2**-40 for exact sums.
    Raises: ValueError, if there are no values.
    """
    units = _units(values, clusters)
    if not units:
        raise ValueError("bootstrap() needs at least one value")
    means = sorted(_resampled_means(units, n, seed))
    return quantile(means, 0.025), quantile(means, 0.975)


def interval(values: Sequence[float], clusters: Clusters | None = None) -> tuple[float, float, str]:
    """95 % interval of the mean of scores in [0, 1] and the name of the method that gave it.

    - `wilson`: values are 0 or 1, and no cluster holds two of them;
    - `bootstrap`, `cluster bootstrap`: otherwise;
    - `wilson over clusters`: all values 0 or all 1, where a bootstrap would have no width;
    - `single`: one value or one cluster says nothing about spread, so (0, 1).

    Raises: ValueError, if there are no values.
    """
    if not values:
        raise ValueError("interval() needs at least one value")
    units = _units(values, clusters)
    if all(value in (0, 1) for value in values):
        if len(units) == len(values):
            return *wilson(sum(values), len(values)), "wilson"
        if min(values) == max(values):
            return *wilson(len(units) * values[0], len(units)), "wilson over clusters"
    if len(units) == 1:
        return 0.0, 1.0, "single"
    method = "bootstrap" if len(units) == len(values) else "cluster bootstrap"
    return *bootstrap(values, clusters), method


def stderr(values: Sequence[float]) -> float | None:
    """Standard error of the mean (sample variance over n); None for fewer than two values."""
    return stderr_clustered(values, None)


def stderr_clustered(values: Sequence[float], clusters: Clusters | None) -> float | None:
    """Standard error of the mean where values of one cluster depend on each other; None for fewer than two clusters.

    The sandwich estimate with the factor G / (G - 1) for G clusters; without shared clusters it equals `stderr`.
    """
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    totals = [math.fsum(value - mean for value in group) for group in _groups(values, clusters)]
    if len(totals) < 2:
        return None
    return math.sqrt(math.fsum(t * t for t in totals) * len(totals) / (len(totals) - 1)) / len(values)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that at least one of `k` answers is right, seen `c` right ones among `n`."""
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k() needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority(answers: Sequence[Any]) -> int | None:
    """Index of the first answer that equals the most frequent one; None where all are None.

    Answers are JSON values and None does not vote; among equally frequent ones the first to appear wins.
    """
    keys = [None if answer is None else json.dumps(answer, sort_keys=True) for answer in answers]
    votes = Counter(key for key in keys if key is not None)
    return keys.index(votes.most_common(1)[0][0]) if votes else None


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p value for `b` samples that only one run got right and `c` that only the other did."""
    if b < 0 or c < 0:
        raise ValueError(f"mcnemar_exact() needs counts, got b={b}, c={c}")
    n, term, tail = b + c, 1, 0
    for i in range(min(b, c) + 1):
        tail += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * tail / (1 << n))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How run B differs from run A on the same samples (positive: B is better). Fractions.

    Attributes:
        ci95:       interval of the mean difference.
        b_only:     samples where only B scored 1 while A did not; `a_only` the other way round.
        p_value:    exact McNemar; None unless all scores are 0 or 1.
        detectable: smallest difference that this sample would show four times in five (two-sided 5 %); None
                    where no standard error is known.
    """

    n: int
    mean: float
    ci95: Interval
    method: str
    stderr: float | None
    a_only: int
    b_only: int
    p_value: float | None
    detectable: float | None


def paired_difference(a: Sequence[float], b: Sequence[float], clusters: Clusters | None = None) -> PairedDifference:
    """Compare two runs sample by sample: `a[i]` and `b[i]` are scores of the same question.

    Where no sample differs, the interval is that of zero differing clusters among all (Wilson).
    Raises: ValueError, if lengths differ or there are no samples.
    """
    differences = [right - left for left, right in zip(a, b, strict=True)]
    units = _units(differences, clusters)
    if not units:
        raise ValueError("paired_difference() needs at least one sample")
    if any(differences):
        ci95 = bootstrap(differences, clusters)
        method = "bootstrap" if len(units) == len(differences) else "cluster bootstrap"
    else:
        ci95, method = (-wilson(0, len(units))[1], wilson(0, len(units))[1]), "wilson"
    error = stderr_clustered(differences, clusters)
    a_only = sum(left >= 1 > right for left, right in zip(a, b, strict=True))
    b_only = sum(right >= 1 > left for left, right in zip(a, b, strict=True))
    binary = all(value in (0, 1) for value in (*a, *b))
    return PairedDifference(
        n=len(differences),
        mean=math.fsum(differences) / len(differences),
        ci95=ci95,
        method=method,
        stderr=error,
        a_only=a_only,
        b_only=b_only,
        p_value=mcnemar_exact(a_only, b_only) if binary else None,
        detectable=(Z95 + Z80) * error if error else None,
    )


def _groups(values: Sequence[float], clusters: Clusters | None) -> list[list[float]]:
    """Values by cluster; None is a cluster of its own."""
    if clusters is None:
        return [[value] for value in values]
    named: dict[str, list[float]] = {}
    alone: list[list[float]] = []
    for value, cluster in zip(values, clusters, strict=True):
        if cluster is None:
            alone.append([value])
        else:
            named.setdefault(cluster, []).append(value)
    return [*named.values(), *alone]


def _units(values: Sequence[float], clusters: Clusters | None) -> list[tuple[int, int]]:
    """(sum in fixed point, number of values) of each cluster, sorted: neither order nor names matter."""
    return sorted((sum(round(value * FIXED) for value in group), len(group)) for group in _groups(values, clusters))


def _resampled_means(units: Sequence[tuple[int, int]], n: int, seed: int) -> Iterator[float]:
    """Means of `n` resamples of `units`, which are sorted, with replacement.

    Equal units are drawn as one kind: a word picks a unit by its upper half, so that counting the words above a limit
    counts the units from a place on.
    """
    import numpy as np

    kinds = Counter(units)
    totals, sizes = (np.array(column, dtype=np.int64) for column in zip(*kinds, strict=True))
    ends = np.cumsum(list(kinds.values()))
    source = np.random.Philox(key=seed)
    rows = max(1, CHUNK // len(units))
    for start in range(0, n, rows):
        shape = (min(rows, n - start), len(units))
        words = source.random_raw(shape[0] * shape[1]).reshape(shape)
        if len(kinds) <= FEW_KINDS:
            limits = [-(-(int(end) << 32) // len(units)) << 32 for end in ends[:-1]]  # rounded up
            later = [np.count_nonzero(words >= np.uint64(limit), axis=1) for limit in limits]
            counts = -np.diff([np.full(shape[0], len(units)), *later, np.zeros(shape[0], dtype=np.int64)], axis=0)
            yield from (totals @ counts / (sizes @ counts) / FIXED).tolist()
        else:
            places = ((words >> np.uint64(32)) * np.uint64(len(units))) >> np.uint64(32)  # uniform over the units
            picks = np.repeat(np.arange(len(kinds)), list(kinds.values()))[places]
            yield from (totals[picks].sum(axis=1) / sizes[picks].sum(axis=1) / FIXED).tolist()


def resampled_counts(sizes: Sequence[int], n: int = 2_000, seed: int = 0) -> Any:
    """How often units of each kind are drawn in each of `n` resamples with replacement: (n, kinds), int64.

    `sizes` are the numbers of equal units of each kind. A resample has as many units as there are in all.
    Raises: ValueError, if there are no units.
    """
    import numpy as np

    ends = np.cumsum(np.asarray(sizes, dtype=np.int64)).tolist()
    total = ends[-1] if ends else 0
    if not total:
        raise ValueError("resampled_counts() needs at least one unit")
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    limits = [-(-(end << 32) // total) for end in ends[:-1]]  # a draw below it is of an earlier kind
    counts = np.empty((n, len(sizes)), dtype=np.int64)
    source = np.random.Philox(key=seed)
    for row in range(n):  # both halves of a word are a draw each
        draws = source.random_raw((total + 1) // 2).astype("<u8", copy=False).view("<u4")[:total]
        if len(sizes) <= FEW_KINDS:
            below = [np.count_nonzero(draws < limit) if limit < 1 << 32 else total for limit in limits]
            counts[row] = np.diff([0, *below, total])
        else:
            places = (draws.astype(np.uint64) * np.uint64(total)) >> np.uint64(32)
            counts[row] = np.bincount(kinds[places], minlength=len(sizes))
    return counts


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between the two nearest order statistics."""
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
