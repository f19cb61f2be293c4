from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks.ocrbench import FORMULAS, POINTS, TASK
from kvl_eval.types import MISSING, ImageRef, Message, Sample, Score, Scored
from tests.refusals import refused
from tests.tasks.tables import (
    base64_png,
    png,
    read_lines,
    write_json,
    write_parquet,
    write_pictures,
    write_tsv,
    write_zip,
)
from tests.tasks.vectors import after_kimi_thought

WORD = {
    "dataset_name": "IIIT5K",
    "id": 2843,
    "image_path": "IIIT5K/images/2843.png",
    "question": " what is written in the image? ",
    "answers": "CENTRE",
    "type": "Regular Text Recognition",
}
FORMULA = {
    "dataset_name": "HME100k",
    "id": 1,
    "image_path": "HME100k/1.png",
    "question": "Write the formula.",
    "answers": ["y _ { 2 } = - X\n"],
    "type": FORMULAS,
}


def scored(sample: Sample, answer: str, protocol: str = "official", extraction: Any = MISSING) -> Score:
    return TASK.protocols[protocol].score(sample, answer, extraction)


def check_golden(rows: list[dict[str, Any]]) -> None:
    assert rows
    for row in rows:
        sample = TASK.sample(row)
        answer = after_kimi_thought(row["response"])
        for protocol, key in (
            ("official", "score"),
            ("official-exact", "score"),
            ("vlmevalkit", "vlmevalkit"),
            ("lmms-eval", "lmms_eval"),
        ):
            score = scored(sample, answer, protocol)
            assert score.value == row["expected"][key], row["id"]
            assert score.extracted == row["expected"]["extracted"], row["id"]
        assert scored(sample, row["response"]).value == row["expected"]["score_raw"], row["id"]


def test_hand_made_golden_rows(data: Path) -> None:
    check_golden(read_lines(data / "ocrbench" / "vectors.jsonl"))


@pytest.mark.shared
def test_all_golden_rows(shared: Path) -> None:
    check_golden(read_lines(shared / "ocrbench" / "vectors.jsonl"))


@pytest.mark.shared
def test_whole_run_prints_the_official_report(shared: Path) -> None:
    rows = read_lines(shared / "ocrbench" / "run_synthetic.jsonl.gz")
    expected = json.loads((shared / "ocrbench" / "run_synthetic.summary.json").read_text())
    results = []
    for row in rows:
        sample = TASK.sample(row)
        if row["predict"] is not None:
            results.append(Scored(sample=sample, score=scored(sample, row["predict"])))
            assert results[-1].score.value == row["score"]
    assert len({TASK.sample(row).id for row in rows}) == 1000
    summary = TASK.aggregate(results, "official")
    printed = [line for line in expected["official_printed"].splitlines() if "(Total" in line]
    figures = {line.partition("(")[0]: line.rpartition(":")[2].strip() for line in printed}
    assert summary.official == figures
    vlmevalkit = {key: float(text) for key, text in TASK.aggregate(results, "vlmevalkit").official.items()}
    assert vlmevalkit == expected["vlmevalkit"]
    assert summary.unit == "percent"  # seven questions have no prediction
    assert TASK.aggregate(results, "lmms-eval").official == {"ocrbench_accuracy": "0.934"}


def test_the_whole_set_counts_points_out_of_a_thousand() -> None:
    samples = [
        TASK.sample({"dataset": kind, "id": number, "question": "?", "answer": ["a"], "question_type": kind})
        for kind, points in POINTS.items()
        for number in range(points)
    ]
    results = [Scored(sample=one, score=scored(one, "a" if place % 2 else "b")) for place, one in enumerate(samples)]
    summary = TASK.aggregate(results, "official")
    assert (summary.unit, summary.score, summary.official["Final Score"]) == ("points", 0.5, "500")
    assert summary.categories["category"]["Text Recognition"].n == 300
    assert TASK.aggregate(results[1:], "official").unit == "percent"


def test_repeats_of_a_question_count_once() -> None:
    sample = TASK.sample(WORD)
    results = [Scored(sample=sample, score=scored(sample, text), repeat=n) for n, text in enumerate(["centre", "no"])]
    assert TASK.aggregate(results, "official").official["Final Score"] == "0.50"


def test_the_old_lmms_eval_never_credits_capitals_in_formulas() -> None:
    sample = TASK.sample(FORMULA)
    assert scored(sample, "$y_{2}=-X$").value == 1
    assert scored(sample, "$y_{2}=-X$", "lmms-eval-2025").value == 0


@pytest.mark.parametrize(
    ("row", "formula"),
    [
        (
            {"dataset": "HME100k", "question": "?", "answer": ["A b"], "question_type": "Doc-oriented VQA", "id": 1},
            True,
        ),
        ({"index": 1, "question": "?", "answer": "['A b']", "category": FORMULAS}, True),
        ({"index": 1, "question": "?", "answer": "['A b']", "category": "Doc-oriented VQA"}, False),
    ],
)
def test_the_formula_rule_goes_by_data_set_or_type(row: dict[str, Any], formula: bool) -> None:
    assert scored(TASK.sample(row), "Ab").value == formula
    assert scored(TASK.sample(row), "a b").value == (not formula)


def test_hub_layout(tmp_path: Path) -> None:
    row = {"dataset": "IIIT5K", "question": "what?", "question_type": WORD["type"], "answer": ["CENTRE"]}
    rows = [{**row, "image": {"bytes": png(number), "path": f"{number}.png"}} for number in (1, 2)]
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    first, second = TASK.load(Source(data_dir=tmp_path), "test")
    assert (first.id, second.id, second.answers) == ("row-0", "row-1", ("CENTRE",))
    assert first.cluster != second.cluster
    assert first.categories == {
        "category": ("Text Recognition",),
        "type": ("Regular Text Recognition",),
        "dataset": ("IIIT5K",),
    }
    check_picture(second.media[0], png(2))
    check_again(second)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_authors_layout(tmp_path: Path, packed: bool) -> None:
    write_json(tmp_path / "OCRBench" / "OCRBench.json", [WORD, FORMULA])
    names = [WORD["image_path"], FORMULA["image_path"]]
    if packed:
        write_zip(tmp_path / "OCRBench_Images.zip", [f"OCRBench_Images/{name}" for name in names])
    else:
        write_pictures(tmp_path / "OCRBench_Images", names)
    word, formula = TASK.load(Source(data_dir=tmp_path), "test")
    assert (word.id, word.answers, word.cluster) == ("IIIT5K/2843", ("CENTRE",), "IIIT5K/images/2843.png")
    assert (formula.id, formula.answers) == ("HME100k/1", ("y _ { 2 } = - X\n",))
    check_picture(formula.media[0], png(1))
    check_again(word)


def test_vlmevalkit_layout(tmp_path: Path) -> None:
    row = {"index": 0, "image": base64_png(4), "question": "what?", "answer": "['6 mg', '6mg']", "category": FORMULAS}
    write_tsv(tmp_path / "OCRBench.tsv", [row])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert (sample.id, sample.answers, "dataset" in sample.categories) == ("0", ("6 mg", "6mg"), False)
    check_picture(sample.media[0], png(4))
    check_again(sample)


@pytest.mark.parametrize(
    "change", [{"type": "Sonnets"}, {"question": None}, {"answers": [""]}, {"answers": [None, ""]}, {"answers": 5}]
)
def test_a_row_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        TASK.sample({**WORD, **change})


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "test.json", [{"question": "What?", "answers": ["a"]}])
    with refused(DataError, "data.field", "type or question_type or category"):
        list(TASK.load(Source(data_dir=tmp_path), "test"))


def test_each_prompt_puts_media_and_words_in_its_order() -> None:
    sample = TASK.sample({**WORD, "image": {"bytes": png(), "path": None}})
    question = WORD["question"]
    expected = {
        "question_only": question,
        "lmms-eval": "what is written in the image?",
        "llava": f"{question}\nAnswer the question using a single word or phrase.",
        "qwen-vl": f"{question} Answer: ",
    }
    assert set(TASK.prompts) == set(expected)
    assert TASK.default_prompt == "question_only"
    for name, text in expected.items():
        assert TASK.prompts[name](sample) == [Message.user(*sample.media, text)]


@pytest.mark.parametrize(
    ("answer", "extraction", "verdict", "extracted"),
    [
        ("the centre", MISSING, "correct", "the centre"),
        ("middle", MISSING, "wrong", "middle"),
        (" ", MISSING, "no_answer", " "),
        ("middle", "centre", "correct", "centre"),
        ("centre", None, "no_answer", None),
    ],
)
def test_verdicts(answer: str, extraction: Any, verdict: str, extracted: str | None) -> None:
    score = scored(TASK.sample(WORD), answer, extraction=extraction)
    assert (score.verdict, score.extracted) == (verdict, extracted)


@given(st.text(max_size=80), st.sampled_from([WORD, FORMULA]))
def test_any_response_gets_zero_or_one(response: str, row: dict[str, Any]) -> None:
    for protocol in TASK.protocols:
        assert scored(TASK.sample(row), response, protocol).value in (0, 1)


def check_picture(ref: Any, data: bytes) -> None:
    assert isinstance(ref, ImageRef)
    assert read_bytes(ref) == data


def check_again(sample: Sample) -> None:
    """A stored row gives the same sample without its picture."""
    again = TASK.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
