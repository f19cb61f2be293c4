from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.anls import anls
from tests.scorers.growth import is_linear

texts = st.text(max_size=40)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        pytest.param("PARIS", ["paris"], 1.0, id="case-does-not-count"),
        pytest.param("pari", ["paris"], 0.8, id="one-edit-in-five-letters"),
        pytest.param("rome", ["paris"], 0.0, id="below-threshold-is-zero"),
        pytest.param("abxx", ["abcd"], 0.5, id="exactly-the-threshold-stays"),
        pytest.param("a  \n b", ["A b"], 1.0, id="runs-of-white-space-are-one-space"),
        pytest.param("paris.", ["paris"], 1 - 1 / 6, id="a-full-stop-is-an-edit"),
        pytest.param("ab", ["abcd"], 0.5, id="half-right"),
        pytest.param("ab      ", ["abcd"], 0.75, id="white-space-raises-a-wrong-answers-score"),
        pytest.param("", ["paris"], 0.0, id="empty-prediction"),
        pytest.param("", [""], 1.0, id="nothing-expected-nothing-said"),
        pytest.param("10", ["10%", "10"], 1.0, id="best-of-several-answers"),
        pytest.param("SS", ["ß"], 0.0, id="edits-are-counted-in-lower-case"),
        pytest.param("tße", ["toe"], 0.75, id="lengths-are-counted-in-upper-case"),
        pytest.param("a\xa0b", ["a b"], 1.0, id="any-white-space-splits"),
    ],
)
def test_anls(prediction: str, answers: list[str], expected: float) -> None:
    assert anls(prediction, answers) == pytest.approx(expected, abs=1e-12)


def test_without_answers_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        anls("x", [])


@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_value_is_zero_or_at_least_the_threshold(prediction: str, answers: list[str]) -> None:
    value = anls(prediction, answers)
    assert value == 0 or 0.5 <= value <= 1


@given(texts, st.lists(texts, max_size=3))
def test_an_answer_repeated_word_for_word_scores_one(answer: str, others: list[str]) -> None:
    assert anls(answer, [*others, answer]) == 1.0


@given(texts, st.lists(texts, min_size=1, max_size=3), texts)
def test_a_further_answer_never_lowers_the_score(prediction: str, answers: list[str], other: str) -> None:
    assert anls(prediction, [*answers, other]) >= anls(prediction, answers)


@given(st.text(alphabet="abcXYZ 09", max_size=30), st.text(alphabet="abcXYZ 09", min_size=1, max_size=30))
def test_case_of_a_prediction_does_not_count(prediction: str, answer: str) -> None:
    assert anls(prediction.upper(), [answer]) == anls(prediction.lower(), [answer])


@pytest.mark.parametrize("unit", ["a", " ", "the answer is ", "ß"])
def test_growth_is_linear_in_the_response(unit: str) -> None:
    assert is_linear(lambda text: anls(text, ["the answer is forty-two", "x"]), unit)
