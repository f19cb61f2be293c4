"""Causes of changed scores between two runs: the first rule that fits, the losing reply first."""

from __future__ import annotations

import pytest

from kvl_eval.explanation.flips import FlipSide, flip_cause

PLAIN = FlipSide(reply="one", prompt="p", images="i", generation="g", engine="e", weights="w")
OTHER = FlipSide(reply="two", prompt="p", images="i", generation="g", engine="e", weights="w")


def other(**changes: object) -> FlipSide:
    fields = {name: getattr(OTHER, name) for name in FlipSide.__slots__}
    return FlipSide(**{**fields, **changes})


@pytest.mark.parametrize(
    ("losing", "expected"),
    [
        pytest.param(other(truncated=True, no_answer=True), "truncated", id="truncated-before-no-answer"),
        pytest.param(other(unclosed=True), "unclosed", id="unclosed"),
        pytest.param(other(no_answer=True, score=1.0), "no_answer", id="no-answer-before-extraction"),
        pytest.param(other(score=1.0), "extraction", id="right-under-p1"),
        pytest.param(other(reply="one"), "extraction", id="the-same-reply"),
        pytest.param(other(prompt="q", images="j"), "prompt", id="prompt-before-images"),
        pytest.param(other(images="j"), "images", id="images"),
        pytest.param(other(generation="h"), "generation", id="generation"),
        pytest.param(other(engine="f"), "engine", id="engine"),
        pytest.param(other(weights="v", prompt="q"), "answers", id="other-weights"),
        pytest.param(other(), "answers", id="nothing-differs"),
    ],
)
def test_the_first_rule_that_fits_is_the_cause(losing: FlipSide, expected: str) -> None:
    assert flip_cause(losing, PLAIN) == expected


def test_the_losing_reply_is_looked_at_first() -> None:
    assert flip_cause(other(no_answer=True), FlipSide(truncated=True)) == "no_answer"
    assert flip_cause(other(), FlipSide(truncated=True, weights="w")) == "truncated"
