"""Needle in a haystack: the numbers of an answer, and when the hidden one counts as found."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.needle import is_exact, is_recalled, numbers


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("It is 1234567.", ["1234567"]),
        ("1,234,567 or 1_234_567 or 1'234'567 or 1 234 567", ["1234567"] * 4),
        ("1,234 567", ["1234", "567"]),
        ("12,34", ["12", "34"]),
        ("1234,567", ["1234", "567"]),
        ("1,2345", ["1", "2345"]),
        ("１２３", ["123"]),
        ("◁think▷ 7 ◁/think▷ 8", ["8"]),
        ("◁think▷ 7", []),
        ("7 ◁/think▷ 8 ◁/think▷ 9", ["8", "9"]),
        ("none", []),
    ],
)
def test_grouped_digits_are_one_number_and_thoughts_hold_none(reply: str, found: list[str]) -> None:
    assert numbers(reply) == found


def test_a_needle_is_recalled_if_it_is_there_and_no_distractor_is() -> None:
    assert is_recalled(["1", "7"], "7")
    assert not is_recalled(["1"], "7")
    assert not is_recalled(["1", "7"], "7", ["1", "3"])
    assert is_recalled(["1", "7"], "7", ["3"])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("7", True), (" **7**.\n", False), ("**7**\n", True), ("7.", True), ("7..", False), ("$7$", True), ("a 7", False)],
)
def test_an_exact_answer_is_the_value_and_nothing_else(reply: str, expected: bool) -> None:
    assert is_exact(reply, "7") is expected
