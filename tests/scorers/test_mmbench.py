"""MMBench: where options go when they are rotated, which may be, and the letters that lmms-eval reads."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.mmbench import may_be_rotated, prefetched_letter, rotated, static_letter
from kvl_eval.types import Sample

SAMPLE = Sample(id="1", question="", row={}, choices=("a red car", "a blue car", "a bus"))


@pytest.mark.parametrize(
    ("turns", "choices", "letters"),
    [(0, "wxyz", "ABCD"), (1, "xyzw", "DABC"), (3, "zwxy", "BCDA"), (4, "wxyz", "ABCD"), (5, "xyzw", "DABC")],
)
def test_options_move_and_their_letters_with_them(turns: int, choices: str, letters: str) -> None:
    for answer, moved in zip("ABCD", letters, strict=True):
        assert rotated("wxyz", answer, turns) == (tuple(choices), moved)
    assert rotated("wxyz", None, turns) == (tuple(choices), None)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (("cat", "dog"), True),
        (("A", "dog"), False),
        (("cat", "Z"), False),
        (("a", "7"), True),
        (("cat", "Both A and B"), False),
        (("cat", "Only A"), True),
        (("cat", "Both A and C"), True),
    ],
)
def test_options_that_speak_of_letters_are_not_rotated(choices: tuple[str, ...], expected: bool) -> None:
    assert may_be_rotated(choices) is expected


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("the answer is B", "B"),
        ("A car B", None),
        ("A big car", "A"),
        ("A big car here", None),
        ("E", "E"),
        ("F", None),
        ("(A) it", "A"),
        ("B. or (C)", "B"),
        ("B. C. (A)", "A"),
        ("it is :C).", "C"),
        ("A BUS of course", "C"),
        ("well, A BUS of course", "C"),
        ("a red car or a blue car", None),
    ],
)
def test_a_letter_alone_then_with_marks_then_the_text_of_an_option(reply: str, letter: str | None) -> None:
    assert prefetched_letter(SAMPLE, reply) == letter


@pytest.mark.parametrize(("reply", "letter"), [("B", "B"), ("it is (B) or (C) I think", "C"), ("nothing", None)])
def test_without_a_judge_the_ranked_forms_follow(reply: str, letter: str | None) -> None:
    assert static_letter(SAMPLE, reply) == letter
