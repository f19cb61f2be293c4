"""lmms-eval's ranked letters, and what a protocol that compares letters makes of them."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.option_letter import (
    inferred_score,
    letter_score,
    ranked_letter,
    ranked_over,
    undecided,
)
from kvl_eval.types import MISSING, Sample

SAMPLE = Sample(id="1", question="", row={}, choices=("left", "right", "up"), answers=("B",))
NO_GOLD = Sample(id="2", question="", row={}, choices=("left", "right"))


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        pytest.param("B1x or (C)", "B", id="at-the-start-before-a-digit"),
        pytest.param("Bx or (C)", "C", id="not-at-the-start-of-a-word"),
        pytest.param("(C) or 1B", "B", id="at-the-end-behind-a-digit"),
        pytest.param("(C) or xB", "C", id="not-at-the-end-of-a-word"),
        pytest.param("B it is, not 1C", "B", id="the-start-before-the-end"),
        pytest.param("so (B), the answer is C here", "C", id="a-phrase-before-brackets"),
        pytest.param("it is (B) no A. here", "B", id="brackets-before-a-dot"),
        pytest.param("it is B. no A: here", "B", id="a-dot-before-a-colon"),
        pytest.param("it is B: no A) here", "B", id="a-colon-before-a-bracket"),
        pytest.param("it is B) no A here", "B", id="a-bracket-before-a-blank"),
        pytest.param("it is (A) then (B) here", "B", id="within-a-form-the-last"),
        pytest.param("xAx xBx", "B", id="anywhere-the-last"),
        pytest.param("nothing", None, id="none"),
    ],
)
def test_of_several_forms_the_surest_counts(reply: str, letter: str | None) -> None:
    assert ranked_letter(reply, "ABC") == letter


def test_only_letters_of_options_are_read() -> None:
    assert ranked_over(SAMPLE, "D") is None
    assert ranked_over(Sample(id="3", question="", row={}), "D") == "D", "A to D where a sample has no options"


def test_a_score_compares_the_letter_with_gold() -> None:
    score = letter_score(ranked_over)
    assert (score(SAMPLE, "B", MISSING).verdict, score(SAMPLE, "B", MISSING).method) == ("correct", "letter")
    assert (score(SAMPLE, "A", MISSING).verdict, score(SAMPLE, "A", MISSING).extracted) == ("wrong", "A")
    assert (score(SAMPLE, "?", MISSING).verdict, score(SAMPLE, "?", MISSING).reason) == ("no_answer", "no_letter")
    assert score(NO_GOLD, "B", MISSING).verdict == "not_scored"


def test_a_given_extraction_goes_before_the_reply() -> None:
    score = letter_score(ranked_over)
    assert (score(SAMPLE, "A", " B ").verdict, score(SAMPLE, "A", "B").method) == ("correct", "given")
    assert score(SAMPLE, "B", "A").verdict == "wrong"
    assert score(SAMPLE, "B", None).verdict == score(SAMPLE, "B", " ").verdict == "no_answer"


def test_a_letter_may_be_compared_as_the_number_that_gold_is() -> None:
    sample = Sample(id="1", question="", row={}, choices=("left", "right"), answers=("1",))
    score = letter_score(ranked_over, value="ABCD".index)(sample, "B", MISSING)
    assert (score.verdict, score.extracted) == ("correct", 1)


def test_a_reply_that_needs_a_judge_is_worth_what_the_protocol_says() -> None:
    assert inferred_score(SAMPLE, "left or right", MISSING) == undecided(SAMPLE)
    assert undecided(SAMPLE).reason == "undecided"
    assert (inferred_score(SAMPLE, "B", MISSING).verdict, inferred_score(SAMPLE, "B", MISSING).method) == (
        "correct",
        "can_infer",
    )
