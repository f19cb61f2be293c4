"""How often intervals of `explain` hold the truth, in simulated worlds: `python -m benchmarks.explain_coverage`.

A world has 900 questions; 11 % of the replies end at a limit, and what those would have scored is known to the
simulation. `random`: cutting has nothing to do with difficulty. `hard`: hard questions run long and are cut more often.
In the others exactly the longest replies are cut. `length`: length has nothing to do with difficulty. `limit`: it grows
with difficulty, so that the longest finished replies are to easier questions than the cut ones: the estimate is too
high, and its interval reaches down to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.measure import Row, main
from kvl_eval.explanation.ledger import Ledger
from kvl_eval.explanation.parts import part_of
from kvl_eval.explanation.resampling import RESAMPLES, replicates
from kvl_eval.explanation.units import AnswerUnit, plain_weights
from kvl_eval.scorers.statistics import newcombe

N, CUT = 900, 0.11
SLOPE = 0.9  # of the log odds of being cut, by difficulty, in `hard`
GOALS = {"random": 0.90, "hard": 0.85, "length": 0.90, "limit": 0.90}
Kind = Literal["random", "hard", "length", "limit"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of worlds whose interval holds the truth, and the mean error of the estimate, a fraction."""

    share: float
    bias: float


def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows: the share of worlds whose interval holds the truth."""
    worlds, gaps = (20, 200) if tiny else (300, 20_000)
    kinds: tuple[Kind, ...] = ("random", "hard", "length", "limit")
    rows = []
    for kind in kinds:
        found = coverage(kind, worlds, 200 if tiny else RESAMPLES)
        what = f"interval of `truncated`, {worlds:,} worlds, {kind}: bias {100 * found.bias:+.1f} points"
        rows.append(_row(what, found.share, None if tiny else GOALS[kind]))
    return [*rows, _row(f"interval of the gap, {gaps:,} worlds", gap_coverage(gaps), None if tiny else 0.93)]


def _row(what: str, share: float, goal: float | None) -> Row:
    return Row(what=what, against="truth", ours=f"{100 * share:.1f} %", theirs="", ratio=share, at_least=goal)


def coverage(kind: Kind, worlds: int, resamples: int) -> Coverage:
    """Of the interval of truncated replies, over worlds with the seeds 0, 1, 2, ..."""
    covered, errors = 0, []
    for seed in range(worlds):
        ledger, truth = world(seed, kind)
        part = part_of(ledger, replicates(ledger, resamples), "truncated")
        covered += part.ci95[0] <= truth <= part.ci95[1]
        errors.append(part.value - truth)
    return Coverage(covered / worlds, float(np.mean(errors)))


def world(seed: int, kind: Kind) -> tuple[Ledger, float]:
    """The answers of one world, and what the truncated ones would have added."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=N)
    right = rng.random(N) < 1 / (1 + np.exp(difficulty - 0.5))
    grows = 0.5 if kind in ("hard", "limit") else 0.0
    wanted = np.exp(4 + grows * difficulty + rng.normal(scale=0.4, size=N))
    if kind in ("length", "limit"):
        cut = wanted > np.quantile(wanted, 1 - CUT)
    else:
        odds = np.exp(SLOPE * difficulty * (kind == "hard"))
        cut = rng.random(N) < CUT * odds / odds.mean()
    seen = np.where(cut, np.minimum(wanted, np.quantile(wanted, 1 - CUT)), wanted)
    weights = plain_weights([True] * N)
    units = [
        AnswerUnit(
            id=f"{n:04}",
            cluster=f"{n:04}",
            finish="length" if cut[n] else "stop",
            tokens=int(seen[n]),
            v0="correct" if right[n] and not cut[n] else "wrong",
            y0=float(right[n] and not cut[n]),
            y1=float(right[n] and not cut[n]),
            weight=weights[n][0],
            share=weights[n][1],
        )
        for n in range(N)
    ]
    return Ledger(units), float((right & cut).sum()) / N


def gap_coverage(worlds: int) -> float:
    """Share of pairs of results with independent errors whose interval holds the true gap."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(worlds):
        ours, theirs = rng.uniform(0.2, 0.9, size=2)
        k, other = rng.binomial(N, ours), rng.binomial(1_000, theirs)
        low, high = newcombe(other / 1_000, 1_000, k / N, N)
        covered += low <= theirs - ours <= high
    return covered / worlds


if __name__ == "__main__":
    main(__doc__, measure)
