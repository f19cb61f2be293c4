from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.sources import Source
from kvl_eval.tasks.realworldqa import TASK
from kvl_eval.types import MISSING
from tests.tasks.tables import base64_png, png, write_parquet, write_tsv
from tests.tasks.vectors import (
    check_golden,
    check_linear,
    check_no_response_breaks,
    check_same_again,
    hand_made,
    numbered,
    scored,
    shown,
)

ASKS = "Please answer directly with only the letter of the correct option and nothing else."
LETTER = {"row": 0, "question": f"Which way?\nA. left\nB. right, I think\n{ASKS}", "answer": "B"}
OPEN = {"row": 1, "question": "How many lanes?\nPlease answer directly with a single word or number.", "answer": "2"}


@pytest.mark.parametrize(
    ("protocol", "extracted", "correct"),
    [
        ("official", "extracted", "correct"),
        ("official-exact", "extracted", "correct"),
        ("vlmevalkit", "extracted", "correct"),
        ("lmms-eval", "lmms_eval", "lmms_eval_correct"),
    ],
)
def test_each_reply_is_read_and_scored_as_by_its_harness(protocol: str, extracted: str, correct: str) -> None:
    check_golden(TASK, hand_made("realworldqa"), protocol, extracted, correct)


@pytest.mark.parametrize("case", hand_made("realworldqa", "prompt_cases.jsonl"), ids=lambda case: case["id"])
@pytest.mark.parametrize("given", ["choices", "text"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any], given: str) -> None:
    row = {"index": 1, "question": case["question"], "answer": "A"}
    one = numbered(TASK, {**row, "choices": case["choices"]} if given == "choices" else row)
    assert list(one.choices) == case["choices"]
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]


def test_an_open_question_has_no_options() -> None:
    one = numbered(TASK, OPEN)
    assert (one.choices, one.categories) == ((), {"answer": ("open",)})
    assert shown(TASK.prompts["vlmevalkit"](one))[1] == {"text": f"Question: {OPEN['question']}\n"}


@pytest.mark.parametrize(
    ("answer", "official", "reader"),
    [
        ("2", "correct", "correct"),
        (" 2. ", "correct", "correct"),
        ("two", "wrong", "correct"),
        ("2.0", "wrong", "correct"),
        ("3", "wrong", "wrong"),
        ("2 or 3", "wrong", "no_answer"),
        (r"So $\boxed{2}$", "wrong", "correct"),
        ("There are lanes.\nAnswer: **2**", "wrong", "correct"),
        ("...", "no_answer", "no_answer"),
        ("", "no_answer", "no_answer"),
    ],
)
def test_open_answers(answer: str, official: str, reader: str) -> None:
    one = TASK.sample(OPEN)
    for name, verdict in (("official", official), ("reader", reader)):
        assert TASK.protocols[name].score(one, answer, MISSING).verdict == verdict


def test_what_the_matcher_leaves_open_is_counted() -> None:
    rows = [{**LETTER, "id": "a", "response": "left, or right, I think"}, {**OPEN, "id": "b", "response": "2"}]
    run = scored(TASK, rows, "official")
    assert [row["verdict"] for row in run.rows] == ["no_answer", "correct"]
    assert run.summary["official"] == {"Overall": "0.5", "undecided replies": "1"}


def test_letters_without_known_options_are_read_by_their_form() -> None:
    row = {"row": 3, "question": "Which sign?", "answer": "c"}
    assert TASK.protocols["official"].score(TASK.sample(row), "The answer is (C).", MISSING).verdict == "correct"


@given(response=st.text(max_size=60))
@pytest.mark.parametrize("row", [LETTER, OPEN], ids=["letter", "open"])
def test_no_response_breaks_a_protocol(row: dict[str, Any], response: str) -> None:
    check_no_response_breaks(TASK, row, response)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["A ", "answer: ", "{"])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, LETTER, unit)
    check_linear(TASK, OPEN, unit)


def test_hub_layout(tmp_path: Path) -> None:
    picture = {"bytes": png(1), "path": "0.webp"}
    rows = [{key: row[key] for key in ("question", "answer")} for row in (LETTER, OPEN)]
    write_parquet(
        tmp_path / "data" / "test-00000-of-00001.parquet",
        [{**row, "image_path": "0.webp", "image": picture} for row in rows],
    )
    first, second = found = list(TASK.load(Source(data_dir=tmp_path), "test"))
    assert [one.id for one in found] == ["row-0", "row-1"]
    assert first.choices == ("left", "right, I think") and first.cluster == second.cluster
    check_same_again(TASK, found)


def test_vlmevalkit_table(tmp_path: Path) -> None:
    row = {"index": 4, "image": base64_png(1, (40, 30)), "question": "Which way?", "A": "left", "B": "right"}
    write_tsv(tmp_path / "RealWorldQA.tsv", [{**row, "C": "", "answer": "B"}])
    (one,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert (one.id, one.choices, one.answers) == ("4", ("left", "right"), ("B",))
    check_same_again(TASK, [one])
