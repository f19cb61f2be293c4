"""Causes of changed scores between two runs: the first rule that fits, the losing reply first."""

from __future__ import annotations

import pytest

from kvl_eval.explanation.flips import PairedReply, ReplySettings, gap_cause
from kvl_eval.flip_causes import ReplyFacts

SETTINGS = ReplySettings(prompt="p", images="i", generation="g", engine="e", weights="w")


def reply(
    text: str = "two",
    *,
    truncated: bool = False,
    unclosed: bool = False,
    no_answer: bool = False,
    score: float = 0.0,
    **settings: str,
) -> PairedReply:
    facts = ReplyFacts(truncated=truncated, unclosed=unclosed, no_answer=no_answer, text=text, reader_score=score)
    return PairedReply(facts, SETTINGS._replace(**settings))


@pytest.mark.parametrize(
    ("losing", "expected"),
    [
        pytest.param(reply(truncated=True, no_answer=True), "truncated", id="truncated-before-no-answer"),
        pytest.param(reply(unclosed=True), "unclosed", id="unclosed"),
        pytest.param(reply(no_answer=True, score=1.0), "no_answer", id="no-answer-before-extraction"),
        pytest.param(reply(score=1.0), "extraction", id="right-under-p1"),
        pytest.param(reply("one"), "extraction", id="the-same-reply"),
        pytest.param(reply(prompt="q", images="j"), "prompt", id="prompt-before-images"),
        pytest.param(reply(images="j"), "images", id="images"),
        pytest.param(reply(generation="h"), "generation", id="generation"),
        pytest.param(reply(engine="f"), "engine", id="engine"),
        pytest.param(reply(weights="v", prompt="q"), "answers", id="other-weights"),
        pytest.param(reply(), "answers", id="nothing-differs"),
    ],
)
def test_the_first_rule_that_fits_is_the_cause(losing: PairedReply, expected: str) -> None:
    assert gap_cause(losing, reply("one"))[0] == expected


def test_the_losing_reply_is_looked_at_first() -> None:
    assert gap_cause(reply(no_answer=True), reply("one", truncated=True))[0] == "no_answer"
    assert gap_cause(reply(), reply("one", truncated=True))[0] == "truncated"


def test_settings_that_differ_besides_are_named() -> None:
    assert gap_cause(reply(prompt="q", engine="f"), reply("one")) == ("prompt", ("engine",))
    assert gap_cause(reply(truncated=True, prompt="q"), reply("one")) == ("truncated", ())
    assert gap_cause(reply(prompt="q", weights="v"), reply("one")) == ("answers", ())
