"""MathVision's protocols: letter or value of an option, given extractions, empty answers, VLMEvalKit unjudged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvl_eval.scorers.mathvision_protocols import score_exact, score_official, score_vlmevalkit
from kvl_eval.types import MISSING, Extraction, Sample, Score

CHOICE = Sample(id="1", question="", row={}, choices=("3", "5", "7", "9", "11"), answers=("B",))
OPEN = Sample(id="2", question="", row={}, answers=("14",))
PROTOCOLS = (score_exact, score_official, score_vlmevalkit)


def facts(score: Score) -> tuple[str, Any]:
    return score.verdict, score.extracted


@pytest.mark.parametrize("score", PROTOCOLS)
def test_nothing_is_scored_without_gold(score: Any) -> None:
    assert score(replace(OPEN, answers=()), "14", MISSING).reason == "no_gold"


@pytest.mark.parametrize(
    ("sample", "reply", "expected", "matched"),
    [
        (CHOICE, r"so \boxed{B}", ("correct", "b"), "gold"),
        (CHOICE, r"so \boxed{5}", ("correct", "5"), "option_value"),
        (CHOICE, r"so \boxed{7}", ("wrong", "7"), None),
        (OPEN, r"so \boxed{14}", ("correct", "14"), "gold"),
        (OPEN, r"so \boxed{14.0}", ("correct", "14.0"), "gold_numeric"),
        (OPEN, r"so \boxed{15}", ("wrong", "15"), None),
    ],
)
def test_the_letter_and_the_value_of_its_option_are_right(
    sample: Sample, reply: str, expected: tuple[str, str], matched: str | None
) -> None:
    for score in (score_exact, score_official):
        found = score(sample, reply, MISSING)
        assert (found.verdict, str(found.extracted).lower()) == expected
        assert found.detail.get("matched_by") == matched


@pytest.mark.parametrize(
    ("given", "exact", "official"),
    [
        ("B", ("correct", "B"), ("correct", "B")),
        ("C", ("wrong", "C"), ("wrong", "C")),
        (" ", ("wrong", " "), ("no_answer", " ")),
        (None, ("wrong", ""), ("no_answer", None)),
    ],
)
def test_a_given_extraction_is_compared_as_it_is(
    given: Extraction, exact: tuple[str, Any], official: tuple[str, Any]
) -> None:
    assert facts(score_exact(CHOICE, r"\boxed{B}", given)) == exact
    assert facts(score_official(CHOICE, r"\boxed{B}", given)) == official


@pytest.mark.parametrize(
    ("sample", "reply", "given", "expected", "method"),
    [
        (CHOICE, "It is B", MISSING, ("correct", "B"), "can_infer"),
        (CHOICE, "It is C", MISSING, ("wrong", "C"), "can_infer"),
        (CHOICE, "no idea at all", MISSING, ("no_answer", None), ""),
        (CHOICE, "C", "B", ("correct", "B"), "can_infer"),
        (OPEN, " 14 ", MISSING, ("correct", "14"), "text"),
        (OPEN, "It is 14", MISSING, ("wrong", "It is 14"), "text"),
        (OPEN, " ", MISSING, ("no_answer", None), ""),
        (OPEN, "14", None, ("no_answer", None), ""),
    ],
)
def test_vlmevalkit_compares_letters_of_choices_and_other_answers_whole(
    sample: Sample, reply: str, given: Extraction, expected: tuple[str, Any], method: str
) -> None:
    found = score_vlmevalkit(sample, reply, given)
    assert (facts(found), found.method) == (expected, method)
