"""What became of an answer: the order of outcomes, and that refusals follow the one table of wordings."""

from __future__ import annotations

from typing import get_args

import pytest

from kvl_eval.scorers.answers.refusal import refused
from kvl_eval.scorers.outcomes import OUTCOMES, answer_outcome
from kvl_eval.types import FinishReason, Verdict

SORRY = "I'm sorry, I cannot determine this from the image."


@pytest.mark.parametrize(
    ("verdict", "finish", "answer", "outcome"),
    [
        pytest.param("correct", "length", SORRY, "correct", id="correct-whatever-it-says"),
        pytest.param("partial", "length", SORRY, "partial", id="partial-before-truncated"),
        pytest.param("not_scored", "length", SORRY, "not_scored", id="not-scored-first"),
        pytest.param("wrong", "length", SORRY, "truncated", id="truncated-before-refused"),
        pytest.param("no_answer", "budget", "", "truncated", id="ended-by-its-budget"),
        pytest.param("no_answer", "stop", SORRY, "refused", id="refused-before-no-answer"),
        pytest.param("wrong", "stop", SORRY, "refused", id="refused-before-wrong"),
        pytest.param("no_answer", "stop", "Hm.", "no_answer", id="no-answer"),
        pytest.param("wrong", "stop", "B", "wrong", id="wrong"),
    ],
)
def test_the_first_outcome_that_applies(verdict: Verdict, finish: FinishReason, answer: str, outcome: str) -> None:
    assert answer_outcome(verdict, finish, answer) == outcome


def test_every_verdict_is_an_outcome() -> None:
    assert set(get_args(Verdict)) <= set(OUTCOMES)


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        pytest.param(SORRY, True, id="declines"),
        pytest.param("**I cannot tell.**", True, id="in-bold"),
        pytest.param("Ｉ cannot tell.", True, id="full-width"),
        pytest.param("Answer: cannot be determined", True, id="marked-as-the-answer"),
        pytest.param("The text is not clear, but the answer is \\boxed{B}.", False, id="a-marked-answer-beside-it"),
        pytest.param("There is no doubt: it is a cat.", False, id="not-meant"),
        pytest.param("Failed to obtain answer via API. B", True, id="written-by-a-harness"),
        pytest.param("B", False, id="a-letter"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_refusals(answer: str, is_refusal: bool) -> None:
    assert refused(answer) is is_refusal
