"""Mean relative accuracy at its thresholds, and the numbers that VSI-Bench's scripts read."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kvl_eval.scorers.relative_accuracy import (
    TOLERANCES,
    as_float,
    first_word,
    mean_relative_accuracy,
    scanned_number,
    vlmevalkit_relative_accuracy,
)


def test_ten_tolerances_go_from_a_half_to_a_twentieth() -> None:
    assert len(TOLERANCES) == 10
    assert TOLERANCES[0] == 0.5 and TOLERANCES[-1] == pytest.approx(0.05)
    assert [a - b for a, b in pairwise(TOLERANCES)] == pytest.approx([0.05] * 9)


@pytest.mark.parametrize(
    ("prediction", "target", "accuracy"),
    [
        (4, 4, 1.0),
        (2, 4, 0.1),
        (6, 4, 0.1),
        (1.99, 4, 0.0),
        (3, 4, 0.6),
        (-4, -4, 1.0),
        (-2, -4, 0.1),
        (float("inf"), 4, 0),
    ],
)
def test_the_share_of_tolerances_that_an_error_stays_within(prediction: float, target: float, accuracy: float) -> None:
    assert mean_relative_accuracy(prediction, target) == pytest.approx(accuracy)


def test_a_target_of_zero_is_met_by_zero_and_by_vlmevalkit_within_its_tolerances() -> None:
    assert (mean_relative_accuracy(0, 0), mean_relative_accuracy(0.1, 0)) == (1.0, 0.0)
    assert (vlmevalkit_relative_accuracy(0, 0), vlmevalkit_relative_accuracy(-0.5, 0)) == (1.0, 0.1)
    assert vlmevalkit_relative_accuracy(2, 4) == 0.1


@pytest.mark.parametrize(
    ("reply", "word"), [("3.5 m", "3.5"), ("B. Left", "B"), ("3...", "3"), ("3\nm x", "3\nm"), ("", ""), (" 3", "")]
)
def test_the_first_word_ends_at_a_blank(reply: str, word: str) -> None:
    assert first_word(reply) == word


@pytest.mark.parametrize(("text", "number"), [("3.5", 3.5), ("1e3", 1000.0), ("x", None), ("", None)])
def test_what_python_reads_as_a_number(text: str, number: float | None) -> None:
    assert as_float(text) == number


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("about 3.5 or 4", 3.5),
        ("-2 m", -2.0),
        ("twelve chairs", 12.0),
        ("twenty-one", 21.0),
        ("a hundred and five", 105.0),
        ("two hundred", 200.0),
        ("three thousand one hundred", 3100.0),
        ("thousand", 1000.0),
        ("and then five", 5.0),
        ("two or 7", 2.0),
        ("ninety nine", 99.0),
        ("many", None),
    ],
)
def test_the_number_that_stands_first_counts_in_digits_or_words(reply: str, number: float | None) -> None:
    assert scanned_number(reply) == number
