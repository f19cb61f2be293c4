from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.scorers.mmbench import may_be_rotated, prefetched_letter, rotated, static_letter
from kvl_eval.scorers.multiple_choice import can_infer, letters
from kvl_eval.scorers.reader_protocol import read_letter
from kvl_eval.sources import Source
from kvl_eval.tasks.mmbench_en_v11 import TASK, judge_prompt, read_judge
from kvl_eval.types import MISSING
from tests.tasks.tables import base64_png, png, write_parquet, write_tsv
from tests.tasks.vectors import (
    check_linear,
    check_no_response_breaks,
    check_same_again,
    hand_made,
    numbered,
    scored,
    shown,
)

ROW = {"index": 3, "question": "Which way?", "choices": ["left", "right", "up"], "answer": "B"}
EXPECTED = json.loads((Path(__file__).parents[1] / "data/mmbench_en_v11/circular_groups_score.json").read_text())


def groups() -> list[dict[str, Any]]:
    """The groups' rows, each with the group's labels and an id."""
    return [
        {**row, "id": f"{row['index']}", "category": one["category"], "l2_category": one["l2_category"]}
        for one in hand_made("mmbench_en_v11", "circular_groups.jsonl")
        for row in one["rows"]
    ]


def test_each_reply_is_read_as_by_its_harness() -> None:
    for row in hand_made("mmbench_en_v11", "extract_handmade.jsonl"):
        sample, expected = TASK.sample({"index": 1, **row}), row["expected"]
        found = TASK.protocols["vlmevalkit"].score(sample, row["response"], MISSING)
        assert (found.extracted, found.value) == (expected["extracted"], float(expected["correct"] or 0)), row["id"]
        assert prefetched_letter(sample, row["response"]) == expected["lmms_eval_prefetch"], row["id"]
        assert static_letter(sample, row["response"]) == expected["lmms_eval_static"], row["id"]


def test_where_vlmevalkit_asks_a_judge_the_reader_decides() -> None:
    for row in hand_made("mmbench_en_v11", "extract_handmade.jsonl"):
        sample, letter = TASK.sample({"index": 1, **row}), row["expected"]["extracted"]
        found = TASK.protocols["official"].score(sample, row["response"], MISSING)
        assert found.extracted == (letter or read_letter(sample, row["response"])), row["id"]
        assert (found.method == "can_infer") is (letter is not None), row["id"]


@pytest.mark.parametrize(("protocol", "hit"), [("vlmevalkit", "circular_hit"), ("lmms-eval", "lmms_eval_static_hit")])
def test_a_group_is_right_if_all_its_rotations_are(protocol: str, hit: str) -> None:
    for one in hand_made("mmbench_en_v11", "circular_groups.jsonl"):
        rows = [{**row, "id": str(row["index"])} for row in one["rows"]]
        run = scored(TASK, rows, protocol)
        assert run.summary["score"] == one["expected"][hit], one["id"]
        assert protocol != "vlmevalkit" or [row["score"] for row in run.rows] == [
            row["expected"]["correct"] for row in one["rows"]
        ]
        if protocol == "vlmevalkit":
            first = float(run.summary["official"]["first rotation alone"])
            assert first == one["expected"]["first_pass_hit"], one["id"]


def test_the_report_of_vlmevalkit() -> None:
    summary = scored(TASK, groups(), "vlmevalkit").summary
    expected = EXPECTED["vlmevalkit_circular_exact_matching"]
    official = {name: float(text) for name, text in summary["official"].items()}
    assert {name: official[name] for name in expected if name != "split"} == pytest.approx(
        {name: values[0] for name, values in expected.items() if name != "split"}
    )
    assert official["first rotation alone"] == pytest.approx(EXPECTED["vlmevalkit_vanilla_first_pass"])
    assert official["all rotations, each for itself"] == pytest.approx(EXPECTED["vlmevalkit_vanilla_all_rows"])
    assert (summary["n"], summary["n_scored"]) == (EXPECTED["rows"], EXPECTED["rows"])
    assert sum(one["n"] for one in summary["categories"]["l2-category"].values()) == EXPECTED["groups"]
    low, high = summary["ci95"]
    assert low < summary["score"] < high and high - low == pytest.approx(0.163, abs=0.005), "140 questions, not 496"


def test_the_report_of_lmms_eval() -> None:
    official = {name: float(text) for name, text in scored(TASK, groups(), "lmms-eval").summary["official"].items()}
    expected = EXPECTED["lmms_eval_static"]
    assert official == pytest.approx(
        {"overall": expected["overall"], **expected["category"], **expected["l2_category"]}
    )


def test_rotations_are_those_of_the_vectors() -> None:
    for one in hand_made("mmbench_en_v11", "circular_groups.jsonl"):
        base = one["rows"][0]
        for row in one["rows"]:
            choices, answer = rotated(base["choices"], base["answer"], row["index"] // 1_000_000)
            assert (list(choices), answer) == (row["choices"], row["answer"]), one["id"]


@given(st.lists(st.text(max_size=3), min_size=2, max_size=4), st.integers(0, 9), st.data())
def test_a_rotation_keeps_the_right_text(choices: list[str], turns: int, data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(letters(len(choices))))
    moved, right = rotated(choices, answer, turns)
    assert right is not None
    assert moved[ord(right) - 65] == choices[ord(answer) - 65]
    assert sorted(moved) == sorted(choices)
    assert rotated(choices, None, turns)[1] is None


def test_options_that_name_others_stay_where_they_are() -> None:
    assert may_be_rotated(["red", "A cat", "C"]) is False
    assert may_be_rotated(["red", "blue", "A and B"]) is False
    assert may_be_rotated(["A cat", "B-flat", "X and Y"]) is True


@pytest.mark.parametrize("case", hand_made("mmbench_en_v11", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, {**case, "index": 1})
    assert shown(TASK.prompts["vlmevalkit"](one)) == case["expected"]["vlmevalkit"]
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]


# Judge


@pytest.mark.parametrize("case", hand_made("mmbench_en_v11", "judge_protocol.jsonl"), ids=lambda case: case["id"])
def test_what_a_judge_says(case: dict[str, Any]) -> None:
    sample = TASK.sample({**case, "index": 1})
    assert judge_prompt(sample, case["response"]) is not None
    replies = [*case["judge_replies"], *[json.loads(case["after_list"])] * 3][: len(TASK.judge.temperatures)]
    usable = [found for reply in replies if (found := read_judge(sample, reply)) is not None]
    expected = case["expected"]
    if expected["random_fallback"]:
        assert not usable, "a letter is never drawn: the answer is not scored"
        return
    assert usable[0] == expected["extracted"]
    assert replies.index(next(r for r in replies if read_judge(sample, r))) + 1 == expected["judge_calls"]
    score = TASK.protocols["official"].score(sample, case["response"], usable[0])
    assert score.verdict == ("correct" if usable[0] == case["answer"] else "wrong")


def test_a_decided_reply_needs_no_judge() -> None:
    sample = TASK.sample(ROW)
    assert judge_prompt(sample, "B") is None
    prompt = judge_prompt(sample, "left or right")
    assert prompt is not None
    assert prompt.endswith(
        "Question: Which way??\nOptions: There are several options: \nA. left\nB. right\nC. up\n"
        "Answer: left or right\nYour output: "
    )
    assert can_infer("Z", {"A": "left", "B": "right"}) == "Z"


def test_exact_leaves_what_needs_a_judge() -> None:
    score = TASK.protocols["official-exact"].score(TASK.sample(ROW), "left or right", MISSING)
    assert (score.verdict, score.reason) == ("not_scored", "judge_missing")


@given(response=st.text(max_size=60))
def test_no_response_breaks_a_protocol(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.parametrize("unit", ["A ", "(B). ", " "])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


# Loading

TABLE = {"question": "Which way?", "hint": "", "category": "ocr", "l2-category": "coarse_perception", "split": "dev"}


def test_rotations_of_a_table_are_taken_as_they_are(tmp_path: Path) -> None:
    row = {**TABLE, "A": "left", "B": "right", "C": "", "D": "", "answer": "A", "image": base64_png(1, (40, 30))}
    turned = {**row, "index": "1000003.0", "A": "right", "B": "left", "answer": "B", "image": "3"}
    write_tsv(tmp_path / "MMBench_DEV_EN_V11.tsv", [{"index": 3, **row}, turned])
    first, second = found = list(TASK.load(Source(data_dir=tmp_path), "dev"))
    assert [(one.id, one.group, one.choices, one.answers) for one in found] == [
        ("3", "3", ("left", "right"), ("A",)),
        ("1000003", "3", ("right", "left"), ("B",)),
    ]
    assert first.cluster == second.cluster
    assert first.categories == {"l2-category": ("coarse_perception",), "category": ("ocr",)}
    check_same_again(TASK, found)


def test_rows_without_rotations_get_them(tmp_path: Path) -> None:
    picture = {"bytes": png(1), "path": None}
    row = {**TABLE, "hint": "nan", "A": "left", "B": "right", "C": "up", "D": None, "answer": "B", "image": picture}
    fixed = {**row, "index": 4, "C": "A or B"}
    write_parquet(tmp_path / "en" / "dev-00000-of-00001.parquet", [{"index": 3, **row}, fixed])
    found = list(TASK.load(Source(data_dir=tmp_path), "dev"))
    assert [(one.id, one.group, one.answers) for one in found] == [
        ("3", "3", ("B",)),
        ("1000003", "3", ("A",)),
        ("2000003", "3", ("C",)),
        ("4", "4", ("B",)),
    ]
    assert found[1].choices == ("right", "up", "left")
    assert "Hint" not in str(shown_text(found[0]))
    check_same_again(TASK, found)


def shown_text(sample: Any) -> Any:
    return TASK.prompts["vlmevalkit"](sample)[0].parts[-1]


@pytest.mark.parametrize("change", [{"index": "x"}, {"answer": "D"}, {"question": None}], ids=str)
def test_rows_that_cannot_be_used(tmp_path: Path, change: dict[str, Any]) -> None:
    row = {"index": 3, **TABLE, "A": "left", "B": "right", "answer": "B", **change}
    write_parquet(tmp_path / "dev.parquet", [row])
    with pytest.raises(DataError) as caught:
        list(TASK.load(Source(data_dir=tmp_path), "dev"))
    assert caught.value.code == "data.field"


def test_the_servers_file_has_raw_predictions() -> None:
    (text,) = TASK.submission([(TASK.sample(ROW), "B")]).values()  # type: ignore[misc]
    assert json.loads(text) == [{"index": 3, "prediction": "B"}]
