"""VideoMMMU's letter: the forms, in their order, in which the authors' script looks for one."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.videommmu import official_letter

CHOICES = ("red apple", "mitochondrion", "Josef Albers")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        pytest.param("B", "B", id="bare"),
        pytest.param("so it is B then", "B", id="before-a-blank"),
        pytest.param("so it is C or B then", "B", id="the-last-before-a-blank"),
        pytest.param("the DNA of it", "A", id="the-end-of-a-word"),
        pytest.param("no letter at all", None, id="none-of-four-words"),
        pytest.param("so it is (A) or B then", "A", id="brackets-before-blanks"),
        pytest.param("(A) or (C) or B then", "C", id="the-last-in-brackets"),
        pytest.param("it is B. or (A) then", "B", id="a-dot-before-brackets"),
        pytest.param("it is B: or (A) then", "B", id="a-colon-before-brackets"),
        pytest.param("A. no, B. no, C: yes", "B", id="any-dot-hides-colons"),
        pytest.param("A: no, B: yes", "B", id="the-last-colon"),
        pytest.param("D. it is", None, id="no-option-of-that-letter"),
        pytest.param("B!?", None, id="a-mark-stripped-too-early-stays"),
        pytest.param("B?!", "B", id="in-the-order-of-the-marks"),
        pytest.param("well, it is a mitochondrion, surely", "B", id="an-options-text-in-six-words"),
        pytest.param("it is a mitochondrion, surely", None, id="not-in-five"),
        pytest.param("red apple, no, it was josef albers who did", "C", id="the-last-text"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_first_form_that_occurs_decides(reply: str, letter: str | None) -> None:
    assert official_letter(reply, CHOICES) == letter
