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
from kvl_eval.tasks.mmstar import AXES, TASK, official_letter
from kvl_eval.types import ImageRef, Sample
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

QUESTION = "Which is it?\nOptions: A: red, green, B: blue, C: \nblack, D: white"
ROW = {
    "index": 7,
    "question": QUESTION,
    "answer": "B",
    "category": "math",
    "l2_category": "geometry",
    "meta_info": {"source": "MathVista", "split": "testmini", "image_path": "images/7.jpg"},
}
NAMES = {
    "vlmevalkit": ("extracted", "correct"),
    "lmms-eval": ("lmms_eval", "lmms_eval_correct"),
    "official": (None, "official_correct"),
}


@pytest.mark.parametrize("protocol", NAMES)
def test_hand_made_golden_rows(protocol: str) -> None:
    check_golden(TASK, hand_made("mmstar"), protocol, *NAMES[protocol])


@pytest.mark.shared
@pytest.mark.parametrize("protocol", ["official", "official-exact", "lmms-eval"])
def test_whole_run_prints_the_official_figures(shared: Path, protocol: str) -> None:
    rows = read_lines(shared / "mmstar" / "whole_llava_next_yi_34b.jsonl.gz")
    expected = json.loads((shared / "mmstar" / "whole_llava_next_yi_34b_score.json").read_text())
    run = scored(TASK, rows, protocol)
    key, correct = NAMES[protocol.removesuffix("-exact")]
    assert [row["score"] for row in run.rows] == [row["expected"][correct] for row in rows]
    if key:
        assert [row["extracted"] for row in run.rows] == [row["expected"][key] for row in rows]
    figures = expected["lmms_eval" if protocol == "lmms-eval" else "official_report"]
    assert {name: float(text) for name, text in run.summary["official"].items()} == pytest.approx(figures)
    assert sum(row["score"] for row in run.rows) == 781
    assert run.summary["score"] == pytest.approx(expected["lmms_eval_micro"])


def test_official_exact_divides_by_the_whole_set() -> None:
    row = {**ROW, "id": "1", "response": "B"}
    assert scored(TASK, [row], "official").summary["official"]["final score"] == "1.0"
    exact = scored(TASK, [row], "official-exact").summary["official"]
    assert (float(exact["final score"]), float(exact["math"])) == (1 / 1500, 1 / 250)
    assert float(exact["math(geometry)"]) == 1 / 116


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("Both", "B"), ("(b) blue", "B"), ("OPTION b", "B"), ("The answer is B.", "B"), ("A photo", "A")]
    + [(reply, None) for reply in ("**B**", "So: B", "The answer is: B", "(", "", "e", "option")],
)
def test_official_letter(reply: str, letter: str | None) -> None:
    assert official_letter(TASK.sample(ROW), reply) == letter


def test_the_default_protocol_reads_what_the_default_prompt_asks_for() -> None:
    answer = "It is blue. Answer: $\\boxed{B}$"
    run = scored(TASK, [{**ROW, "id": "1", "response": answer}], TASK.default_protocol)
    assert run.rows[0]["verdict"] == "correct"


@given(response=st.one_of(st.text(max_size=60), st.sampled_from(["", "(", "option ", "the answer is "])))
def test_no_response_breaks_a_protocol(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.parametrize("unit", ["A ", "(", "the answer is ", "B. x\n"])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


# Prompts


@pytest.mark.parametrize("case", hand_made("mmstar", "prompt_cases.jsonl"), ids=lambda case: case["id"])
@pytest.mark.parametrize("layout", ["hub", "table"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any], layout: str) -> None:
    row = {"index": 1, "question": case["question"], "answer": "A"}
    if layout == "table":
        columns = dict(zip("ABCD", case["choices"], strict=False))
        row = {**row, "question": case["bare_question"], **columns}
    one = numbered(TASK, row)
    assert list(one.choices) == case["choices"]
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    picture, text = shown(TASK.prompts[TASK.default_prompt](one))
    head, _, _ = case["expected"]["vlmevalkit"][1]["text"].partition("Please select")
    assert picture == {"image": 1}
    assert text["text"] == head + (
        "Answer the preceding question. The last line of your response should follow this format: 'Answer: "
        "$\\boxed{LETTER}$' (without quotes), where LETTER is one of the options. Think step by step logically, "
        "considering all relevant information before answering."
    )


def test_an_option_may_hold_a_comma_or_a_line_break() -> None:
    assert TASK.sample(ROW).choices == ("red, green", "blue", "black", "white")


# Loading


def load(folder: Path) -> list[Sample]:
    return list(TASK.load(Source(data_dir=folder), "val"))


def test_hub_layout(tmp_path: Path) -> None:
    rows = [{**ROW, "index": n, "image": {"bytes": png(n), "path": None}} for n in (0, 1)]
    write_parquet(tmp_path / "mmstar.parquet", rows)
    first, second = load(tmp_path)
    assert (first.id, second.id) == ("0", "1")
    assert first.categories == {"ability": ("math",), "axis": ("geometry",)}
    assert isinstance(second.media[0], ImageRef) and read_bytes(second.media[0]) == png(1)
    assert first.cluster != second.cluster
    check_same_again(TASK, (first, second))


def test_vlmevalkit_table(tmp_path: Path) -> None:
    columns = {"A": "red, green", "B": "blue", "C": "black", "D": ""}
    picture = base64_png(3, (40, 30))
    row = {**ROW, "question": "Which is it?", **columns, "meta_info": "", "image": picture}
    write_tsv(tmp_path / "MMStar.tsv", [row, {**row, "index": 8, "image": "7"}])
    first, second = load(tmp_path)
    assert first.choices == ("red, green", "blue", "black")
    assert first.cluster == second.cluster
    check_same_again(TASK, (first, second))


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    write_parquet(tmp_path / "val.parquet", [{**ROW, "question": None}])
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert (caught.value.code, caught.value.where) == ("data.field", "val.parquet row 1, id 7")


def test_counts() -> None:
    assert sum(rows for parts in AXES.values() for rows in parts.values()) == 1500
