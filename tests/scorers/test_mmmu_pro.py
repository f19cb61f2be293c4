"""MMMU-Pro's letters: after the last `Answer:`, else as listed, and VLMEvalKit's lines."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.mmmu_pro import listed_letter, official_letter, vlmevalkit_cot, whole_reply
from kvl_eval.types import Sample

SAMPLE = Sample(id="1", question="", row={}, choices=("red apple", "green pear", "blue plum", "none"))


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Answer: B", "B"),
        ("Answer: A. No. Answer: C", "C"),
        ("Answer: DNA", "A"),
        ("Answer: CXZ", "C"),
        ("(B) seems right. Answer: A or D", "B"),
        ("Answer: E", None),
        ("(A) no, (B) yes", "B"),
        ("no letter", None),
    ],
)
def test_the_only_letter_after_the_last_cue_else_the_listed_one(reply: str, letter: str | None) -> None:
    assert official_letter(SAMPLE, reply) == letter


def test_lmms_eval_has_the_second_rule_alone() -> None:
    assert listed_letter(SAMPLE, "(A) no, (B) yes") == "B"
    assert listed_letter(SAMPLE, "nothing") is None


def test_where_a_row_has_no_question_the_reply_is_compared_whole() -> None:
    assert (whole_reply(SAMPLE, "B."), whole_reply(SAMPLE, "")) == ("B.", None)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A is tempting\n  Answer: (B) it is", "B"),
        ("Answer: A\nAnswer: C", "C"),
        ("It is Answer: D", "D"),
        ("Answer: the blue plum", "C"),
        ("B", "B"),
        ("Answer: A or B", None),
    ],
)
def test_vlmevalkit_reads_the_last_line_that_starts_with_the_cue(reply: str, letter: str | None) -> None:
    assert vlmevalkit_cot(SAMPLE, reply) == letter
