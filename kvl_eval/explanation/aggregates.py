"""Parts of a gap where the score is not a weighted mean: F1 over documents, questions right only in every rotation.

Exact parts come from aggregating again with scores replaced, one part after the other; their intervals from leaving out
one cluster at a time (jackknife; neighbors together where there are more than 1,000). Of what would have to be
estimated only bounds are known.

Source: Efron 1979 (jackknife).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kvl_eval.explanation.ledger import ESTIMATED, EXACT, ORDER, Floats, Ledger, Mask
from kvl_eval.explanation.parts import samples_of
from kvl_eval.explanation.units import GapPart
from kvl_eval.scorers.statistics import Z95
from kvl_eval.types import Interval

MOST_GROUPS = 1_000
NO_MEAN = "the score is not a mean over samples: only bounds are known"

Aggregate = Callable[[Floats, Mask], float]
"""(scores, which answers count), both in the order of `Ledger.units`, to the score of the task."""


@dataclass(frozen=True, slots=True)
class AggregateParts:
    """The score under P0, the parts, and the standard error of the score under P1."""

    score: float
    parts: tuple[GapPart, ...]
    error: float


def aggregate_parts(ledger: Ledger, aggregate: Aggregate) -> AggregateParts:
    """The parts of a score that `aggregate` makes."""
    scores = _steps(ledger, aggregate, ledger.scored)
    changes = np.diff(scores)
    left_out = np.array([_steps(ledger, aggregate, ledger.scored & ~group) for group in _groups(ledger)])
    errors = _errors(np.diff(left_out, axis=1))
    exact = {
        name: _exact(ledger, name, float(change), float(error))
        for name, change, error in zip(EXACT, changes, errors, strict=True)
    }
    bounded = {name: _bounded(ledger, name, aggregate, float(scores[-1])) for name in ESTIMATED}
    named = exact | bounded
    parts = tuple(named[name] for name in ORDER if name in named and named[name].n)
    return AggregateParts(float(scores[0]), parts, float(_errors(left_out[:, -1:])[0]))


def _steps(ledger: Ledger, aggregate: Aggregate, present: Mask) -> Floats:
    """The score under P0, and after each exact part."""
    values = ledger.y0
    scores = [aggregate(values, present)]
    for name in EXACT:
        changed = np.where(ledger.kinds[name], ledger.y1, values)
        scores.append(scores[-1] if (changed == values).all() else aggregate(changed, present))
        values = changed
    return np.array(scores)


def _groups(ledger: Ledger) -> Iterator[Mask]:
    """The answers of each cluster, or of each of 1,000 groups of neighboring clusters."""
    names, cluster = np.unique([unit.cluster for unit in ledger.units], return_inverse=True)
    n = min(len(names), MOST_GROUPS)
    group = cluster * n // len(names)
    for number in range(n):
        yield group == number


def _errors(left_out: Floats) -> Floats:
    """Jackknife standard errors of the columns; 0 where nothing was left out more than once."""
    n = len(left_out)
    squares = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt(squares * (n - 1) / n), dtype=np.float64)


def _exact(ledger: Ledger, name: str, value: float, error: float) -> GapPart:
    interval: Interval = (value - Z95 * error, value + Z95 * error)
    part = _part(ledger, name, interval, ledger.bounds(name) if name == "no_answer" else None)
    return replace(part, basis="exact", value=value)


def _bounded(ledger: Ledger, name: str, aggregate: Aggregate, score: float) -> GapPart:
    """A part of which only bounds are known: all its answers wrong, or all right."""
    affected = ledger.affected(name)
    if not affected.any():
        return _part(ledger, name, (0.0, 0.0), (0.0, 0.0))
    present = ledger.scored | affected
    right = aggregate(np.where(affected, 1.0, ledger.y1), present) - score
    wrong = aggregate(np.where(affected, 0.0, ledger.y1), present) - score if name == "missing" else 0.0
    bounds: Interval = (min(wrong, right), max(wrong, right))
    return _part(ledger, name, bounds, bounds)


def _part(ledger: Ledger, name: str, interval: Interval, bounds: Interval | None) -> GapPart:
    return GapPart(
        name=name,
        basis="bounds",
        n=int(ledger.affected(name).sum()),
        value=0.0,
        ci95=interval,
        bounds=bounds,
        detail=ledger.detail(name),
        assumption="" if name in EXACT else NO_MEAN,
        samples=samples_of(ledger, name),
    )


def rest_interval(gap: float, aggregated: AggregateParts, reference_error: float) -> Interval:
    """95 % interval of the rest, as a sample of questions."""
    rest = gap - math.fsum(part.value for part in aggregated.parts)
    half = Z95 * math.hypot(aggregated.error, reference_error)
    return rest - half, rest + half
