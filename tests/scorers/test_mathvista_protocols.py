"""MathVista's protocols on one answer each: what they read, what they compare, and what is no answer."""

from __future__ import annotations

from typing import Any

import pytest

from kvl_eval.scorers.mathvista_protocols import (
    PREFETCH,
    score_exact,
    score_lmms_eval,
    score_official,
    score_vlmevalkit,
)
from kvl_eval.types import MISSING, Extraction, Sample, Score


def question(kind: str, gold: str | None, *choices: str, precision: int | None = None) -> Sample:
    row = {"question_type": "multi_choice" if choices else "free_form", "answer_type": kind, "precision": precision}
    return Sample(id="1", question="?", row=row, choices=choices, answers=() if gold is None else (gold,))


INTEGER, FLOAT = question("integer", "14"), question("float", "1.5", precision=1)
LIST, CHOICE = question("list", "[1, 2]"), question("text", "cat", "dog", "cat", "cow")
PROTOCOLS = (score_official, score_exact, score_lmms_eval, score_vlmevalkit)


def facts(score: Score) -> tuple[str, Any, str]:
    return score.verdict, score.extracted, score.method


@pytest.mark.parametrize("score", PROTOCOLS)
@pytest.mark.parametrize("reply", ["14", "no number"])
def test_nothing_is_scored_without_gold(score: Any, reply: str) -> None:
    for sample in (question("integer", None), question("text", None, "dog", "cat")):
        assert score(sample, reply, "14").reason == "no_gold"
        if score is not score_exact:
            assert score(sample, reply, MISSING).reason == "no_gold"


@pytest.mark.parametrize(
    ("sample", "reply", "expected"),
    [
        (INTEGER, "It is 14.", ("correct", "14")),
        (INTEGER, "It is 15.", ("wrong", "15")),
        (FLOAT, "about 1.5 m", ("correct", "1.5")),
        (CHOICE, "The answer is B", ("correct", "cat")),
        (CHOICE, "(C)", ("wrong", "cow")),
    ],
)
def test_official_reads_a_reply_by_the_rule(sample: Sample, reply: str, expected: tuple[str, str]) -> None:
    score = score_official(sample, reply, MISSING)
    assert (score.verdict, score.extracted) == expected


@pytest.mark.parametrize(
    ("reply", "given", "reason"),
    [
        ("no number", MISSING, "none"),
        (" ", MISSING, "empty"),
        ("14", "", "empty"),
        ("14", None, "empty"),
        ("14", "x", "wrong_format"),
    ],
)
def test_official_has_no_credit_for_what_is_no_answer(reply: str, given: Extraction, reason: str) -> None:
    score = score_official(INTEGER, reply, given)
    assert (score.verdict, score.reason, score.value) == ("no_answer", reason, 0.0)


@pytest.mark.parametrize("score", PROTOCOLS)
def test_a_given_extraction_goes_before_the_reply(score: Any) -> None:
    right, wrong = score(INTEGER, "15", "14"), score(INTEGER, "14", "15")
    assert (right.verdict, right.method) == ("correct", "given")
    assert (wrong.verdict, wrong.method) == ("wrong", "given")
    assert str(wrong.extracted) == "15"


def test_exact_asks_where_the_authors_ask() -> None:
    assert facts(score_exact(INTEGER, "14", MISSING)) == ("correct", "14", "exact")
    assert score_exact(INTEGER, "It is 14", MISSING).reason == "judge_missing"
    assert score_exact(INTEGER, "It is 14", None).verdict == "no_answer"
    assert facts(score_exact(CHOICE, "cat", MISSING)) == ("correct", "cat", "exact")


def test_lmms_eval_never_finds_a_float_right() -> None:
    assert score_lmms_eval(INTEGER, "It is 14", MISSING).verdict == "correct"
    for given in (MISSING, "1.5"):
        assert score_lmms_eval(FLOAT, "1.5", given).reason == "precision_fault"


@pytest.mark.parametrize(
    ("sample", "reply", "expected"),
    [
        (INTEGER, "14", ("correct", 14, PREFETCH)),
        (INTEGER, " 14 ", ("correct", 14, PREFETCH)),
        (INTEGER, "14.0", ("no_answer", None, "whole")),
        (FLOAT, "1.50", ("correct", 1.5, PREFETCH)),
        (FLOAT, "1.6", ("wrong", 1.6, "exact")),
        (CHOICE, "B", ("correct", "B", PREFETCH)),
        (CHOICE, "C", ("wrong", "C", PREFETCH)),
        (LIST, "[1, 2]", ("no_answer", None, "whole")),
    ],
)
def test_vlmevalkit_compares_the_reply_itself_before_an_extraction(
    sample: Sample, reply: str, expected: tuple[str, Any, str]
) -> None:
    found = score_vlmevalkit(sample, reply, MISSING)
    assert facts(found) == expected
    assert type(found.extracted) is type(expected[1])


def test_vlmevalkit_never_finds_a_choice_right_whose_gold_is_none_of_them() -> None:
    assert score_vlmevalkit(question("text", "horse", "dog", "cat"), "B", MISSING).verdict == "wrong"
