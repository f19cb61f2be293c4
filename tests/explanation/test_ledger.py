"""The parts of a gap: worked examples, and what holds for any answers."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.explanation.aggregates import aggregate_parts, rest_interval
from kvl_eval.explanation.ledger import EXACT, Ledger
from kvl_eval.explanation.parts import parts_of
from kvl_eval.explanation.resampling import replicates
from kvl_eval.explanation.units import AnswerUnit, GapPart, group_weights, merged_strata, plain_weights


def weighted(units: list[AnswerUnit]) -> list[AnswerUnit]:
    weights = plain_weights([unit.is_scored for unit in units])
    return [replace(unit, weight=weight, share=share) for unit, (weight, share) in zip(units, weights, strict=True)]


def answer(number: int, y0: float | None = 1.0, y1: float | None = None, **changes: object) -> AnswerUnit:
    y1 = y0 if y1 is None else y1
    fields: dict[str, object] = {
        "id": f"q/{number:05}",
        "cluster": f"c/{number:05}",
        "tokens": 10 + number % 7,
        "y0": y0,
        "y1": y1,
        "v0": "correct" if y0 else "wrong",
        "v1": "correct" if y1 else "wrong",
    }
    return AnswerUnit(**{**fields, **changes})  # type: ignore[arg-type]


def by_name(parts: tuple[GapPart, ...]) -> dict[str, GapPart]:
    return {part.name: part for part in parts}


def parts_by_name(units: list[AnswerUnit], n: int = 200) -> dict[str, GapPart]:
    ledger = Ledger(weighted(units))
    return by_name(parts_of(ledger, replicates(ledger, n)))


def test_exact_parts_are_counted() -> None:
    units = [
        *(answer(n, 1.0) for n in range(40)),
        *(answer(n, 0.0, 1.0, v0="no_answer") for n in range(40, 52)),
        *(answer(n, 0.0, 0.0, v0="no_answer", v1="no_answer") for n in range(52, 60)),
        *(answer(n, 1.0, 0.0) for n in range(60, 63)),
        *(answer(n, 0.0, 1.0, judged=True) for n in range(63, 68)),
        *(answer(n, 0.0, float(n % 2), v0="no_answer", drawn=True, options=4) for n in range(68, 72)),
        *(answer(n, 0.0) for n in range(72, 100)),
    ]
    parts = parts_by_name(units)
    assert {name: (part.basis, part.n, round(part.value, 9)) for name, part in parts.items()} == {
        "no_answer": ("exact", 20, 0.12),
        "extraction": ("exact", 3, -0.03),
        "judge": ("exact", 5, 0.05),
        "draws": ("exact", 4, 0.02),
    }
    assert parts["no_answer"].bounds == pytest.approx((0.0, 0.2))
    assert parts["no_answer"].detail == {"extracted": 12, "right": 12}
    assert parts["draws"].detail == pytest.approx(
        {"right": 2, "expected": 0.01, "deviation": math.sqrt(4 * 0.25 * 0.75) / 100}
    )
    assert parts["extraction"].samples == ("q/00060", "q/00061", "q/00062")


def test_the_estimate_is_a_ceiling_where_long_replies_are_worse_and_none_is_as_long_as_the_truncated_ones() -> None:
    finished = [answer(n, float(n % 4 != 0) if n < 150 else float(n % 5 == 0), tokens=n) for n in range(200)]
    for tokens, is_ceiling in ((200, True), (60, False)):
        truncated = [answer(n, 0.0, finish="length", tokens=tokens) for n in range(200, 220)]
        ledger = Ledger(weighted([*finished, *truncated]))
        draws = replicates(ledger, 200)
        assert ledger.is_ceiling("truncated") == is_ceiling
        low, high = draws.interval("truncated", ledger)
        assert (low == 0.0) == is_ceiling and high > ledger.value("truncated")
        rest, sure = draws.unexplained_of_these(0.1, ledger), 0.1 - low
        assert rest[1] == pytest.approx(sure, abs=1e-3)


def test_the_rate_of_truncated_replies_is_that_of_the_longest_finished_ones() -> None:
    finished = [answer(n, float(n % 4 != 0) if n < 150 else float(n % 5 == 0), tokens=n) for n in range(200)]
    truncated = [answer(n, 0.0, finish="length", tokens=60) for n in range(200, 220)]
    looping = [answer(n, 0.0, finish="length", tokens=60, is_loop=True) for n in range(220, 225)]
    right = [answer(n, 1.0, finish="length", tokens=60) for n in range(225, 230)]
    part = parts_by_name([*finished, *truncated, *looping, *right])["truncated"]
    assert (part.n, part.detail) == (25, {"rate": pytest.approx(0.2), "tail": 50, "loops": 5})
    assert part.value == pytest.approx(0.2 * 20 / 230)
    assert part.bounds == pytest.approx((0, 25 / 230))


def test_an_unclosed_thought_is_not_also_truncated() -> None:
    finished = [answer(n, float(n % 2)) for n in range(100)]
    unclosed = [answer(n, 0.0, finish="length", closed=False) for n in range(100, 110)]
    parts = parts_by_name([*finished, *unclosed])
    assert (parts["unclosed"].n, "truncated" in parts) == (10, False)


def test_fewer_than_thirty_finished_replies_leave_bounds_alone() -> None:
    units = [*(answer(n) for n in range(29)), *(answer(n, 0.0, finish="length") for n in range(29, 40))]
    part = parts_by_name(units)["truncated"]
    assert (part.basis, part.value, part.ci95) == ("bounds", 0.0, part.bounds)


def test_missing_answers_score_like_others_of_their_stratum() -> None:
    easy = [answer(n, 1.0, stratum="easy") for n in range(50)]
    hard = [answer(n, float(n % 5 == 0), stratum="hard") for n in range(50, 70)]
    failed = [answer(n, None, status="failed", reason="oom", stratum="hard", v0=None, v1=None) for n in range(70, 100)]
    part = parts_by_name([*easy, *hard, *failed])["missing"]
    score = 54 / 70
    assert part.value == pytest.approx(0.5 * 1.0 + 0.5 * 0.2 - score)
    assert part.bounds == pytest.approx((54 / 100 - score, 84 / 100 - score))
    assert part.detail == {"failed": {"oom": 30}, "pending": 0, "strata": 2}


def test_thin_strata_are_merged_until_they_hold_five_answers() -> None:
    names = ["a"] * 9 + ["b"] * 7 + ["c"] * 2 + ["d"]
    units = [answer(n, stratum=name) for n, name in enumerate(names)]
    numbers = dict(zip(names, merged_strata(units), strict=True))
    assert numbers["b"] == numbers["c"] == numbers["d"] != numbers["a"]


def test_a_macro_mean_weighs_groups_alike() -> None:
    groups = ["a"] * 3 + ["b"] * 5
    scored = [True] * 6 + [False, True]
    weights = group_weights(scored, groups, {"a": 0.5, "b": 0.5})
    assert [weight for weight, _ in weights] == pytest.approx([1 / 6] * 3 + [1 / 8] * 3 + [0.0] + [1 / 8])
    assert math.fsum(share for _, share in weights) == pytest.approx(1.0)


def test_overlap_counts_answers_that_fit_two_parts() -> None:
    units = [
        *(answer(n) for n in range(60)),
        *(answer(n, 0.0, 0.0, v0="no_answer", v1="no_answer", finish="length") for n in range(60, 70)),
        *(answer(n, 0.0, finish="length") for n in range(70, 75)),
    ]
    assert Ledger(weighted(units)).overlap() == {"truncated+no_answer": 10}


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Ledger([answer(0, None, status="failed")])


values = st.sampled_from((0.0, 1.0, 0.5))
random_units = st.lists(
    st.builds(
        lambda y0, y1, status, finish, closed, flags, place: answer(
            place[0],
            y0 if status == "ok" else None,
            y1,
            repeat=place[1],
            cluster=f"c/{place[0] % 7}",
            stratum="abc"[place[0] % 3],
            status=status,
            finish=finish,
            closed=closed,
            v0="no_answer" if flags[0] else "wrong",
            drawn=flags[1],
            judged=flags[2],
            is_loop=flags[3],
            tokens=place[0] * 31 % 97,
        ),
        values,
        values,
        st.sampled_from(("ok", "ok", "ok", "failed", "pending")),
        st.sampled_from(("stop", "stop", "length", "budget")),
        st.sampled_from((None, None, True, False)),
        st.tuples(*[st.booleans()] * 4),
        st.tuples(st.integers(0, 500), st.integers(0, 2)),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda unit: (unit.id, unit.repeat),
).filter(lambda units: any(unit.is_scored for unit in units))


@settings(max_examples=60, deadline=None)
@given(random_units, st.floats(-1, 1), st.randoms(use_true_random=False))
def test_explain_x3_parts_add_up_within_their_bounds(units: list[AnswerUnit], gap: float, rng: random.Random) -> None:
    units = weighted(units)
    ledger = Ledger(units)
    draws = replicates(ledger, 20)
    parts = parts_of(ledger, draws)
    assert math.fsum(ledger.w) == pytest.approx(1.0) == math.fsum(ledger.full_w)
    rest = gap - math.fsum(part.value for part in parts)
    assert math.fsum([rest, *(part.value for part in parts)]) == pytest.approx(gap, abs=1e-9)
    exact = math.fsum(part.value for part in parts if part.name in EXACT)
    assert exact == pytest.approx(ledger.other_score - ledger.score, abs=1e-9)
    for part in parts:
        assert part.n > 0
        assert part.ci95[0] <= part.ci95[1]
        if part.bounds is not None and part.basis != "exact":
            assert part.bounds[0] - 1e-9 <= part.value <= part.bounds[1] + 1e-9
    shuffled = rng.sample(units, len(units))
    other = Ledger(shuffled)
    assert parts_of(other, replicates(other, 20)) == parts


def test_explain_x2_the_same_answers_give_the_same_intervals() -> None:
    rng = random.Random(3)
    units = weighted(
        [
            answer(n, float(rng.random() < 0.5), float(rng.random() < 0.6), cluster=f"c/{n % 90}", tokens=n % 50)
            for n in range(400)
        ]
    )
    once, again = (replicates(Ledger(order)) for order in (units, units[::-1]))
    assert np.array_equal(once.score, again.score)
    assert all(np.array_equal(once.parts[name], again.parts[name]) for name in once.parts)


def test_the_interval_of_an_exact_part_is_that_of_its_mean() -> None:
    """Twelve of a hundred answers gain a point each: the percentile interval is near the normal one."""
    units = [*(answer(n, 0.0, 1.0, v0="no_answer") for n in range(120)), *(answer(n, 0.0) for n in range(120, 1000))]
    low, high = parts_by_name(units, 2000)["no_answer"].ci95
    half = 1.96 * math.sqrt(0.12 * 0.88 / 1000)
    assert (low, high) == pytest.approx((0.12 - half, 0.12 + half), abs=0.003)


def test_one_cluster_says_nothing_about_spread() -> None:
    units = [answer(n, float(n % 2), 1.0, cluster="all", v0="no_answer") for n in range(40)]
    assert parts_by_name(units)["no_answer"].ci95 == (0.0, 1.0)


def test_a_score_that_is_no_mean_is_aggregated_again() -> None:
    """The share of pairs in which both answers are right."""

    def both(scores: np.ndarray, present: np.ndarray) -> float:
        pairs = [scores[n] * scores[n + 1] for n in range(0, len(scores) - 1, 2) if present[n] and present[n + 1]]
        return float(np.mean(pairs)) if pairs else 0.0

    units = [answer(n, 1.0, cluster=f"c/{n // 2:03}") for n in range(160)]
    units += [answer(n, float(n % 2), 1.0, v0="no_answer", cluster=f"c/{n // 2:03}") for n in range(160, 180)]
    units += [answer(n, 0.0, finish="length", cluster=f"c/{n // 2:03}") for n in range(180, 200)]
    aggregated = aggregate_parts(Ledger(weighted(units)), both)
    parts = by_name(aggregated.parts)
    assert (aggregated.score, parts["no_answer"].value) == pytest.approx((0.8, 0.1))
    half = 1.96 * math.sqrt(0.1 * 0.9 / 99)
    assert parts["no_answer"].ci95 == pytest.approx((0.1 - half, 0.1 + half), abs=1e-4)
    assert (parts["truncated"].basis, parts["truncated"].value) == ("bounds", 0.0)
    assert parts["truncated"].bounds == pytest.approx((0.0, 0.1))
    low, high = rest_interval(0.15, aggregated, 0.0)
    assert (low + high) / 2 == pytest.approx(0.05)
