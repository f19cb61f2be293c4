from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.sources import Source
from kvl_eval.tasks.mmmu_pro import MMMU_PRO, MMMU_PRO_VISION
from kvl_eval.types import MISSING
from tests.tasks.tables import base64_png, png, read_lines, write_parquet, write_tsv
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

COLUMNS = {
    "official": "extracted",
    "lmms-eval": "lmms_eval",
    "vlmevalkit": "vlmevalkit_cot",
    "vlmevalkit-direct": "vlmevalkit_direct",
}
ROW = {
    "id": "test_Art_Theory_3",
    "question": "Compare <image 2> with <image 1>.",
    "options": str([f"option {letter}" for letter in "ABCDEFGHIJKL"]),
    "answer": "L",
    "img_type": "['Paintings']",
    "topic_difficulty": "Hard",
    "subject": "Art_Theory",
}


def check_columns(rows: list[dict[str, Any]]) -> None:
    for protocol, key in COLUMNS.items():
        found = scored(MMMU_PRO, rows, protocol).rows
        assert [row["extracted"] for row in found] == [row["expected"][key] or None for row in rows], protocol


def test_each_reply_is_read_and_scored_as_by_its_harness() -> None:
    rows = hand_made("mmmu_pro")
    check_golden(MMMU_PRO, rows, "official", "extracted", "correct")
    check_columns(rows)
    fallbacks = [row["reason"] == "no_letter" for row in scored(MMMU_PRO, rows, "official").rows]
    assert fallbacks == [row["expected"]["random_fallback"] for row in rows]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["standard_cot", "vision_direct"])
def test_whole_runs(shared: Path, name: str) -> None:
    rows = read_lines(shared / "mmmu_pro" / f"whole_gpt4o_{name}.jsonl.gz")
    expected = json.loads((shared / "mmmu_pro" / f"whole_gpt4o_{name}_score.json").read_text())
    check_columns(rows)
    run = scored(MMMU_PRO, rows, "official")
    official = run.summary["official"]
    assert sum(row["score"] for row in run.rows) == expected["deterministic_correct"]
    assert float(official["Overall"]) == expected["deterministic_acc"]
    assert official["replies without a letter"] == str(expected["fallback_rows"])
    assert float(official["expected right by guessing"]) == pytest.approx(expected["expected_luck"], abs=5e-4)
    assert sum(row["shipped"]["right"] for row in rows) == expected["shipped_right"]
    for row, found in zip(rows, run.rows, strict=True):
        assert row["expected"]["random_fallback"] or (found["score"] == 1) == row["shipped"]["right"]
    subjects = run.summary["categories"]["subject"]
    assert {name: [round(one["n"] * one["score"]), one["n"]] for name, one in subjects.items()} == expected["subjects"]
    totals = {"lmms-eval": "lmms_eval_deterministic", "vlmevalkit": "vlmevalkit_cot_exact"}
    for protocol, key in {**totals, "vlmevalkit-direct": "vlmevalkit_direct_exact"}.items():
        assert sum(row["score"] for row in scored(MMMU_PRO, rows, protocol).rows) == expected[key]
    raw = scored(MMMU_PRO_VISION, rows, "lmms-eval").rows
    assert sum(row["score"] for row in raw) == expected["lmms_eval_raw_reply_equals_letter"]


@pytest.mark.parametrize("case", hand_made("mmmu_pro", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(MMMU_PRO, case, 2)
    expected = case["expected"]
    for name in ("direct", "cot"):
        parts = shown(MMMU_PRO.prompts[f"official_{name}"](one))
        tagged = "<image " in case["question"] + "".join(case["options"])
        text = "".join(part.get("text", "<image>") for part in parts[0 if tagged else 2 :])
        assert text == expected[f"official_{name}"]
        pictures = [part["image"] for part in parts if "image" in part]
        assert not tagged or pictures == expected["official_image_order"]
        (_, vision) = shown(MMMU_PRO_VISION.prompts[f"official_{name}"](numbered(MMMU_PRO_VISION, case)))
        assert vision == {"text": expected[f"official_{name}_vision"]}
    assert shown(MMMU_PRO.prompts["lmms_eval_direct"](one))[-1] == {"text": expected["lmms_eval_direct"]}
    for name, suffix in (("direct", ""), ("cot", "_COT")):
        found = shown(MMMU_PRO.prompts[f"vlmevalkit_{name}"](one))
        assert found == expected[f"vlmevalkit_MMMU_Pro_10c{suffix}"] or not tagged
        vision_one = numbered(MMMU_PRO_VISION, case)
        vision_parts = shown(MMMU_PRO_VISION.prompts[f"vlmevalkit_{name}"](vision_one))
        assert vision_parts == expected[f"vlmevalkit_MMMU_Pro_V{suffix}"]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("Answer: L", "L"), ("Answer: A. Answer: Insufficient", "I"), ("ANSWER: B", "B"), ("Answer: $LETTER", None)],
)
def test_after_the_last_answer_any_single_letter_counts(reply: str, letter: str | None) -> None:
    found = MMMU_PRO.protocols["official"].score(MMMU_PRO.sample(ROW), reply, MISSING)
    assert found.extracted == letter


@given(response=st.text(max_size=60))
@pytest.mark.parametrize("task", [MMMU_PRO, MMMU_PRO_VISION], ids=lambda task: task.name)
def test_no_response_breaks_a_protocol(task: Any, response: str) -> None:
    check_no_response_breaks(task, ROW, response)


@pytest.mark.parametrize("unit", ["Answer: B\n", "(A) ", "Answer:"])
def test_reading_is_linear(unit: str) -> None:
    check_linear(MMMU_PRO, ROW, unit)


def test_hub_layout(tmp_path: Path) -> None:
    cells = {f"image_{n}": {"bytes": png(n), "path": None} if n < 3 else None for n in range(1, 8)}
    write_parquet(tmp_path / "standard (10 options)" / "test-00000-of-00001.parquet", [{**ROW, **cells}])
    write_parquet(
        tmp_path / "vision" / "test-00000-of-00001.parquet",
        [
            {
                "id": ROW["id"],
                "options": ROW["options"],
                "answer": "L",
                "subject": "Art_Theory",
                "image": cells["image_1"],
            }
        ],
    )
    (one,) = MMMU_PRO.load(Source(data_dir=tmp_path), "test")
    (seen,) = MMMU_PRO_VISION.load(Source(data_dir=tmp_path), "test")
    assert one.categories == {
        "subject": ("Art_Theory",),
        "domain": ("Art and Design",),
        "difficulty": ("Hard",),
        "image_type": ("Paintings",),
        "options": ("12",),
    }
    assert (len(one.media), len(seen.media), seen.question) == (2, 1, "")
    check_same_again(MMMU_PRO, [one])
    check_same_again(MMMU_PRO_VISION, [seen])


def test_vlmevalkit_table(tmp_path: Path) -> None:
    row = {"index": 4, "image": base64_png(1, (40, 30)), "question": "Which?", "A": "x", "B": "y", "answer": "B"}
    write_tsv(tmp_path / "MMMU_Pro_10c.tsv", [{**row, "category": "Art Theory"}])
    (one,) = MMMU_PRO.load(Source(data_dir=tmp_path), "test")
    assert (one.id, one.choices, one.categories["subject"]) == ("4", ("x", "y"), ("Art_Theory",))
    check_same_again(MMMU_PRO, [one])
