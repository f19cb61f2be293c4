"""Counts over planned answers."""

from __future__ import annotations

import pytest

from kvl_eval.scoring.outputs import Item
from kvl_eval.scoring.stored_answers import PlannedAnswer, Usage
from kvl_eval.scoring.tally import Tally
from kvl_eval.store.answers import answer_of
from kvl_eval.store.records import Extra
from kvl_eval.types import FinishReason, Sample, Score, Scored, TokenCounts
from tests.records import make_entry, make_record, make_sample


@pytest.mark.parametrize(
    ("finish", "closed", "truncated", "unclosed"),
    [
        ("stop", None, 0, 0),
        ("stop", True, 0, 0),
        ("stop", False, 1, 1),
        ("length", None, 1, 0),
        ("length", True, 1, 0),
        ("budget", False, 1, 1),
    ],
)
def test_what_is_cut_off_is_truncated_whether_or_not_a_thought_was_open(
    finish: FinishReason, closed: bool | None, truncated: int, unclosed: int
) -> None:
    tally = Tally(None, None)
    record = make_record("1", finish_reason=finish, think_closed=closed)
    usage = Usage.of(record, answer_of(record, "answer"))
    tally.count(PlannedAnswer(make_entry("1"), usage=usage))
    assert (tally.truncated, tally.unclosed) == (truncated, unclosed)


def test_every_planned_answer_is_counted_in_one_state() -> None:
    tally = Tally(64, "cut")
    record = make_record(
        "1",
        tokens=TokenCounts(prompt=7, image=4, thinking=3, answer=2),
        time={"total": 1.5, "decode": 1.0},
        budget_forced=True,
        extra=Extra(model="other"),
    )
    tally.count(PlannedAnswer(make_entry("1"), usage=Usage.of(record, answer_of(record, "answer"))))
    tally.count(PlannedAnswer(make_entry("2"), failure="oom"))
    tally.count(PlannedAnswer(make_entry("3")))
    assert (tally.planned, tally.ok, tally.failed) == (3, 1, {"oom": 1})
    assert {name: list(counts) for name, counts in tally.tokens.items()} == {
        "thinking": [3],
        "answer": [2],
        "prompt": [7],
        "image": [4],
    }
    assert (tally.seconds, tally.forced, tally.models) == (1.5, 1, {"other": 1})


def test_thoughts_are_counted_by_the_family_of_their_markers() -> None:
    tally = Tally(None, None)
    for family in ("think", "kimi", "", "think"):
        record = make_record("1", think_closed=True if family else None, extra=Extra(thought=family))
        tally.count(PlannedAnswer(make_entry("1"), usage=Usage.of(record, answer_of(record, "answer"))))
    assert tally.thoughts == {"think": 2, "kimi": 1}


def test_samples_of_a_question_that_is_asked_several_times_are_counted_by_repeat() -> None:
    tally = Tally(None, None)
    for sample_id, repeat in (("1", 0), ("1b", 0), ("1", 1)):
        sample = make_sample(group="1")
        tally.count(PlannedAnswer(make_entry(sample_id, sample=sample, repeat=repeat)))
    assert tally.groups == {("1", 0): 2, ("1", 1): 1}


def test_every_planned_answer_has_one_outcome() -> None:
    tally = Tally(None, None)
    record = make_record("1", worker="cuda:0:7")
    sample = Sample(id="1", question="?", row={})
    answer = PlannedAnswer(
        make_entry("1"),
        item=Item(sample, answer_of(record, "answer")),
        usage=Usage.of(record, answer_of(record, "answer")),
    )
    tally.count(answer)
    tally.take(Scored(sample=sample, score=Score.of(1.0, "4")), "correct", False)
    tally.count(PlannedAnswer(make_entry("2"), failure="oom"))
    tally.count(PlannedAnswer(make_entry("3")))
    assert tally.outcomes == {"correct": 1, "failed": 1, "pending": 1}
    assert tally.outcomes.total() == tally.planned
    assert (tally.busy.seconds, tally.busy.devices) == (0.5, 1)
