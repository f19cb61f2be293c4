"""Sample sizes against statsmodels, a worked example and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import samplesize_confint_proportion

from kvl_eval.scorers.sample_size import (
    best_difference,
    best_precision,
    power_quantile,
    size_for_precision,
    size_of_finite,
    size_to_detect,
    whole_samples,
)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("half", [0.005, 0.02, 0.1])
def test_the_size_for_one_score_is_that_of_statsmodels(share: float, half: float) -> None:
    expected = samplesize_confint_proportion(share, half)
    assert size_for_precision(share * (1 - share), half) == pytest.approx(expected, rel=1e-9)


def test_the_worked_example_of_a_paired_precision() -> None:
    size = size_for_precision(0.12, 0.02)
    assert (whole_samples(size), whole_samples(size_of_finite(size, 3040))) == (1153, 836)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9, 0.99])
def test_quantiles_of_power_are_those_of_scipy(power: float) -> None:
    assert power_quantile(power) == pytest.approx(norm.ppf(power), abs=1e-9)


@pytest.mark.parametrize(("changed", "difference", "power"), [(0.12, 0.03, 0.8), (0.25, 0.05, 0.9), (0.3, 0.1, 0.8)])
def test_a_difference_is_shown_as_often_as_planned(changed: float, difference: float, power: float) -> None:
    n = whole_samples(size_to_detect(changed, difference, power))
    up = (changed + difference) / 2
    draws = np.random.default_rng(0).multinomial(n, [up, changed - up, 1 - changed], size=20_000)
    b, c = draws[:, 0].astype(float), draws[:, 1].astype(float)
    z = (b - c) / np.sqrt(np.maximum(b + c, 1))  # McNemar's statistic, without continuity correction
    assert np.mean(np.abs(z) > norm.ppf(0.975)) == pytest.approx(power, abs=0.02)


def test_half_an_interval_of_a_simulated_difference_is_the_precision() -> None:
    n = whole_samples(size_for_precision(0.2 - 0.04**2, 0.03))
    draws = np.random.default_rng(1).multinomial(n, [0.12, 0.08, 0.8], size=20_000)
    means = (draws[:, 0] - draws[:, 1]) / n
    assert np.mean(np.abs(means - 0.04) < 0.03) == pytest.approx(0.95, abs=0.01)


def test_a_finite_split_never_needs_more_than_it_has() -> None:
    for size in (1.0, 50.0, 1e6):
        assert size_of_finite(size, 900) < min(size, 900)


def test_the_best_of_a_split_is_the_inverse_of_the_size() -> None:
    assert best_precision(0.12, 1153) == pytest.approx(0.02, abs=1e-5)
    assert best_difference(0.2, 1000) == pytest.approx(math.sqrt(7.85 * 0.2 / 1000), rel=1e-3)


def test_a_difference_is_at_most_the_share_of_changed_verdicts() -> None:
    assert size_to_detect(0.01, 0.05) == size_to_detect(0.05, 0.05)
