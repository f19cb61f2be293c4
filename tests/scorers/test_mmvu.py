"""MMVU's rules: what lmms-eval takes for right."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.mmvu import choice_correct, cleaned, logged_letter, open_correct

CHOICES = {"A": "Newton", "B": "the law of Ohm", "C": ""}


@pytest.mark.parametrize(
    ("reply", "gold", "expected"),
    [
        ("A, B and C", "B", True),
        ("it is b", "B", True),
        ("about", "B", False),
        ("The Law of Ohm", "B", True),
        ("obviously a law", "B", True),
        ("a law", "B", False),
        ("obviously of", "B", False),
        ("nothing", "C", False),
        ("newton", "A", True),
    ],
)
def test_the_letter_its_option_or_a_longer_word_of_it_is_right(reply: str, gold: str, expected: bool) -> None:
    assert choice_correct(reply, gold, CHOICES) is expected


@pytest.mark.parametrize(
    ("reply", "letter"), [("so B or C", "B"), ("b", None), ("F", None), ("DNA", None), ("(E)", "E")]
)
def test_the_log_shows_the_first_capital_that_stands_alone(reply: str, letter: str | None) -> None:
    assert logged_letter(reply) == letter


def test_texts_are_compared_without_case_blanks_and_raised_digits() -> None:
    assert cleaned("  X²  +\n10⁹ ") == "x^2 + 10^9"


@pytest.mark.parametrize(
    ("reply", "gold", "right"),
    [
        pytest.param("Oxygen", "oxygen ", True, id="equal"),
        pytest.param("it is oxygen", "oxygen", True, id="gold-in-the-reply"),
        pytest.param("xyge", "oxygen", True, id="reply-in-gold"),
        pytest.param("xyg", "oxygen", True, id="reply-of-half-of-gold"),
        pytest.param("xy", "oxygen", True, id="reply-of-less-than-half"),
        pytest.param("n", "oxygen", True, id="reply-of-one-sign"),
        pytest.param("", "oxygen", True, id="empty-reply"),
        pytest.param("fusion", "ion", True, id="short-gold-inside-a-word"),
        pytest.param("an ion!", "ion", True, id="short-gold-alone"),
        pytest.param("fusions", "usion", True, id="longer-gold-inside-a-word"),
        pytest.param("about 3.149", "3.14 m", True, id="numbers-closer-than-a-hundredth"),
        pytest.param("about 0.01", "0.00", False, id="numbers-exactly-a-hundredth-apart"),
        pytest.param("about 3.151", "3.14 m", False, id="numbers-a-hundredth-apart"),
        pytest.param("the law is of Ohm, surely", "the law of Ohm", True, id="every-longer-word"),
        pytest.param("the law", "Ohm and a law", False, id="not-every-longer-word"),
        pytest.param("no such thing", "of it", True, id="no-longer-words"),
        pytest.param("Ohm and five more words here law the of", "the law of Ohm says so much", False, id="six"),
        pytest.param("it takes O(N log N)", "time O(n log n) here as always", True, id="equal-orders"),
        pytest.param("it takes O(n)", "time O(n log n) here as always", False, id="other-orders"),
    ],
)
def test_an_open_answer_is_right_by_one_of_five_rules(reply: str, gold: str, right: bool) -> None:
    assert open_correct(reply, gold) is right
