"""Equality of short mathematical answers: our own evaluator against the rule's examples and the official verdicts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.scorers.math_equal import equal, rounded_tuple, value
from tests.scorers.growth import is_linear

MATHS = st.text(alphabet="0123456789.,+-*/:^!()[]{}\\ aefilnqrstx_$%<'", max_size=40)
TOKENS = (
    *("1", "23", ".5", "1,000", "+", "-", "*", "/", ":", "!", "(", ")", "[", "]", "{", "}", "^", "^{2}", "x", "e^{2}"),
    *(r"\frac{1}{2}", r"\frac", r"\sqrt{", r"\sqrt[3]{8}", r"\pi", r"\log_2", r"\sin"),
)
PIECES = st.lists(st.sampled_from(TOKENS), max_size=14).map("".join)

VALUES = [
    ("3.0", "3"),
    ("2.50", "2.5"),
    (".5", "0.5"),
    ("1,000", "1000"),
    ("1,000.5", "1000.5"),
    ("--5", "5"),
    ("1:2", "0.5"),
    ("1:2:4", "0.12"),
    (r"6\div2", "3.0"),
    ("8/2(1+3)", "1.0"),
    (r"1/2\pi", "0.16"),
    (r"2\frac{1}{3}", "0.67"),
    ("5 5", "25"),
    ("2^3^2", "64"),
    ("-2^2", "-4"),
    ("2^10", "1024"),
    ("2^{10}", "1024"),
    ("5!", "120"),
    ("2^3!", "40320"),
    ("3!^2", "6"),
    (r"\frac{6}{2}", "3.0"),
    (r"\sqrt{4}", "2.0"),
    (r"\sqrt[3]{8}", "2.0"),
    (r"\pi", "3.14"),
    (r"\binom{5}{2}", "10"),
    (r"\log 100", "2.0"),
    (r"\log_2 8", "3.0"),
    (r"\sin\frac{\pi}{2}", "1.0"),
    (r"\sin^2(1)", "0.71"),
    (r"\tan^{-1}(1)", "0.79"),
    (r"\arctan 1", "0.79"),
    (r"\lfloor 2.5 \rfloor", "2"),
    (r"\gcd(6,4)", "2"),
    ("50\\%", "0.5"),
    ("200\\%", "2"),
    ("e^{2}", "7.39"),
    ("5>3", "1"),
    (r"\left(1+2\right)[2]", "6"),
    (r"\dfrac{1}{2}", "0.5"),
]
COMPLETE = [
    ("30)", 30),
    ("30}", 30),
    (r"\frac{1}{4}}.theansweris:\frac{1}{4", 0.25),
    ("5.so the", 5),
    (r"0.\overline{3}", 0),
    ("3_1", 3),
    ("5rows", 5),
    (r"5\right)", 5),
]
WITHOUT_VALUE = [
    *("x", "e", "pi", "5cm", "5 cm", r"\text{cm}", "5%", "5°", r"90^\circ"),
    *(r"\infty", "∞", "π", "√4", "3×4", "6÷2", "−5", r"\ln 2", r"\exp(1)"),
    *(r"\frac12", r"\sqrt2", r"\pm 3", "1,00", "1,5", "(1,2)", "(30", "5+"),
    *("*5", "x=12", r"\sqrt{-1}", "(-8)^{1/3}", "1/0", "{}", "", "٣", r"\left(5)", "2.5!", "(-1)!", "|5|"),
]


@pytest.mark.shared
def test_every_pair_has_the_official_verdict(shared: Path) -> None:
    lines = (shared / "mathvision" / "scoring_is_equal_pairs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    wrong = [row["id"] for row in rows if equal(row["gold"], row["pred"]) != row["expected"]["equal"]]
    assert len(rows) == 418
    assert wrong == []


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_an_expression_has_the_value_that_it_denotes(text: str, expected: str) -> None:
    found = value(text)
    assert found is not None
    assert str(round(found, 2)) == expected


@pytest.mark.parametrize(("text", "expected"), COMPLETE)
def test_reading_stops_silently_where_an_expression_is_complete(text: str, expected: float) -> None:
    assert value(text) == expected


@pytest.mark.parametrize("text", WITHOUT_VALUE)
def test_what_has_no_value(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("gold", "prediction", "expected"),
    [
        pytest.param("ABC", " abc ", True, id="case-and-margins-do-not-count"),
        pytest.param(" ", " ", False, id="blanks-equal-nothing"),
        pytest.param("145/147", "74/75", True, id="two-decimals-absolute"),
        pytest.param("5-2-3-1-4", "5-2-3-4-1", True, id="an-order-is-a-difference"),
        pytest.param("(3,-4)", "(3.0,-4)", True, id="tuples-by-item"),
        pytest.param("(1/2,3)", "(0.5,3)", True, id="items-are-rounded-numbers"),
        pytest.param(r"[0,\infty)", r"[0,\infty)", True, id="same-text"),
        pytest.param("(3,4)", "(4,3)", False, id="order-counts"),
        pytest.param("(6/2,1)", "(3,1)", False, id="a-quotient-is-printed-with-its-point"),
        pytest.param("3", "(3,4)", False, id="number-and-tuple"),
        pytest.param("69{degrees}", "69", False, id="units-only-by-the-same-text"),
    ],
)
def test_equal(gold: str, prediction: str, expected: bool) -> None:
    assert equal(gold, prediction) is expected


def test_a_tuple_keeps_its_text_where_an_item_has_no_value() -> None:
    assert rounded_tuple("(1.5,x)") == "(1.5,x)"
    assert rounded_tuple(r"(-a,\infty,1.126)") == r"(-a,\infty,1.13)"


@pytest.mark.parametrize(
    "text",
    [
        "10**10**10",
        "9^{9^{9}}",
        "9^9^9^9^9",
        "10^{10^{10}}",
        "2.5^{10^{9}}",
        "0.5^{10^{3000}}",
        "99999!!",
        "(999!)!",
        "1000!" * 50,
        r"\binom{1000000}{500000}",
        "9" * 5000,
        "(" * 100_000,
        "-" * 100_000,
        "(((1" + "+1)" * 2,
        r"\frac{" * 10_000,
        r"\sqrt{" * 61 + "4" + "}" * 61,
        r"\sin" * 100_000,
        "__import__('os').system('true')",
        "1" + "*999999999" * 10_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_expressions_have_no_value_and_come_back(text: str) -> None:
    assert value(text) is None
    assert equal("3", text) is False


def test_ordinary_nesting_is_read() -> None:
    assert value("(" * 25 + "5" + ")" * 25) == 5


@given(st.one_of(MATHS, PIECES, st.text(max_size=30)))
def test_a_value_is_a_finite_number_or_none(text: str) -> None:
    found = value(text)
    assert found is None or (isinstance(found, int | float) and abs(found) < math.inf)


@given(st.one_of(MATHS, PIECES), st.one_of(MATHS, PIECES))
def test_equality_is_symmetric_and_ignores_case(left: str, right: str) -> None:
    assert equal(left, right) == equal(right, left) == equal(left.upper(), right)


@given(st.one_of(MATHS, PIECES))
def test_text_equals_itself_unless_blank(text: str) -> None:
    assert equal(text, text) == bool(text.replace(" ", ""))


@settings(max_examples=200)
@given(st.integers(-9999, 9999), st.integers(-9999, 9999), st.integers(1, 999))
def test_arithmetic_agrees_with_fractions(a: int, b: int, c: int) -> None:
    assert value(f"{a}+{b}") == a + b
    assert value(f"{a}-({b})") == a - b
    assert value(rf"\frac{{{a}}}{{{c}}}") == a / c


@pytest.mark.parametrize("unit", ["12345678+", "(", "1.1", r"\left ", "123,456,"])
def test_reading_takes_linear_time(unit: str) -> None:
    assert is_linear(value, unit)


def test_reading_a_tuple_takes_linear_time() -> None:
    assert is_linear(lambda text: rounded_tuple(f"({text})"), "1234567890123456,")
