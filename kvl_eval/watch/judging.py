"""What nights say: significant drops, slow drift, and what changed between two of them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kvl_eval.scorers.statistics import holm
from kvl_eval.types import Interval

LIMIT = 5.0  # standard errors that the cumulative sum may reach
Against = Literal["baseline", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightGap:
    """Tonight against an earlier night on one task, tonight minus that one; fractions.

    Attributes:
        run:        the name of the run in the file.
        task:       the task, with its budget where there are several.
        old, new:   run folders.
        p_value:    one-sided: that a drop of this size is chance.
        p_holm:     corrected over the tasks and comparisons of this night.
        regression: whether the drop is large enough and significant.
    """

    run: str
    task: str
    against: Against
    old: str
    new: str
    n: int
    difference: float
    ci95: Interval
    p_value: float
    p_holm: float = 1.0
    regression: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NightDrift:
    """The cumulative sum of a task's drops below the pin; fractions.

    Attributes:
        sum:      of drops beyond half of `min_drop`, never below 0.
        limit:    5 standard errors of tonight's difference.
        warning:  whether the sum exceeds the limit.
    """

    run: str
    task: str
    sum: float
    limit: float
    warning: bool


def one_sided(difference: float, p_value: float) -> float:
    """The p value of a drop, for the two-sided one of a difference."""
    return p_value / 2 if difference < 0 else 1 - p_value / 2


def judged(gaps: Sequence[NightGap], drop: float, alpha: float) -> list[NightGap]:
    """The comparisons of one night with Holm's correction and the verdict."""
    corrected = holm([gap.p_value for gap in gaps])
    return [
        replace(gap, p_holm=p_holm, regression=gap.difference <= -drop and p_holm < alpha)
        for gap, p_holm in zip(gaps, corrected, strict=True)
    ]


def drift(differences: Sequence[float], error: float | None, drop: float) -> tuple[float, float]:
    """(sum, limit) of a one-sided cumulative sum of differences from the pin, the oldest night first.

    Source: Page 1954. `error` is the standard error of the last difference.
    """
    total = 0.0
    for difference in differences:
        total = max(0.0, total - difference - drop / 2)
    return total, LIMIT * (error or 0.0)
