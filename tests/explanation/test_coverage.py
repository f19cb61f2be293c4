"""Intervals hold the truth as often as they claim, in simulated worlds with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kvl_eval.explanation.ledger import Ledger
from kvl_eval.explanation.parts import part_of
from kvl_eval.explanation.resampling import replicates
from kvl_eval.explanation.units import AnswerUnit, plain_weights
from kvl_eval.scorers.statistics import newcombe

N, CUT = 900, 0.11


def world(seed: int, *, hard: bool) -> tuple[Ledger, float]:
    """The answers of one world, and what truncated ones would have added; with `hard` difficult questions run long."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=N)
    right = rng.random(N) < 1 / (1 + np.exp(difficulty - 0.5))
    wanted = np.exp(4 + (0.5 * difficulty if hard else 0.0) + rng.normal(scale=0.4, size=N))
    limit = np.quantile(wanted, 1 - CUT)
    cut = wanted > limit if hard else rng.random(N) < CUT
    weights = plain_weights([True] * N)
    units = [
        AnswerUnit(
            id=f"{n:04}",
            cluster=f"{n:04}",
            finish="length" if cut[n] else "stop",
            tokens=int(min(wanted[n], limit)),
            v0="correct" if right[n] and not cut[n] else "wrong",
            y0=float(right[n] and not cut[n]),
            y1=float(right[n] and not cut[n]),
            weight=weights[n][0],
            share=weights[n][1],
        )
        for n in range(N)
    ]
    return Ledger(units), float((right & cut).sum()) / N


@pytest.mark.slow
@pytest.mark.parametrize(("hard", "least"), [(True, 0.85), (False, 0.90)])
def test_explain_x5_the_interval_of_truncated_replies_covers_its_truth(hard: bool, least: float) -> None:
    covered = 0
    for seed in range(300):
        ledger, truth = world(seed, hard=hard)
        low, high = part_of(ledger, replicates(ledger, 400), "truncated").ci95
        covered += low <= truth <= high
    assert covered / 300 >= least


def test_explain_x5_the_interval_of_a_gap_covers_the_truth_with_independent_errors() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2_000):
        ours, theirs = rng.uniform(0.2, 0.9, size=2)
        k, other = rng.binomial(N, ours), rng.binomial(1_000, theirs)
        low, high = newcombe(other / 1_000, 1_000, k / N, N)
        covered += low <= theirs - ours <= high
    assert covered / 2_000 >= 0.93
    assert covered / 2_000 <= 0.975 and math.isfinite(covered)
