from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.contains import contains, contains_half_width, contains_lower_formula
from tests.scorers.growth import is_linear

texts = st.text(max_size=30)


@pytest.mark.parametrize(
    ("prediction", "answer", "formula", "found"),
    [
        pytest.param("The word is: CENTRE.", "centre", False, True, id="case-does-not-count-in-text"),
        pytest.param("concatenate", "cat", False, True, id="part-of-a-word-counts"),
        pytest.param("c a t", "cat", False, False, id="spaces-count-in-text"),
        pytest.param("new\nyork", "New York", False, True, id="a-newline-is-a-space"),
        pytest.param("new  york", "new york", False, False, id="runs-of-spaces-stay"),
        pytest.param("new\r\nyork", "new york", False, False, id="a-carriage-return-stays"),
        pytest.param("６ｍｇ", "6mg", False, False, id="full-width-is-another-text"),
        pytest.param("$x_{1} = 2$", "x _ { 1 } = 2\n", True, True, id="spaces-do-not-count-in-formulas"),
        pytest.param("X = 2", "x = 2", True, False, id="case-counts-in-formulas"),
        pytest.param("x\t= 2", "x = 2", True, False, id="a-tab-stays-in-formulas"),
        pytest.param("x\n=\n2", "x = 2", True, True, id="newlines-go-from-formulas"),
        pytest.param("anything", "", False, True, id="an-empty-answer-is-everywhere"),
        pytest.param("", "cat", False, False, id="empty-prediction"),
    ],
)
def test_contains(prediction: str, answer: str, formula: bool, found: bool) -> None:
    assert (contains(prediction, [answer], formula=formula) is not None) is found


def test_any_of_the_answers_counts_and_the_first_is_named() -> None:
    assert contains("it weighs 6 mg", ["6mg", "6 mg", "mg"], formula=False) == "6 mg"


def test_half_width_folding_leaves_formulas_alone() -> None:
    assert contains_half_width("６　ｍｇ", ["6 mg"], formula=False) == "6 mg"
    assert contains_half_width("ｘ+1", ["x+1"], formula=True) is None


def test_the_old_fault_never_matches_a_formula_with_capitals() -> None:
    assert contains_lower_formula("A=b", ["A=b"], formula=True) is None
    assert contains_lower_formula("A=b", ["a=b"], formula=True) == "a=b"
    assert contains_lower_formula("CENTRE", ["Centre"], formula=False) == "Centre"


@given(texts, texts, texts, st.booleans())
def test_text_around_a_match_changes_nothing(before: str, answer: str, after: str, formula: bool) -> None:
    if contains(answer, [answer], formula=formula) is not None and answer == answer.strip():
        assert contains(f"{before}|{answer}|{after}", [answer], formula=formula) == answer


@given(texts, st.lists(texts, max_size=4), st.booleans())
def test_what_is_found_is_one_of_the_answers(prediction: str, answers: list[str], formula: bool) -> None:
    for rule in (contains, contains_half_width, contains_lower_formula):
        found = rule(prediction, answers, formula=formula)
        assert found is None or found in answers


@pytest.mark.parametrize("unit", ["a", " ", "aab", "\n"])
@pytest.mark.parametrize("formula", [False, True])
def test_growth_is_linear_in_the_response(unit: str, formula: bool) -> None:
    assert is_linear(lambda text: contains(text, ["aaaab", "ab a"], formula=formula), unit)
