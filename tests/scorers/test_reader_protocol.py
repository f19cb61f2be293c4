"""The protocol `reader`: what becomes of a reading, of a given extraction, of options with the same text."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.answers import Wanted
from kvl_eval.scorers.reader_protocol import (
    kind_wanted,
    parsed_or_read,
    read_letter,
    reader_letter,
    reader_score,
    reading_of,
    without_answer,
)
from kvl_eval.types import MISSING, Extraction, Sample, Score, Scored

SAMPLE = Sample(
    id="1", question="", row={}, choices=("Once.", "Twice.", "Three times.", "Four times.", "Never."), answers=("C",)
)
TWINS = Sample(id="2", question="", row={}, choices=("red", "blue", "red"), answers=("C",))
BARE = Sample(id="3", question="", row={}, answers=("D",))


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        (r"Because A fell, \boxed{D}", "D"),
        (r"\boxed{\text{B}}", "B"),
        (r"A is tempting, \boxed{(C).}", "C"),
        (r"\boxed{A} no, \boxed{B}", "B"),
        (r"\boxed{42} The answer is C.", "C"),
        ("The answer is A? No, the answer is **D**.", "D"),
        ("Answer: (b) is wrong. Answer: (B)", "B"),
        ("Final answer：\nC", "C"),
        ("The correct answer is: 'E'", "E"),
        ("  d) ", "D"),
        ("(C).", "C"),
        ("He does it three times", "C"),
        ("THREE TIMES.", "C"),
        ("the answer is a long story", None),
        ("The answer is Apple", None),
        ("Once or twice", None),
        ("A or B", None),
        ("C is washing the dishes", None),
        ("", None),
    ],
)
def test_letters_of_sentences(reply: str, letter: str | None) -> None:
    assert read_letter(SAMPLE, reply) == letter


def test_a_reading_says_how_it_was_found_and_where() -> None:
    reply = "Not sure at first. Answer: C"
    score = reader_letter()(SAMPLE, reply, MISSING)
    assert (score.verdict, score.extracted, score.method, score.reason) == ("correct", "C", "answer_line", None)
    start, end = score.detail["span"]  # type: ignore[misc]
    assert reply[start:end] == "C"


def test_a_reply_without_a_reading_is_no_answer_and_says_why() -> None:
    score = reader_letter()(SAMPLE, "A or B", MISSING)
    assert (score.value, score.verdict, score.extracted, score.reason) == (0, "no_answer", None, "two_answers")
    assert "span" not in score.detail


def test_what_was_passed_over_is_listed() -> None:
    score = reader_letter()(SAMPLE, "Answer: C\n\nSome would say the answer is A.", MISSING)
    (place,) = score.detail["passed"]  # type: ignore[misc]
    assert score.verdict == "correct" and place[1] == "answer_is"


def test_a_label_after_a_word_for_others_is_not_their_saying() -> None:
    score = reader_letter()(SAMPLE, "It fits the one and not the other Answer: $\\boxed{C}$", MISSING)
    assert (score.verdict, score.extracted) == ("correct", "C")


@pytest.mark.parametrize(
    ("extraction", "verdict", "method"),
    [("C", "correct", "given"), (" B ", "wrong", "given"), ("", "no_answer", ""), (None, "no_answer", "")],
)
def test_a_given_extraction_takes_the_place_of_the_reading(extraction: Extraction, verdict: str, method: str) -> None:
    score = reader_letter()(SAMPLE, "Answer: A", extraction)
    assert (score.verdict, score.method) == (verdict, method) and "span" not in score.detail


def test_a_given_number_is_read() -> None:
    reading = reading_of("", "1,200 m", Wanted(kind="float"))
    assert (reading.value, reading.how, reading.span) == (1200, "given", None)


def test_any_option_with_the_text_of_gold_is_right() -> None:
    assert [reader_letter()(TWINS, reply, MISSING).verdict for reply in "ABC"] == ["correct", "wrong", "correct"]
    assert reader_letter()(TWINS, "red", MISSING).verdict == "correct"


def test_a_letter_is_compared_as_gold_is_written() -> None:
    numbered = Sample(id="4", question="", row={}, choices=("left", "right"), answers=("1",))
    score = reader_letter("ABCD".index)(numbered, "(B)", MISSING)
    assert (score.verdict, score.extracted) == ("correct", 1)


def test_a_sample_without_options_has_the_letters_a_to_d() -> None:
    assert [reader_letter()(BARE, reply, MISSING).verdict for reply in ("D", "B", "E")] == [
        "correct",
        "wrong",
        "no_answer",
    ]


def test_nothing_is_scored_without_gold() -> None:
    open_question = Sample(id="5", question="", row={}, choices=("left", "right"))
    compare = reader_score(kind_wanted("float"), lambda one, reading: Score.of(1, reading.value))
    for score in (reader_letter(), parsed_or_read(lambda one, reply: "A", "parser"), compare):
        assert score(open_question, "A", MISSING).verdict == "not_scored"


def test_the_authors_parser_goes_before_the_reader() -> None:
    score = parsed_or_read(lambda one, reply: reply if len(reply) == 1 else None, "parser")
    assert (score(SAMPLE, "C", MISSING).method, score(SAMPLE, "(C)", MISSING).method) == ("parser", "whole")
    assert (score(SAMPLE, "C", "B").verdict, score(SAMPLE, "no idea", MISSING).reason) == ("wrong", "refusal")


def test_replies_without_an_answer_are_counted_by_verdict_or_by_reason() -> None:
    scored = [
        Scored(sample=SAMPLE, score=Score.no_answer("refusal")),
        Scored(sample=TWINS, score=Score.no_answer("no_letter")),
        Scored(sample=BARE, score=Score.of(0, "A")),
    ]
    assert without_answer(scored) == [SAMPLE, TWINS]
    assert without_answer(scored, "no_letter") == [TWINS]
