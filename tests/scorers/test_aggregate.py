"""Means over scored samples: by category, by question, and of groups."""

from __future__ import annotations

from typing import Any

import pytest

from kvl_eval.scorers.aggregate import by_category, by_question, mean, mean_of_groups, plain_sum, summarise
from kvl_eval.types import Sample, Score, Scored


def answer(name: str, value: float | None, repeat: int = 0, **fields: Any) -> Scored:
    score = Score.not_scored("no_gold") if value is None else Score.of(value, f"{name}?")
    return Scored(sample=Sample(id=name, question="?", row={}, **fields), score=score, repeat=repeat)


def test_samples_without_a_score_are_outside_of_a_mean() -> None:
    assert mean([answer("1", 1.0), answer("2", 0.0), answer("3", None), answer("4", 0.5)]) == 0.5
    assert mean([answer("1", None)]) is None
    assert mean([]) is None


def test_a_sum_is_the_same_in_every_python() -> None:
    """The built-in gives 1.0 and 2.0 from Python 3.12 on, where it makes up for the rounding of each step."""
    assert plain_sum([0.1] * 10) == 0.9999999999999999
    assert plain_sum(iter([1.0, 1e100, 1.0, -1e100])) == 0.0
    assert plain_sum([]) == 0


def test_a_sample_counts_in_each_of_its_labels() -> None:
    scored = [
        answer("1", 1.0, categories={"kind": ("a", "b"), "size": ("s",)}),
        answer("2", 0.0, categories={"kind": ("b",)}),
        answer("3", None, categories={"kind": ("c",)}),
    ]
    found = {
        field: {label: (one.n, one.score) for label, one in labels.items()}
        for field, labels in by_category(scored).items()
    }
    assert found == {"kind": {"a": (1, 1.0), "b": (2, 0.5)}, "size": {"s": (1, 1.0)}}


@pytest.mark.parametrize(
    ("values", "worst"),
    [
        ((1.0, 1.0), 1.0),
        ((1.0, 0.0), 0.0),
        ((1.0, None), None),
        ((None, 0.0), 0.0),
        ((0.75, None), None),
        ((0.25, None), 0.25),
    ],
)
def test_a_question_asked_several_times_has_the_worst_of_its_scores(
    values: tuple[float | None, float | None], worst: float | None
) -> None:
    first, second = values
    asked = [
        answer("q-b", first, group="q"),
        answer("x", 1.0),
        answer("q", second, group="q", categories={"of": ("q",)}),
    ]
    question, other = by_question(asked)
    assert (question.sample.id, question.score.value, other.sample.id) == ("q", worst, "x")
    assert question.sample.categories == {"of": ("q",)}
    assert question.score.extracted == [one.score.extracted for one in (asked[0], asked[2])]


def test_repeats_of_a_question_stay_apart_and_plain_samples_stay_themselves() -> None:
    asked = [answer("q", 1.0, 0, group="q"), answer("q", 0.0, 1, group="q")]
    assert [(one.repeat, one.score.value) for one in by_question(asked)] == [(0, 1.0), (1, 0.0)]
    plain = [answer("1", 1.0), answer("1", 0.0, 1)]
    assert by_question(plain) == plain


def test_a_mean_of_groups_has_their_weights() -> None:
    scored = [answer(f"{n}", float(n == 0), categories={"kind": ("a" if n < 2 else "b",)}) for n in range(4)]
    equal = mean_of_groups(summarise(scored), "kind")
    assert (equal.score, equal.over and equal.over.weights) == (0.25, {"a": 0.5, "b": 0.5})
    weighted = mean_of_groups(summarise(scored), "kind", {"a": 0.8, "b": 0.2})
    assert weighted.score == pytest.approx(0.4)
    nothing = summarise(scored)
    assert mean_of_groups(nothing, "other") is nothing
