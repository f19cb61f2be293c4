"""What VLMEvalKit reads from replies to VSI-Bench: seven steps to a letter, and numbers."""

from __future__ import annotations

import pytest

from kvl_eval.scorers.spatial_bench import LINES, WINDOW, matched_number, matched_option


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        pytest.param("<answer>b</answer>\nC", "B", id="block-before-lines"),
        pytest.param("<answer>J</answer>", "J", id="block-reads-a-to-j"),
        pytest.param("<answer>B", "B", id="an-open-block-is-a-line-of-one-capital"),
        pytest.param("it is c) </answer>\nD", "C", id="before-a-closing-tag"),
        pytest.param("it is c </think>\nand so on", "C", id="before-the-end-of-a-thought"),
        pytest.param("A\nB\nso it goes", "B", id="the-last-line-that-is-a-letter"),
        pytest.param("D. the left one\nwell", "D", id="a-line-that-opens-like-an-option"),
        pytest.param("it can be A or B\nI take C", "C", id="one-capital-in-a-line"),
        pytest.param("I take C\nnot A or B", "C", id="a-line-of-several-says-nothing"),
        pytest.param("option A: left\nB", "B", id="a-line-that-names-an-option-says-nothing"),
        pytest.param("B\n" + "so\n" * (LINES - 1), "B", id="the-last-lines"),
        pytest.param("B\n" + "so A or C\n" * LINES, None, id="not-the-line-before"),
        pytest.param("A?\n</think>\nI take C", "C", id="after-the-thought-first"),
        pytest.param("the final answer: e then\n" + "no\n" * LINES, "E", id="a-phrase"),
        pytest.param("I saw B here\n" + "no\n" * LINES, "B", id="the-only-capital"),
        pytest.param("\u200bB\ufeff", "B", id="invisible-signs"),
        pytest.param("g", None, id="no-such-letter"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_first_step_that_finds_a_letter_decides(reply: str, letter: str | None) -> None:
    assert matched_option(reply) == letter


def test_a_closing_tag_counts_near_the_end_alone() -> None:
    reply = "B </answer>" + "x" * (WINDOW - len(" </answer>") - 1)
    assert matched_option(reply) == "B"


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        pytest.param("<answer> 3.5 </answer> or 4", 3.5, id="block-before-the-last"),
        pytest.param("<answer>3 m or so</answer> 4", 3.0, id="block-that-ends-later"),
        pytest.param("<answer>3 4", 4.0, id="a-block-that-is-open"),
        pytest.param("1 </think> 2 then 3", 3.0, id="the-last-after-the-thought"),
        pytest.param("7 </think> none", 7.0, id="the-last-anywhere"),
        pytest.param("about twelve", 12.0, id="words"),
        pytest.param("twenty-one", -1.0, id="words-one-by-one"),
        pytest.param("it is -.5e1", -5.0, id="scientific"),
        pytest.param("[2, 3]", 2.0, id="the-first-of-a-list"),
        pytest.param("[]", None, id="an-empty-list"),
        pytest.param("[2, x]", None, id="what-looks-like-a-list"),
        pytest.param("none", None, id="no-number"),
    ],
)
def test_a_number_is_that_of_the_block_else_the_last(reply: str, number: float | None) -> None:
    assert matched_number(reply) == number
