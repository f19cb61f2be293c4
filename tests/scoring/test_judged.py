"""What a judge's stored replies make of answers: one run or several, missing and failed ones; what is asked at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.scoring.judged import (
    AnswerScore,
    can_be_judged,
    judged_scores,
    prompt_sha256,
    question_about,
    scorer_parts,
)
from kvl_eval.scoring.outputs import LONGEST_ANSWER, Item
from kvl_eval.store.answers import Answer
from kvl_eval.store.replies import JudgeView, Replies
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol, Task
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import MISSING, Extraction, Message, Sample, Score
from tests.records import make_manifest, make_reply
from tests.tiny_task import rows, sample_of, tiny

UMPIRE = JudgeView("umpire", "answer")
SAMPLE = sample_of(rows(1)[0])


def read_points(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """A tenth by the rule; else the points that the judge gave, nothing read where it gave none."""
    if extraction is MISSING:
        return Score.of(0.1, answer, "rule")
    if extraction == "":
        return Score.no_answer("nothing_read")
    return Score.of(float(str(extraction)), str(extraction), "given", said=extraction)


def task_of(runs: int = 1, **changes: Any) -> Task:
    protocols = {"official": Protocol(score=read_points, judged="official")}
    ask = changes.pop("judge_prompt", lambda sample, answer: f"{sample.question} {answer}?")
    return tiny(1, **{"judge_prompt": ask, "judge": JudgeRule(runs=runs), "protocols": protocols, **changes})


Judge = Callable[..., AnswerScore]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """The score of an answer to `SAMPLE`, after replies that `said` gives run by run; None where nobody asked."""

    def judge(*said: Any, task: Task | None = None, answer: str = "B") -> AnswerScore:
        task = task or task_of(len(said))
        folder = RunFolder.create(tmp_path, "run", make_manifest(), [])
        item = Item(SAMPLE, Answer.of(answer))
        question = question_about(task, item, "answer")
        written = Replies(folder, task.name)
        for run, reply in enumerate(said):
            if reply is not None and question is not None:
                fields = reply if isinstance(reply, dict) else {"verdict": reply, "reply": f"I say {reply}"}
                written.append(make_reply(prompt_sha256=question.prompt_sha256, run=run, **fields))
        written.close()
        replies = Replies(folder, task.name)
        (score,) = judged_scores(task, "official", [item], replies, UMPIRE)
        replies.close()
        folder.unlock()
        return score

    return judge


FAILED = {"status": "failed", "verdict": None, "reply": None, "message": "the server said no", "reason": "refused"}


def test_a_reply_replaces_the_extraction(judge: Judge) -> None:
    found = judge("1.0")
    assert (found.score.value, found.score.verdict, found.score.method) == (1.0, "correct", "judge")
    assert found.score.detail == {"said": "1.0"}
    assert found.judge is not None
    assert (found.judge.judge, found.judge.reply) == ("umpire", "I say 1.0")


def test_several_runs_are_averaged_and_listed(judge: Judge) -> None:
    found = judge("1.0", "0.5", "0.0")
    assert (found.score.value, found.score.verdict, found.score.extracted) == (0.5, "partial", ["1.0", "0.5", "0.0"])
    assert found.score.detail == {
        "said": "1.0",
        "judge_runs": [1.0, 0.5, 0.0],
        "judge_extracted": ["1.0", "0.5", "0.0"],
    }
    assert found.judge is not None and found.judge.reply == "I say 1.0\n---\nI say 0.5\n---\nI say 0.0"


def test_runs_that_agree_have_one_extraction(judge: Judge) -> None:
    found = judge("0.5", "0.5")
    assert (found.score.value, found.score.extracted) == (0.5, "0.5")


def test_runs_that_all_read_nothing_are_no_answer(judge: Judge) -> None:
    found = judge("", "")
    assert (found.score.verdict, found.score.value, found.score.reason) == ("no_answer", 0.0, "nothing_read")
    assert found.score.detail["judge_runs"] == [0.0, 0.0]


def test_one_run_of_several_that_reads_nothing_counts_as_wrong(judge: Judge) -> None:
    found = judge("1.0", "")
    assert (found.score.value, found.score.verdict) == (0.5, "partial")


@pytest.mark.parametrize("said", [(None,), ("1.0", None), (None, "1.0")])
def test_where_nobody_asked_nothing_is_scored(judge: Judge, said: tuple[Any, ...]) -> None:
    found = judge(*said)
    assert (found.score.verdict, found.score.value, found.score.reason) == ("not_scored", None, "judge_missing")
    assert found.judge is not None


@pytest.mark.parametrize("said", [(FAILED,), ("1.0", FAILED), (FAILED, None)])
def test_a_judge_that_failed_is_named_and_nothing_is_scored(judge: Judge, said: tuple[Any, ...]) -> None:
    found = judge(*said)
    assert (found.score.verdict, found.score.reason) == ("not_scored", "judge_error: the server said no")


def test_a_long_failure_is_cut(judge: Judge) -> None:
    found = judge({**FAILED, "message": "x" * 500})
    assert found.score.reason is not None and len(found.score.reason) == 300


def test_the_model_of_a_reply_is_who_answered_first(judge: Judge) -> None:
    said = [{"verdict": "1.0", "model": model} for model in (None, "a", "b")]
    found = judge(*said)
    assert found.judge is not None and found.judge.model == "a"


def test_what_the_rules_decide_is_scored_as_without_a_judge(judge: Judge) -> None:
    nothing = task_of(judge_prompt=lambda sample, answer: None)
    decided = Protocol(score=read_points, judged="official", asks=lambda sample, answer: answer != "B")
    for task in (nothing, task_of(protocols={"official": decided})):
        found = judge("1.0", task=task)
        assert (found.score.value, found.score.method, found.judge) == (0.1, "rule", None)
    assert judge("1.0", task=task_of(protocols={"official": decided}), answer="C").score.value == 1.0


def test_a_judge_is_asked_only_where_its_reply_could_change_something() -> None:
    task = task_of()
    asked = question_about(task, Item(SAMPLE, Answer.of("B")), "answer")
    assert asked is not None
    assert [message.parts for message in asked.messages] == [("Wieviel ist 0? B?",)]
    assert [(key.judge, key.run) for key in asked.keys("umpire", 2)] == [("umpire", 0), ("umpire", 1)]
    no_gold = replace(SAMPLE, answers=())
    assert question_about(task, Item(no_gold, Answer.of("B")), "answer") is None
    assert question_about(task, Item(SAMPLE, Answer.of("◁think▷open")), "answer") is None
    assert question_about(task, Item(SAMPLE, Answer.of("x" * (LONGEST_ANSWER + 1))), "answer") is None
    assert question_about(tiny(1), Item(SAMPLE, Answer.of("B")), "answer") is None
    raw = question_about(task, Item(SAMPLE, Answer.of("◁think▷so◁/think▷B")), "raw")
    assert raw is not None and raw.messages[0].parts == ("Wieviel ist 0? ◁think▷so◁/think▷B?",)


def test_whatever_is_sent_changes_the_hash_of_a_prompt() -> None:
    messages = [Message.user("Is it B?")]
    rules = [
        JudgeRule(),
        JudgeRule(temperatures=(0.0,)),
        JudgeRule(max_tokens=8),
        JudgeRule(again="!"),
        JudgeRule(extra={"seed": 1}),
    ]
    hashes = {prompt_sha256(task_of(judge=rule), messages) for rule in rules}
    hashes.add(prompt_sha256(task_of(), [Message.system("Is it B?")]))
    assert len(hashes) == 6
    assert prompt_sha256(task_of(), messages) == prompt_sha256(task_of(runs=3), messages)


def test_only_a_protocol_that_says_so_can_be_judged() -> None:
    task, rule = task_of(), task_of().protocols["official"]
    assert can_be_judged(task, rule)
    assert not can_be_judged(task, replace(rule, judged=""))
    assert not can_be_judged(task, replace(rule, score_run=lambda items: []))
    assert not can_be_judged(tiny(1), rule)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("official", ("official", "answer", None)),
        ("official.raw", ("official", "raw", None)),
        ("official+umpire", ("official", "answer", "umpire")),
        ("official.raw+a+b", ("official", "raw", "a+b")),
    ],
)
def test_the_name_of_a_scorer_says_protocol_view_and_judge(name: str, parts: tuple[str, str, str | None]) -> None:
    assert scorer_parts(name) == parts
