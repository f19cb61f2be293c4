"""MMMU's protocols: multiple choice and open questions under each, given extractions, and the authors' draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvl_eval.scorers.mmmu_protocols import (
    is_choice,
    score_exact,
    score_lmms_eval,
    score_official,
    score_reader,
    score_vlmevalkit,
)
from kvl_eval.types import MISSING, Extraction, Sample, Score


def question(kind: str, *answers: str, choices: tuple[str, ...] = (), subject: str = "Art") -> Sample:
    categories = {"question_type": (kind,), "subject": (subject,)}
    return Sample(id="1", question="", row={}, choices=choices, answers=answers, categories=categories)


CHOICE = question("multiple-choice", "B", choices=("red", "blue", "green"))
OPEN = question("open", "8.4")
PROTOCOLS = {
    "official": score_official,
    "reader": score_reader,
    "vlmevalkit": score_vlmevalkit,
    "lmms-eval": score_lmms_eval,
}


def facts(score: Score) -> tuple[str, Any, str]:
    return score.verdict, score.extracted, score.method


@pytest.mark.parametrize(
    ("protocol", "choice", "open_"),
    [
        ("official", ("correct", "B", "letter"), ("correct", [8.4], "text")),
        ("reader", ("correct", "B", "whole"), ("correct", 8.4, "answer_is")),
        ("vlmevalkit", ("correct", "B", "can_infer"), ("correct", "A", "can_infer")),
        ("lmms-eval", ("correct", "B", "letter"), ("wrong", [8.4], "text")),
    ],
)
def test_each_protocol_reads_letters_of_choices_and_values_of_open_questions(
    protocol: str, choice: tuple[str, Any, str], open_: tuple[str, Any, str]
) -> None:
    assert (is_choice(CHOICE), is_choice(OPEN)) == (True, False)
    assert facts(PROTOCOLS[protocol](CHOICE, "It is B", MISSING)) == choice
    assert (
        facts(PROTOCOLS[protocol](OPEN, "8.4" if protocol == "vlmevalkit" else "The answer is 8.4.", MISSING)) == open_
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_scored_without_gold(protocol: str) -> None:
    for sample in (CHOICE, OPEN):
        assert PROTOCOLS[protocol](replace(sample, answers=()), "B", MISSING).reason == "no_gold"


@pytest.mark.parametrize(
    ("protocol", "sample", "reply", "reason"),
    [
        ("official", CHOICE, "none", "no_letter"),
        ("official", OPEN, " ", "empty"),
        ("reader", CHOICE, r"\boxed{none}", "refusal"),
        ("vlmevalkit", CHOICE, "none of them", "undecided"),
        ("lmms-eval", CHOICE, "none", "no_letter"),
    ],
)
def test_what_nothing_is_read_from_is_no_answer(protocol: str, sample: Sample, reply: str, reason: str) -> None:
    score = PROTOCOLS[protocol](sample, reply, MISSING)
    assert (score.verdict, score.reason) == ("no_answer", reason)


@pytest.mark.parametrize(
    ("sample", "given", "expected"),
    [
        (CHOICE, "B", ("correct", "B", "given")),
        (CHOICE, "C", ("wrong", "C", "given")),
        (OPEN, "8.4", ("correct", [8.4], "given")),
        (OPEN, [8.4, "x"], ("correct", [8.4, "x"], "given")),
        (OPEN, [9], ("wrong", [9.0], "given")),
        (CHOICE, None, ("no_answer", None, "")),
        (OPEN, None, ("no_answer", None, "")),
    ],
)
def test_a_given_extraction_goes_before_the_reply(
    sample: Sample, given: Extraction, expected: tuple[str, Any, str]
) -> None:
    assert facts(score_official(sample, "A", given)) == expected


def test_the_reader_opens_a_box() -> None:
    assert facts(score_reader(CHOICE, r"A is wrong, \boxed{\text{B}}", MISSING)) == ("correct", "B", "boxed")
    assert facts(score_reader(OPEN, r"so \boxed{$8.4$}", MISSING)) == ("correct", 8.4, "boxed")
    assert facts(score_reader(CHOICE, r"A is wrong, \boxed{B}", "A")) == ("wrong", "A", "given")
    assert score_official(CHOICE, r"\boxed{B}", MISSING).verdict == "no_answer"


@pytest.mark.parametrize(
    ("answers", "reply", "verdict"),
    [
        (("8.4",), "A", "correct"),
        (("8.4",), "Other Answers", "wrong"),
        (("8.4", "42/5"), "['8.4', '42/5']", "correct"),
        (("B",), "Other Answers", "correct"),
    ],
)
def test_vlmevalkit_makes_open_questions_a_choice_of_gold_and_other(
    answers: tuple[str, ...], reply: str, verdict: str
) -> None:
    assert score_vlmevalkit(question("open", *answers), reply, MISSING).verdict == verdict


def test_draws_follow_the_order_of_subjects_and_not_of_samples() -> None:
    late = question("multiple-choice", "A", choices=("x", "y", "z"), subject="Music")
    early = question("multiple-choice", "A", choices=("x", "y", "z"), subject="Art")
    unknown = question("multiple-choice", "A", choices=("x", "y", "z"), subject="Zen")
    samples = [unknown, late, early, late]
    scores = score_exact([(sample, "none", MISSING) for sample in samples], ["Art", "Music"])
    assert {score.method for score in scores} == {"random_guess"}
    in_order = score_exact([(sample, "none", MISSING) for sample in (early, late, late, unknown)], ["Art", "Music"])
    assert [scores[place] for place in (2, 1, 3, 0)] == in_order
    assert [score.extracted for score in in_order] == ["C", "A", "A", "C"], "random.Random(42).choice"


def test_nothing_is_drawn_for_open_questions_and_given_extractions() -> None:
    bare = replace(CHOICE, choices=())
    items = [(OPEN, " ", MISSING), (CHOICE, "B", None), (bare, "none", MISSING), (CHOICE, "B", MISSING)]
    assert [facts(score) for score in score_exact(items, [])] == [
        ("wrong", [""], "text"),
        ("wrong", None, "given"),
        ("wrong", None, "given"),
        ("correct", "B", "letter"),
    ]
