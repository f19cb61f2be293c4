"""Statistics agree with scipy and statsmodels, and do not depend on order, chunking or cluster names."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats import proportion
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from kvl_eval.scorers.statistics import (
    bootstrap,
    group_sequential,
    holm,
    interval,
    majority,
    mcnemar_exact,
    newcombe,
    paired_difference,
    pass_at_k,
    resampled_counts,
    stderr,
    stderr_clustered,
    wilson,
    z_test,
)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (1, 2), (679, 1000), (3, 3040), (2999, 3000)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_wilson_of_nothing_is_the_whole_range() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="wilson"):
        wilson(k, n)


def graded(n: int, seed: int = 5) -> list[float]:
    rng = random.Random(seed)
    return [rng.choice((0.0, 1.0, rng.random())) for _ in range(n)]


@pytest.mark.parametrize(("k", "n", "other_k", "other_n"), [(56, 70, 48, 80), (687, 1000, 679, 1000), (9, 10, 3, 10)])
def test_the_interval_of_a_difference_of_shares_equals_statsmodels(k: int, n: int, other_k: int, other_n: int) -> None:
    low, high = newcombe(k / n, n, other_k / other_n, other_n)
    assert (low, high) == pytest.approx(confint_proportions_2indep(k, n, other_k, other_n, method="newcomb"))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8, 1.0])
def test_explain_x4_the_interval_of_a_difference_narrows_with_correlation(correlation: float) -> None:
    """Newcombe's paired method 10, written out with scipy's Wilson intervals."""
    share, n, other, other_n = 570 / 900, 900, 466 / 872, 872
    low, high = scipy.stats.binomtest(570, n).proportion_ci(method="wilson")
    own_low, own_high = scipy.stats.binomtest(466, other_n).proportion_ci(method="wilson")
    below = (share - low) ** 2 + (own_high - other) ** 2 - 2 * correlation * (share - low) * (own_high - other)
    above = (high - share) ** 2 + (other - own_low) ** 2 - 2 * correlation * (high - share) * (other - own_low)
    expected = (share - other - below**0.5, share - other + above**0.5)
    assert newcombe(share, n, other, other_n, correlation=correlation) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "other_k", "other_n"), [(570, 900, 466, 872), (9, 10, 3, 10), (500, 1000, 501, 1000)]
)
def test_explain_x4_z_equals_statsmodels(k: int, n: int, other_k: int, other_n: int) -> None:
    share, other = k / n, other_k / other_n
    errors = ((share * (1 - share) / n) ** 0.5, (other * (1 - other) / other_n) ** 0.5)
    expected = proportion.test_proportions_2indep(k, n, other_k, other_n, method="wald", correction=False).pvalue
    assert z_test(share - other, *errors) == pytest.approx(expected, rel=1e-9)


def test_explain_x4_without_errors_only_equal_values_do_not_differ() -> None:
    assert (z_test(0.0, 0.0, 0.0), z_test(0.1, 0.0)) == (1.0, 0.0)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_explain_x4_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize("tests", [1, 3, 8])
def test_explain_x4_group_sequential_limits_by_numerical_integration(tests: int) -> None:
    """Density of the sum of increments within the limits, look by look (Armitage, McPherson and Rowe)."""
    alpha, step = 0.05 / tests, 0.5  # variance 1/4 a look
    quarter = scipy.stats.norm.isf(alpha / 4)
    spent = [4 * scipy.stats.norm.sf(quarter / (look / 4) ** 0.5) for look in (1, 2, 3, 4)]
    grid, density = np.zeros(1), np.ones(1)
    for look, (limit, total) in enumerate(zip(group_sequential(tests), spent, strict=True), 1):
        root = (look / 4) ** 0.5
        crossed = sum((density * scipy.stats.norm.sf((limit * root - sign * grid) / step)).sum() for sign in (1, -1))
        assert crossed == pytest.approx(total - (spent[look - 2] if look > 1 else 0.0), rel=0.01, abs=2e-7)
        points = np.linspace(-limit * root, limit * root, 801)
        weights = np.full(len(points), points[1] - points[0])
        weights[[0, -1]] /= 2
        density = (scipy.stats.norm.pdf((points[:, None] - grid) / step) / step @ density) * weights
        grid = points


def test_group_sequential_refuses_more_tests_than_its_table_has() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        group_sequential(9)


def test_explain_x2_resampled_counts_are_those_of_the_units() -> None:
    counts = resampled_counts([3, 0, 5, 1], n=4_000)
    assert counts.shape == (4_000, 4)
    assert (counts.sum(axis=1) == 9).all() and not counts[:, 1].any()
    assert counts.mean(axis=0) == pytest.approx([3, 0, 5, 1], abs=0.1)
    assert (counts == resampled_counts([3, 0, 5, 1], n=4_000)).all()
    assert counts[0].tolist() == [5, 0, 4, 0]


def test_newcombes_own_example() -> None:
    assert newcombe(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_rounded_share_has_a_wider_difference() -> None:
    low, high = newcombe(0.687, 1000, 0.679, 1000)
    wide_low, wide_high = newcombe(0.687, 1000, 0.679, 1000, rounding=0.01)
    assert wide_low < low < high < wide_high
    assert newcombe(1.0, 5, 0.0, 5, rounding=0.5)[1] == 1.0


def test_bootstrap_is_close_to_scipy() -> None:
    values = graded(400)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap(values) == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_bootstrap_does_not_depend_on_order_or_cluster_names() -> None:
    values, clusters = graded(60), [None if i % 7 == 0 else f"c{i % 11}" for i in range(60)]
    order = list(range(60))
    random.Random(1).shuffle(order)
    renamed = {name: f"{90 - i}" for i, name in enumerate(sorted({c for c in clusters if c}))}
    shuffled = [clusters[i] and renamed[clusters[i]] for i in order]
    assert bootstrap([values[i] for i in order], shuffled) == bootstrap(values, clusters)
    assert bootstrap(values, clusters) != bootstrap(values, clusters, seed=1)


def test_bootstrap_draws_are_the_published_philox_words() -> None:
    """Two values 0 and 1: the resamples' means follow from the top bit of each word, so the stream can be checked."""
    words = np.random.Philox(key=0).random_raw(20)
    means = sorted((words.reshape(10, 2) >> np.uint64(63)).mean(axis=1).tolist())
    low, high = (float(np.quantile(means, q)) for q in (0.025, 0.975))
    assert bootstrap([0.0, 1.0], n=10) == (low, high)
    zero = np.random.Philox(key=0, counter=2**256 - 1).random_raw()  # the counter is raised before each block
    assert zero == 0x16554D9ECA36314C, "known answer of Random123 for philox4x64-10, counter 0, key 0"


def test_bootstrap_over_several_chunks_is_one_stream() -> None:
    values = sorted(float(i % 3 == 0) for i in range(400))
    words = np.random.Philox(key=0).random_raw(3000 * 400).reshape(3000, 400)  # more than one chunk of draws
    means = np.array(values)[((words >> np.uint64(32)) * np.uint64(400)) >> np.uint64(32)].mean(axis=1)
    assert bootstrap(values, n=3000) == pytest.approx((np.quantile(means, 0.025), np.quantile(means, 0.975)), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 901])
@pytest.mark.parametrize("kinds", [(0.0,), (0.0, 1.0), (-1.0, 0.0, 1.0), tuple(k / 20 for k in range(21))])
def test_counting_units_of_a_kind_gives_what_looking_up_each_gives(n: int, kinds: tuple[float, ...]) -> None:
    rng = random.Random(n)
    values = sorted(rng.choice(kinds) for _ in range(n))
    words = np.random.Philox(key=0).random_raw(50 * n).reshape(50, n)
    places = ((words >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
    means = np.array(values)[places].mean(axis=1)
    assert bootstrap(values, n=50) == pytest.approx((np.quantile(means, 0.025), np.quantile(means, 0.975)), abs=1e-11)


def test_cluster_bootstrap_is_wider_where_clusters_agree_inside() -> None:
    values = [float(i % 2) for i in range(40) for _ in range(5)]
    clusters = [f"doc{i}" for i in range(40) for _ in range(5)]
    narrow, wide = bootstrap(values), bootstrap(values, clusters)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    expected = sm.OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": np.arange(200) // 5}).bse[0]
    assert (wide[1] - wide[0]) / 2 / 1.96 == pytest.approx(expected, rel=0.05)


def test_bootstrap_needs_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap([])


@pytest.mark.parametrize(
    ("values", "clusters", "method"),
    [
        pytest.param([0, 1, 1], None, "wilson", id="zero-one"),
        pytest.param([0, 1, 1], ["a", None, None], "wilson", id="no-shared-cluster"),
        pytest.param([0, 1, 1], ["a", "a", "b"], "cluster bootstrap", id="shared-cluster"),
        pytest.param([0, 0.5, 1], None, "bootstrap", id="graded"),
        pytest.param([0, 0.5, 1], ["a", "a", "b"], "cluster bootstrap", id="graded-shared"),
        pytest.param([1, 1, 1], ["a", "a", "b"], "wilson over clusters", id="all-right-shared"),
        pytest.param([0.5], None, "single", id="one-graded-value"),
        pytest.param([0, 1, 1], ["a", "a", "a"], "single", id="one-document"),
    ],
)
def test_interval_chooses_its_method(values: list[float], clusters: list[str | None] | None, method: str) -> None:
    low, high, used = interval(values, clusters)
    assert used == method
    assert 0 <= low < high <= 1
    assert low <= sum(values) / len(values) <= high


def test_interval_of_all_right_counts_clusters_not_questions() -> None:
    assert interval([1.0] * 4, ["a", "a", "b", "b"])[:2] == wilson(2, 2)


def test_interval_needs_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        interval([], None)


def test_stderr_equals_scipy() -> None:
    values = graded(123)
    assert stderr(values) == pytest.approx(scipy.stats.sem(values), rel=1e-12)
    assert stderr([0.5]) is None
    assert stderr([]) is None


def test_stderr_clustered_equals_statsmodels() -> None:
    values, groups = graded(90), [i * i % 17 for i in range(90)]
    fitted = sm.OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": np.array(groups)})
    assert stderr_clustered(values, [str(g) for g in groups]) == pytest.approx(fitted.bse[0], rel=1e-9)
    assert stderr_clustered(values, [None] * 90) == stderr(values)
    assert stderr_clustered([0, 1], ["a", "a"]) is None


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(max, draws)) / len(draws))


def test_pass_at_k_refuses_more_draws_than_answers() -> None:
    with pytest.raises(ValueError, match="pass_at_k"):
        pass_at_k(3, 1, 4)


@pytest.mark.parametrize(
    ("answers", "index"),
    [
        pytest.param(["A", "B", "B"], 1, id="most-frequent"),
        pytest.param(["B", "A", "A", "B"], 0, id="tie-goes-to-the-first"),
        pytest.param([None, None, "C"], 2, id="none-does-not-vote"),
        pytest.param([[1, 2], [2, 1], [2, 1]], 1, id="lists"),
        pytest.param([None], None, id="nothing"),
        pytest.param([], None, id="empty"),
    ],
)
def test_majority(answers: list[object], index: int | None) -> None:
    assert majority(answers) == index


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (5, 0), (3, 9), (40, 61), (1200, 1301)])
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(mcnemar([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0)


def test_paired_difference_counts_flips_and_tests_them() -> None:
    a, b = [1, 1, 0, 0, 0, 1, 0, 0], [1, 0, 1, 1, 1, 1, 0, 1]
    found = paired_difference(a, b)
    assert (found.n, found.mean, found.a_only, found.b_only) == (8, 3 / 8, 1, 4)
    assert found.p_value == pytest.approx(scipy.stats.binomtest(1, 5).pvalue)
    assert found.stderr == pytest.approx(scipy.stats.sem(np.subtract(b, a)))
    assert found.ci95[0] <= found.mean <= found.ci95[1]
    assert found.detectable == pytest.approx(2.8016 * found.stderr, rel=1e-4)


def test_paired_difference_of_graded_scores_has_no_mcnemar() -> None:
    assert paired_difference([0.5, 1], [0.25, 1]).p_value is None


def test_paired_difference_clusters() -> None:
    a, b = [0.0] * 20, [float(i < 10) for i in range(20)]
    clusters = [f"d{i // 5}" for i in range(20)]
    alone, together = paired_difference(a, b), paired_difference(a, b, clusters)
    assert together.method == "cluster bootstrap"
    assert together.ci95[0] < alone.ci95[0]


def test_paired_difference_without_flips_still_has_a_width() -> None:
    found = paired_difference([1, 0, 1], [1, 0, 1])
    assert found.mean == 0
    assert found.ci95 == (-wilson(0, 3)[1], wilson(0, 3)[1])
    assert found.p_value == 1.0


def test_paired_difference_needs_equal_lengths() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1], [1, 0])
    with pytest.raises(ValueError, match="at least one sample"):
        paired_difference([], [])


def test_numpy_is_imported_only_for_the_bootstrap() -> None:
    code = (
        "import sys; from kvl_eval.scorers.statistics import interval; interval([0, 1, 1]);"
        "assert 'numpy' not in sys.modules; interval([0, .5, 1]); assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
