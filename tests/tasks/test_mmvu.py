from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.mmvu import logged_letter
from kvl_eval.sources import Source
from kvl_eval.tasks.mmvu import DISCIPLINE_OF, TASK, is_choice, judge_prompt, left_to_judge, read_verdict
from kvl_eval.types import MISSING, Score, Scored
from tests.golden import rows
from tests.tasks.tables import write_json
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again

CHOICE = {
    "id": "validation_0",
    "video": "https://example.org/videos/Modern_Physics/3.mp4",
    "question_type": "multiple-choice",
    "metadata": {"subject": "Modern Physics", "knowledge": []},
    "question": "Which one?",
    "choices": {"A": "A vase", "B": "A fern", "C": "Letters", "D": "A cage", "E": "A clock"},
    "answer": "B",
}
OPEN = {**CHOICE, "question_type": "open-ended", "choices": dict.fromkeys("ABCDE", ""), "answer": "Merge Sort"}
PROMPTS = {
    ("official", "cot"): "official_cot",
    ("official", "direct-output"): "official_direct",
    ("lmms-eval", "direct-output"): "lmms_eval",
    ("lmms-eval", "cot"): "lmms_eval_cot",
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "mmvu" / "answers.jsonl"):
        expected, sample, response = row["expected"], TASK.sample(row["inputs"]), row["response"]
        score = TASK.protocols["lmms-eval"].score(sample, response, MISSING)
        assert (score.value == 1) is expected["correct"], row["id"]
        if is_choice(sample):
            assert (score.extracted or "N/A") == expected["logged_answer"], row["id"]
        else:
            assert expected["judge_called"] is left_to_judge(sample, response), row["id"]
            judged = [TASK.protocols["lmms-eval"].score(sample, response, said) for said in ("true", "false")]
            method = {"rule-based": "rule", "gpt-based": "judge"}[expected["eval_method_with_judge"]]
            assert {one.method for one in judged} == {method}, row["id"]
            right = [True, True] if expected["correct"] else [True, False]
            assert [one.value == 1 for one in judged] == right, row["id"]


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "mmvu" / "aggregate.jsonl"):
        scored = [
            Scored(
                sample=TASK.sample({**CHOICE, "video": f"videos/{item['category']}/1.mp4"}),
                score=Score.of(item["correct"], "A"),
            )
            for item in row["inputs"]["items"]
        ]
        summary = TASK.aggregate(scored, "lmms-eval")
        assert float(summary.official["accuracy"]) == pytest.approx(row["expected"]["accuracy"]), row["id"]


def test_prompts_and_what_the_judge_is_asked(data: Path) -> None:
    for row in rows(data / "mmvu" / "prompts.jsonl"):
        sample = TASK.sample(row["inputs"])
        if row["protocol"] == "judge-messages":
            asked = [{"role": one.role, "content": one.parts[0]} for one in judge_prompt(sample, row["response"])]
            assert asked == row["expected"]["messages"], row["id"]
        else:
            (user,) = TASK.prompts[PROMPTS[row["source"], row["protocol"]]](sample)
            assert user.parts == (row["expected"]["text"],), row["id"]


def test_authors_layout(tmp_path: Path) -> None:
    write_json(tmp_path / "validation.json", [CHOICE, {**OPEN, "id": "validation_1"}])
    (tmp_path / "videos" / "Modern_Physics").mkdir(parents=True)
    (tmp_path / "videos" / "Modern_Physics" / "3.mp4").write_bytes(b"x")
    first, second = TASK.load(Source(data_dir=tmp_path), "validation")
    assert (first.media[0].path, first.media[0].frames) == ("videos/Modern_Physics/3.mp4", 32)
    assert first.categories == {
        "type": ("multiple-choice",),
        "discipline": ("Science",),
        "subject": ("Modern_Physics",),
    }
    assert (second.choices, second.answers) == ((), ("Merge Sort",))
    check_same_again(TASK, [first, second])
    assert len(DISCIPLINE_OF) == 27


@pytest.mark.parametrize(
    ("row", "reply", "verdict"),
    [
        (CHOICE, "A or C at first. Therefore, the final answer is: $B", "correct"),
        (CHOICE, r"Not A. \boxed{B} as A is gone", "correct"),
        (CHOICE, "hm", "no_answer"),
        (OPEN, "Not a bubble. Therefore, the final answer is: 'Answer: merge sort'", "correct"),
        (OPEN, "Answer: quick sort", "wrong"),
        (OPEN, "", "no_answer"),
    ],
)
def test_the_rule(row: dict[str, Any], reply: str, verdict: str) -> None:
    for name in ("rule", "official"):
        assert TASK.protocols[name].score(TASK.sample(row), reply, MISSING).verdict == verdict


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ('{"extracted_answer": "B", "correct": true}', "true"),
        ('```json\n{"correct": false}\n```', "false"),
        ('{"correct": "yes"}', None),
        ("correct", None),
    ],
)
def test_what_a_judge_says(reply: str, read: str | None) -> None:
    assert read_verdict(TASK.sample(CHOICE), reply) == read


def test_a_judge_decides_where_there_is_one() -> None:
    official = TASK.protocols["official"]
    sample = TASK.sample(OPEN)
    assert official.score(sample, "merge sort", "false").verdict == "wrong"
    assert official.score(sample, "merge sort", None).verdict == "not_scored"
    assert (official.label, official.judged) == ("official-rule", "official")
    assert (logged_letter("a dog"), logged_letter("A dog")) == (None, "A")


def test_lmms_eval_asks_about_open_answers_that_its_rule_rejects() -> None:
    replies = [("merge sort", OPEN, "correct"), ("quick sort", OPEN, "wrong"), ("C", CHOICE, "wrong")]
    hybrid = TASK.protocols["lmms-eval"]
    assert hybrid.asks is not None
    for reply, row, ruled in replies:
        sample = TASK.sample(row)
        asked = hybrid.asks(sample, reply)
        assert asked is (reply == "quick sort")
        assert hybrid.score(sample, reply, MISSING).verdict == ruled
        assert hybrid.score(sample, reply, "true").verdict == ("correct" if asked else ruled)


@given(response=st.text(max_size=60), row=st.sampled_from([CHOICE, OPEN]))
def test_any_response_gets_a_verdict(response: str, row: dict[str, Any]) -> None:
    check_no_response_breaks(TASK, row, response)


@pytest.mark.slow
def test_time_is_linear() -> None:
    check_linear(TASK, CHOICE, "Answer: O(n) 12")
    check_linear(TASK, OPEN, "O(1Answer: ")
