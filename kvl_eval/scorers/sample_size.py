"""How many samples a precision or a difference needs.

Source: Connor 1987 (sample size of paired proportions); Cochran 1977 (finite population, stratified sampling, design
        effect).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from kvl_eval.scorers.statistics import Z80, Z95

POWER = 0.8  # the chance that a difference is shown, where none is asked for


def power_quantile(power: float) -> float:
    """The quantile of the normal distribution that belongs to a power in (0, 1)."""
    return Z80 if power == POWER else NormalDist().inv_cdf(power)


def size_for_precision(variance: float, precision: float) -> float:
    """Independent samples whose 95 % interval is `precision` to each side; `variance` is that of one sample."""
    return Z95**2 * variance / precision**2


def size_to_detect(changed: float, difference: float, power: float = POWER) -> float:
    """Independent samples that show a paired difference with this power, two-sided 5 % (Connor 1987).

    `changed` is the share of changed verdicts; it is at least the difference.
    """
    changed = max(changed, abs(difference))
    under_none = Z95 * math.sqrt(changed)
    under_this = power_quantile(power) * math.sqrt(changed - difference**2)
    return (under_none + under_this) ** 2 / difference**2


def size_of_finite(size: float, total: int) -> float:
    """How many of `total` samples do what `size` do where there is no end of them."""
    return size / (1 + size / total)


def whole_samples(size: float) -> int:
    """The least whole number of samples; what exceeds one by rounding alone does not count."""
    return math.ceil(size - 1e-9)


def best_precision(variance: float, total: int) -> float:
    """Half the 95 % interval that `total` independent samples give."""
    return Z95 * math.sqrt(variance / total)


def best_difference(changed: float, total: int, power: float = POWER) -> float:
    """About the smallest difference that `total` independent samples show with this power."""
    return (Z95 + power_quantile(power)) * math.sqrt(changed / total)
