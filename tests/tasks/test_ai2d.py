from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.sources import Source
from kvl_eval.tasks.ai2d import TASK
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

ROW = {"row": 0, "question": "What is D?", "options": ["c", "D", "b", "a"], "answer": "1"}


@pytest.mark.parametrize(
    ("protocol", "extracted", "correct"),
    [
        ("official", "extracted", "correct"),
        ("official-exact", "extracted", "correct"),
        ("vlmevalkit", "extracted", "correct"),
        ("lmms-eval", None, "lmms_eval_correct"),
    ],
)
def test_each_reply_is_read_and_scored_as_by_its_harness(protocol: str, extracted: str | None, correct: str) -> None:
    check_golden(TASK, hand_made("ai2d"), protocol, extracted, correct)


def test_what_lmms_eval_compares() -> None:
    rows = [row for row in hand_made("ai2d") if row["response"].strip()]
    found = scored(TASK, rows, "lmms-eval").rows
    assert [row["extracted"] for row in found] == [row["expected"]["lmms_eval_filtered"] for row in rows]


@pytest.mark.parametrize("case", hand_made("ai2d", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, {**case, "row": 0})
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]


def test_gold_is_a_place_on_the_hub_and_a_letter_in_the_table() -> None:
    assert TASK.sample(ROW).answers == ("B",), "the place, never the option's text"
    table = {"index": 1, "question": "q", "A": "c", "B": "D", "answer": "B"}
    assert TASK.sample(table).answers == ("B",)
    with pytest.raises(DataError, match="not an option"):
        TASK.sample({**ROW, "answer": "9"})


def test_undecided_replies_are_shown() -> None:
    run = scored(TASK, [{**ROW, "id": "1", "response": "a, b or c"}], "official")
    assert run.summary["official"] == {"Overall": "0.0", "undecided replies": "1"}


@given(response=st.text(max_size=60))
def test_no_response_breaks_a_protocol(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.parametrize("unit", ["B. ", " ", "answer is "])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


def test_hub_layout(tmp_path: Path) -> None:
    row = {key: ROW[key] for key in ("question", "options", "answer")}
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [{**row, "image": {"bytes": png(1), "path": None}}] * 2)
    first, second = found = list(TASK.load(Source(data_dir=tmp_path), "test"))
    assert (first.id, second.id, first.cluster) == ("row-0", "row-1", second.cluster)
    check_same_again(TASK, found)


@pytest.mark.parametrize(("split", "name"), [("test", "AI2D_TEST.tsv"), ("no_mask", "AI2D_TEST_NO_MASK.tsv")])
def test_vlmevalkit_table(tmp_path: Path, split: str, name: str) -> None:
    row = {"index": 4, "image": base64_png(1, (40, 30)), "question": "q", "A": "x", "B": "y", "answer": "B"}
    write_tsv(tmp_path / name, [{**row, "category": "volcano"}])
    (one,) = TASK.load(Source(data_dir=tmp_path), split)
    assert (one.id, one.answers, one.categories) == ("4", ("B",), {"category": ("volcano",)})
    assert TASK.protocols["lmms-eval"].score(one, "b.", MISSING).verdict == "correct"
    check_same_again(TASK, [one])
