from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks.vstar import TASK, lmms_letter
from kvl_eval.types import MISSING, ImageRef
from tests.tasks.tables import base64_png, png, write_parquet, write_pictures, write_tsv
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

DIRECT = "Answer with the option's letter from the given choices directly."
ROW = {
    "question_id": "5",
    "text": f"What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather\n{DIRECT}",
    "label": "A",
    "category": "direct_attributes",
}


@pytest.mark.parametrize(
    ("protocol", "extracted", "correct"),
    [("vlmevalkit", "extracted", "correct"), ("lmms-eval", "lmms_eval", "lmms_eval_correct")],
)
def test_each_reply_is_read_and_scored_as_by_its_harness(protocol: str, extracted: str, correct: str) -> None:
    check_golden(TASK, hand_made("vstar"), protocol, extracted, correct)


@pytest.mark.parametrize("case", hand_made("vstar", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, {"question_id": 1, "text": case["text"]})
    assert list(one.choices) == case["choices"]
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]
    assert shown(TASK.prompts["stored"](one)) == [{"image": 1}, {"text": case["text"]}]


def test_from_a_table_the_stored_text_is_put_together() -> None:
    row = {"index": 1, "question": "What is the material of the glove?", "answer": "A"}
    one = numbered(TASK, {**row, "A": "rubber", "B": "cotton", "C": "kevlar", "D": "leather"})
    assert shown(TASK.prompts["stored"](one))[1] == {"text": ROW["text"]}


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        *[("Cannot say", "C"), ("the answer depends", "D"), ("It is red.", "D"), ("**B**", "B"), ("xx B yy", "B")],
        *[("The answer: (c)", "C"), ("", None), ("no", None), ("b? a?", "B"), ("?b a?", None)],
    ],
)
def test_lmms_letter(reply: str, letter: str | None) -> None:
    assert lmms_letter(TASK.sample(ROW), reply) == letter


@pytest.mark.parametrize(
    ("losses", "verdict", "letter"),
    [
        ("[0.5, 1.2, 3.0, 0.9]", "correct", "A"),
        ("[2, 1, 1, 4]", "wrong", "B"),
        ("[1, 2]", "no_answer", None),
        ("[NaN, Infinity, Infinity, Infinity]", "no_answer", None),
        ("A", "no_answer", None),
    ],
)
def test_the_authors_compare_likelihoods(losses: str, verdict: str, letter: str | None) -> None:
    score = TASK.protocols["official"].score(TASK.sample(ROW), "B", losses)
    assert (score.verdict, score.extracted) == (verdict, letter)


def test_generated_answers_have_no_likelihood() -> None:
    run = scored(TASK, [{**ROW, "id": "1", "response": "A"}], "official")
    assert run.rows[0]["verdict"] == "not_scored" and "losses" in run.rows[0]["reason"]


@given(response=st.text(max_size=60))
def test_no_response_breaks_a_protocol(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["answer   ", "A  ", "option is : ", "x"])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


def test_hub_copy(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "data" / "test-00000-of-00001.parquet", [{**ROW, "image": {"bytes": png(1), "path": None}}]
    )
    (one,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert (one.id, one.answers, one.categories) == ("5", ("A",), {"category": ("direct_attributes",)})
    check_same_again(TASK, [one])


def test_the_authors_folder(tmp_path: Path) -> None:
    import json

    row = {**ROW, "image": "direct_attributes/sa_1.jpg"}
    (tmp_path / "test_questions.jsonl").write_text(json.dumps(row) + "\n")
    write_pictures(tmp_path, ["direct_attributes/sa_1.jpg"])
    (one,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert isinstance(one.media[0], ImageRef) and read_bytes(one.media[0]) == png(0)
    assert one.cluster == "direct_attributes/sa_1.jpg"


def test_vlmevalkit_table(tmp_path: Path) -> None:
    row = {"index": 4, "image": base64_png(1, (40, 30)), "question": "Where?", "A": "left", "B": "right"}
    write_tsv(tmp_path / "VStarBench.tsv", [{**row, "answer": "B", "category": "relative_position"}])
    (one,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert TASK.protocols["vlmevalkit"].score(one, "left", MISSING).verdict == "wrong"
    check_same_again(TASK, [one])
