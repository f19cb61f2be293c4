"""Scoring as a stage: thoughts, long answers, scorers that raise, whole-run protocols."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kvl_eval.scoring.outputs import LONGEST_ANSWER, Item, score_outputs
from kvl_eval.store.answers import Answer
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.tasks.mathvista import TASK
from kvl_eval.types import Extraction, Sample, Score

SAMPLE = TASK.sample({"pid": "1", "question_type": "free_form", "answer_type": "integer", "answer": "14"})


def item(text: str) -> Item:
    return Item(SAMPLE, Answer.of(text))


def task_with(protocol: Protocol) -> Task:
    return replace(TASK, protocols={"official": protocol})


def echo(sample: Sample, answer: str, extraction: Extraction) -> Score:
    if answer == "boom":
        raise ZeroDivisionError("boom")
    return Score.of(1.0, answer)


@pytest.mark.parametrize(
    ("raw", "view", "verdict", "extracted"),
    [
        pytest.param("◁think▷is it 3?◁/think▷14", "answer", "correct", "14", id="after-the-thought"),
        pytest.param("is it 3?◁/think▷14", "answer", "correct", "14", id="opening-marker-swallowed"),
        pytest.param("◁think▷it is 14", "answer", "no_answer", None, id="unclosed"),
        pytest.param("◁think▷it is 14", "raw", "correct", "14", id="unclosed-raw"),
        pytest.param("14◁think▷", "answer", "correct", "14", id="a-marker-in-the-answer-is-text"),
    ],
)
def test_what_a_scorer_sees(raw: str, view: str, verdict: str, extracted: str | None) -> None:
    (score,) = score_outputs(TASK, "official", [item(raw)], view)  # type: ignore[arg-type]
    assert (score.verdict, score.extracted) == (verdict, extracted)


def test_reasons_of_answers_that_are_not_read() -> None:
    texts = ["◁think▷14", "◁think▷" + "9" * 200_000 + "◁/think▷14", "4" * (LONGEST_ANSWER + 1)]
    scores = score_outputs(TASK, "official", [item(text) for text in texts])
    assert [score.reason for score in scores] == ["thought_unclosed", None, "answer_too_long"]
    assert [score.verdict for score in scores] == ["no_answer", "correct", "no_answer"]


def test_a_scorer_that_raises_fails_one_sample() -> None:
    scores = score_outputs(task_with(Protocol(score=echo)), "official", [item("a"), item("boom"), item("b")])
    assert [score.verdict for score in scores] == ["correct", "not_scored", "correct"]
    assert scores[1].reason == "scorer_error: ZeroDivisionError: boom"


def test_a_whole_run_protocol_sees_every_sample_in_order() -> None:
    def score_run(items: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
        return [Score.of(1.0, f"{number} of {len(items)}: {text}") for number, (_, text, _) in enumerate(items, 1)]

    task = task_with(Protocol(score=echo, score_run=score_run))
    scores = score_outputs(task, "official", [item("a"), item("◁think▷open"), item("b")])
    assert [score.extracted for score in scores] == ["1 of 3: a", None, "3 of 3: b"]
    assert scores[1].reason == "thought_unclosed"


def test_a_whole_run_protocol_that_raises_scores_nothing() -> None:
    def score_run(items: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
        raise LookupError("no order")

    scores = score_outputs(task_with(Protocol(score=echo, score_run=score_run)), "official", [item("a"), item("b")])
    assert [score.verdict for score in scores] == ["not_scored", "not_scored"]
