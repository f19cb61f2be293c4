from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.multiple_choice import can_infer
from kvl_eval.sources import Source
from kvl_eval.tasks.blink import ROWS, TASK, official_choice
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

ROW = {
    "idx": "val_Multi-view_Reasoning_12",
    "sub_task": "Multi-view_Reasoning",
    "question": "Which way?",
    "prompt": "Which way?\nSelect from the following choices.\n(A) left\n(B) right",
    "choices": ["left", "right"],
    "answer": "(B)",
}
RUNS = ("gpt4o", "qwenvlmax", "llava_v1_6_34b")


@pytest.mark.parametrize(
    ("protocol", "extracted", "correct"),
    [("no-judge", "official", "official_correct"), ("vlmevalkit", "extracted", "correct")],
)
def test_each_reply_is_read_and_scored_as_by_its_harness(protocol: str, extracted: str, correct: str) -> None:
    check_golden(TASK, hand_made("blink"), protocol, extracted, correct)


def test_each_reply_is_read_as_by_lmms_eval() -> None:
    rows = hand_made("blink")
    check_golden(TASK, rows, "lmms-eval", None, "lmms_eval_correct")
    found = scored(TASK, rows, "lmms-eval").rows
    assert [row["extracted"] or "" for row in found] == [row["expected"]["lmms_eval"] for row in rows]


# What the reader says of the replies that it reads otherwise than VLMEvalKit's matcher, in whose place it stands.
READ_ANEW: dict[str, str | None] = {
    **dict.fromkeys(["0004", "0016", "0019", "0037", "0106", "0107", "0114", "0121", "0148"], "(A)"),
    **dict.fromkeys(["0020", "0051", "0052", "0058", "0069", "0134"], "(B)"),
    **dict.fromkeys(("0063", "0109"), "(C)"),
    **dict.fromkeys(["0012", "0061", "0071", "0111", "0112", "0113", "0130", "0145"], "(D)"),
    **dict.fromkeys(
        [
            "0015",
            "0026",
            "0028",
            "0034",
            "0040",
            "0065",
            "0074",
            "0086",
            "0094",
            "0118",
            "0137",
        ]
    ),
}


def test_where_the_authors_ask_a_model_the_reader_decides() -> None:
    rows = hand_made("blink")
    exact, rule = (scored(TASK, rows, name).rows for name in ("official-exact", "official"))
    for row, left, decided in zip(rows, exact, rule, strict=True):
        needs = row["expected"]["official_needs_judge"]
        assert (left["verdict"] == "not_scored") == needs, row["id"]
        letter = row["expected"]["extracted"]
        wanted = (letter and f"({letter})") if needs else row["expected"]["official"]
        wanted = READ_ANEW.get(row["id"].removeprefix("blink_pub_"), wanted)
        assert decided["extracted"] == wanted, row["id"]


@pytest.mark.shared
@pytest.mark.parametrize("name", RUNS)
def test_whole_runs(shared: Path, name: str) -> None:
    rows = read_lines(shared / "blink" / f"whole_{name}.jsonl.gz")
    expected = json.loads((shared / "blink" / f"whole_{name}_score.json").read_text())
    given = scored(TASK, rows, "official", extraction="shipped_prediction")
    check_figures(given.summary["official"], expected["official_on_shipped_predictions"])
    assert given.summary["score"] == pytest.approx(expected["official_on_shipped_predictions"]["Total"])
    assert float(given.summary["official"]["mean over questions"]) == pytest.approx(expected["shipped_micro"])
    printed = f"over all tasks is {round(100 * given.summary['score'], 2)}%"
    assert expected["official_printed"].endswith(printed)
    assert [row["score"] for row in given.rows] == [row["expected"]["shipped_correct"] for row in rows]
    exact = {row["id"]: row for row in scored(TASK, rows, "official-exact").rows}
    plain = [row for row in rows if exact[row["id"]]["verdict"] != "not_scored"]
    assert len(plain) == expected["no_judge_rows"] == expected["no_judge_rows_agree_with_shipped"]
    assert all(exact[row["id"]]["extracted"] == row["shipped_prediction"] for row in plain)
    strict = scored(TASK, rows, "no-judge")
    assert float(strict.summary["official"]["mean over questions"]) == pytest.approx(expected["deterministic_micro"])
    check_figures(strict.summary["official"], expected["official_no_judge_wrong"])
    assert strict.summary["official"]["undecided replies"] == str(expected["judge_needed"])
    assert [row["score"] for row in strict.rows] == [row["expected"]["deterministic_correct"] for row in rows]
    assert [row["extracted"] for row in strict.rows] == [row["expected"]["official"] for row in rows]
    lmms = scored(TASK, rows, "lmms-eval")
    assert [row["extracted"] or "" for row in lmms.rows] == [row["expected"]["lmms_eval"] for row in rows]
    assert lmms.summary["score"] == pytest.approx(expected["lmms_eval_micro"])
    for row in rows:  # the choices' texts are not known: the matcher's first step alone
        options = {letter: f"\0{letter}" for letter in "ABCD"[: row["n_choices"]]}
        assert can_infer(row["response"], options) == row["expected"]["vlmevalkit_option_step"], row["id"]


def check_figures(found: dict[str, str], expected: dict[str, float]) -> None:
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reply", "count", "choice"),
    [
        ("E", 2, "(E)"),
        ("(C)", 2, "(C)"),
        ("first (A)\n\nso (B)", 2, "(B)"),
        ("(A) or (B)\n\nwell, (A) and (B)", 2, None),
        ("(A)\n\nno", 2, "(A)"),
        ("(B).", 2, None),
        ("b", 2, None),
        ("", 2, None),
    ],
)
def test_official_choice(reply: str, count: int, choice: str | None) -> None:
    assert official_choice(reply, count) == choice


def test_the_judge_is_taken_at_its_word() -> None:
    one = TASK.sample(ROW)
    verdicts = [TASK.protocols["official-exact"].score(one, "", text).verdict for text in ("(B)", "B", "(Z) Failed")]
    assert verdicts == ["correct", "wrong", "wrong"]


def test_a_judge_is_asked_where_the_authors_ask_one() -> None:
    assert TASK.judge_prompt is not None
    for row in hand_made("blink"):
        asked = TASK.judge_prompt(TASK.sample(row), row["response"])
        assert (asked is not None) == row["expected"]["official_needs_judge"], row["id"]
    asked = TASK.judge_prompt(TASK.sample(ROW), "to the {left}")
    assert isinstance(asked, str) and asked.endswith(
        "Question: Which way?\nSelect from the following choices\n(A) left\n(B) right\n(Z) Failed\n"
        "Reply: to the {left}\nOutput: "
    )


@pytest.mark.parametrize(
    ("reply", "read"), [("(B)", "(B)"), (" (Z)\n", "(Z)"), ("I cannot tell", "I cannot tell"), ("  ", None)]
)
def test_what_is_read_from_the_judge(reply: str, read: str | None) -> None:
    assert TASK.judge.read(TASK.sample(ROW), reply) == read


@pytest.mark.parametrize("case", hand_made("blink", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, case, case["n_images"])
    pictures = [{"image": number} for number in range(1, case["n_images"] + 1)]
    assert shown(TASK.prompts["lmms_eval"](one)) == [*pictures, {"text": case["expected"]["lmms_eval"]}]
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]
    assert shown(TASK.prompts["official"](one)) == [{"text": case["prompt"]}, *pictures]
    bare = numbered(TASK, {key: case[key] for key in ("id", "question", "choices")})
    assert shown(TASK.prompts["official"](bare))[0] == {"text": case["prompt"]}


def test_three_tasks_begin_with_a_disclaimer() -> None:
    one = numbered(TASK, {**ROW, "sub_task": "Jigsaw"}, 2)
    text = shown(TASK.prompts["official"](one))[0]["text"]
    assert text.startswith("Disclaimer: This is not to make unfair") and text.endswith(
        f"I gave you.\n\n{ROW['prompt']}"
    )


@given(response=st.text(max_size=60))
def test_no_response_breaks_a_protocol(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["(A) ", "\n\n", " ("])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


def test_hub_layout_has_a_folder_for_each_task(tmp_path: Path) -> None:
    cells = {f"image_{n}": {"bytes": png(n), "path": None} if n < 3 else None for n in range(1, 5)}
    write_parquet(tmp_path / "Multi-view_Reasoning" / "val-00000-of-00001.parquet", [{**ROW, **cells}])
    counting = {**ROW, **cells, "idx": "val_Counting_1", "sub_task": None}
    write_parquet(tmp_path / "Counting" / "val-00000-of-00001.parquet", [counting])
    write_parquet(tmp_path / "Counting" / "test-00000-of-00001.parquet", [{**counting, "answer": "hidden"}])
    first, second = found = list(TASK.load(Source(data_dir=tmp_path), "val"))
    assert [one.categories["task"] for one in found] == [("Counting",), ("Multi-view_Reasoning",)]
    assert len(first.media) == 2 and second.answers == ("(B)",)
    check_same_again(TASK, found)
    (hidden,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert TASK.protocols["official"].score(hidden, "(B)", MISSING).verdict == "not_scored"


def test_vlmevalkit_table(tmp_path: Path) -> None:
    pictures = str([base64_png(n, (40, 30)) for n in (1, 2)])
    row = {"index": 4, "image": pictures, "question": "Which way?", "A": "left", "B": "right", "answer": "B"}
    write_tsv(tmp_path / "BLINK.tsv", [{**row, "category": "Jigsaw"}])
    (one,) = TASK.load(Source(data_dir=tmp_path), "val")
    assert (one.id, one.answers, one.categories, len(one.media)) == ("4", ("(B)",), {"task": ("Jigsaw",)}, 2)
    check_same_again(TASK, [one])


def test_counts() -> None:
    assert sum(ROWS.values()) == 1901
