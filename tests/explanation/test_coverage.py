"""Intervals hold the truth as often as they claim, in simulated worlds with fixed seeds."""

from __future__ import annotations

import pytest

from benchmarks.explain_coverage import Kind, coverage, gap_coverage, world


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("hard", 0.85), ("random", 0.90), ("length", 0.90), ("limit", 0.90)])
def test_explain_x5_the_interval_of_truncated_replies_covers_its_truth(kind: Kind, least: float) -> None:
    assert coverage(kind, worlds=300, resamples=400).share >= least


def test_explain_x5_the_bounds_hold_the_truth_even_where_the_limit_alone_decides() -> None:
    for seed in range(5):
        ledger, truth = world(seed, "limit")
        low, high = ledger.bounds("truncated") or (0.0, 0.0)
        assert low <= truth <= high


def test_explain_x5_the_interval_of_a_gap_covers_the_truth_with_independent_errors() -> None:
    assert 0.93 <= gap_coverage(2_000) <= 0.975
