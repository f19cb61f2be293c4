"""The interval of a macro mean, against numpy's own stratified resampling, scipy and the textbook formula."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.scorers.aggregate import mean_of_groups, summarise
from kvl_eval.scorers.macro_mean import headline_interval, macro_interval, macro_stderr
from kvl_eval.scorers.statistics import stderr, stderr_clustered, wilson
from kvl_eval.types import Sample, Score, Scored, Summary

SIZES, SHARES = {"a": 40, "b": 90, "c": 200}, {"a": 0.9, "b": 0.5, "c": 0.2}
EQUAL = dict.fromkeys(SIZES, 1 / 3)


def questions(graded: bool = False) -> tuple[list[float], list[str]]:
    draw = random.Random(7)
    groups = [name for name, size in SIZES.items() for _ in range(size)]
    values = [float(draw.random() < SHARES[name]) * (draw.random() if graded else 1) for name in groups]
    return values, groups


def macro(values: list[float], groups: list[str]) -> float:
    return sum(float(np.mean([v for v, g in zip(values, groups, strict=True) if g == name])) for name in SIZES) / 3


def textbook(values: list[float], groups: list[str]) -> float:
    """The stratified standard error: sqrt(sum of w^2 s^2 / n)."""
    parts = [[v for v, g in zip(values, groups, strict=True) if g == name] for name in SIZES]
    return math.sqrt(sum(np.var(part, ddof=1) / len(part) / 9 for part in parts))


@pytest.mark.parametrize("graded", [False, True])
def test_it_agrees_with_the_stratified_standard_error(graded: bool) -> None:
    values, groups = questions(graded)
    expected = textbook(values, groups)
    assert macro_stderr(values, groups, EQUAL) == pytest.approx(expected, rel=1e-6)
    low, high, method = macro_interval(values, groups, EQUAL)
    assert method == "macro bootstrap"
    assert (high - low) / 2 / 1.96 == pytest.approx(expected, rel=0.05)
    assert (low + high) / 2 == pytest.approx(macro(values, groups), abs=0.2 * expected)


def test_it_agrees_with_scipys_bootstrap() -> None:
    values, groups = questions()
    parts = [np.array([v for v, g in zip(values, groups, strict=True) if g == name]) for name in SIZES]
    found = scipy.stats.bootstrap(
        parts,
        lambda *drawn, axis: sum(part.mean(axis=axis) for part in drawn) / 3,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert macro_interval(values, groups, EQUAL)[:2] == pytest.approx((found.low, found.high), abs=0.006)


def test_small_groups_are_not_understated() -> None:
    """Of two and three questions a group: drawing all n would give a standard error a third too small."""
    groups = ["a", "a", "b", "b", "b", "c", "c"]
    values = [0.0, 0.6, 0.2, 0.4, 0.9, 0.1, 0.8]
    low, high, _ = macro_interval(values, groups, EQUAL)
    assert low < macro(values, groups) < high
    expected = textbook(values, groups)
    assert macro_stderr(values, groups, EQUAL) == pytest.approx(expected, rel=1e-6)
    assert (high - low) / 2 / expected == pytest.approx(1.96, rel=0.15)


def test_clusters_across_groups_are_drawn_whole() -> None:
    """Three tracks about the same videos, on which they agree: no more is known than from one track."""
    draw = random.Random(3)
    videos = [f"v{n}" for n in range(100)]
    per_video = [draw.random() for _ in videos]
    values, groups, clusters = per_video * 3, [name for name in SIZES for _ in videos], videos * 3
    wide, narrow = macro_interval(values, groups, EQUAL, clusters), macro_interval(values, groups, EQUAL)
    assert wide[2] == "macro cluster bootstrap"
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(math.sqrt(3), rel=0.06)
    assert macro_stderr(values, groups, EQUAL, clusters) == pytest.approx(stderr(per_video), rel=1e-6)
    assert macro_stderr(values, groups, EQUAL, clusters) == pytest.approx(stderr_clustered(values, clusters), rel=1e-6)


def test_one_group_of_clusters_is_the_clustered_standard_error() -> None:
    values, _ = questions(graded=True)
    clusters = [f"c{index * index % 37}" for index in range(len(values))]
    found = macro_stderr(values, ["all"] * len(values), {"all": 1.0}, clusters)
    assert found == pytest.approx(stderr_clustered(values, clusters), rel=1e-6)


def test_weights_are_kept_whatever_the_sizes() -> None:
    values, groups = questions()
    low, high, _ = macro_interval(values, groups, {"a": 1.0, "b": 0.0, "c": 0.0})
    assert low > 0.7, "only the group of 0.9"
    assert high - low == pytest.approx(2 * 1.96 * (stderr(values[:40]) or 0), rel=0.1)


def test_order_and_names_of_clusters_change_nothing() -> None:
    values, groups = questions(graded=True)
    clusters = [f"{group}{index % 9}" for index, group in enumerate(groups)]
    order = list(range(len(values)))
    random.Random(1).shuffle(order)
    shuffled = [[part[i] for i in order] for part in (values, groups, [f"x{name}" for name in clusters])]
    assert macro_interval(*shuffled[:2], EQUAL, shuffled[2]) == macro_interval(values, groups, EQUAL, clusters)


HALF = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("values", "groups", "clusters"),
    [
        pytest.param([1.0, 0], list("ab"), None, id="one-question-a-group"),
        pytest.param([1.0, 0, 1], list("aab"), list("xxy"), id="one-cluster-a-group"),
    ],
)
def test_too_little_to_draw_from(values: list[float], groups: list[str], clusters: list[str] | None) -> None:
    assert macro_interval(values, groups, HALF, clusters) == (0.0, 1.0, "single")


def test_all_right_and_all_wrong_have_the_width_of_wilson_over_clusters() -> None:
    groups, clusters = list("aaaabb"), list("uuvwxy")
    low, high, method = macro_interval([1.0] * 6, groups, HALF, clusters)
    parts = [1 - wilson(3, 3)[0], 1 - wilson(2, 2)[0]]
    assert (low, high, method) == (pytest.approx(1 - math.hypot(*parts) / 2), 1.0, "macro wilson")
    wrong = macro_interval([0.0] * 6, groups, HALF, clusters)
    assert wrong == (0.0, pytest.approx(1 - low), "macro wilson")
    mixed = macro_interval([1.0] * 4 + [0.0] * 2, groups, HALF, clusters)
    assert mixed[:2] == (pytest.approx(0.5 - parts[0] / 2), pytest.approx(0.5 + parts[1] / 2))


def test_a_group_that_cannot_vary_still_counts() -> None:
    varying = [float(n % 2) for n in range(40)]
    alone = macro_interval(varying, ["a"] * 40, {"a": 1.0})
    one = macro_interval([*varying, 1.0], ["a"] * 40 + ["b"], HALF)
    assert one[2] == "macro bootstrap"
    assert one[:2] == (
        pytest.approx(0.75 - math.hypot((0.5 - alone[0]) / 2, 0.5)),
        pytest.approx(0.25 + alone[1] / 2 + 0.25),
    )
    assert macro_stderr([*varying, 1.0], ["a"] * 40 + ["b"], HALF) is None
    three = macro_interval([*varying, 1.0, 1.0, 1.0], ["a"] * 40 + ["b"] * 3, HALF)
    assert three[0] == pytest.approx(0.75 - math.hypot((0.5 - alone[0]) / 2, (1 - wilson(3, 3)[0]) / 2))
    assert three[1] == one[1]


def test_no_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        macro_interval([], [], {})


def summary_of(scored: list[Scored]) -> Summary:
    return mean_of_groups(summarise(scored), "task")


def test_the_headlines_interval_is_the_macro_means() -> None:
    values, groups = questions()
    scored = [
        Scored(
            sample=Sample(id=str(n), question="?", row={}, categories={"task": (group,)}), score=Score.of(value, None)
        )
        for n, (value, group) in enumerate(zip(values, groups, strict=True))
    ]
    names = [one.sample.id for one in scored]
    summary = summary_of(scored)
    assert summary.score == pytest.approx(macro(values, groups))
    assert headline_interval(summary, scored, names) == macro_interval(values, groups, EQUAL)
    assert headline_interval(summarise(scored), scored, names) == (*wilson(sum(values), len(values)), "wilson")
    assert headline_interval(Summary(score=0.123), scored, names) is None
    assert headline_interval(Summary(score=None), [], []) is None


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from("abc"), st.sampled_from([None, "u", "v", "w"])),
        min_size=1,
        max_size=12,
    )
)
def test_any_questions_have_limits_around_their_score(rows: list[tuple[float, str, str | None]]) -> None:
    values, groups, clusters = ([row[column] for row in rows] for column in range(3))
    weights = {name: 1 / len(set(groups)) for name in groups}
    score = sum(float(np.mean([v for v, g, _ in rows if g == name])) * weight for name, weight in weights.items())
    low, high, _ = macro_interval(values, groups, weights, clusters)
    assert 0 <= low <= score + 1e-9 and score - 1e-9 <= high <= 1
    error = macro_stderr(values, groups, weights, clusters)
    assert error is None or error >= 0
