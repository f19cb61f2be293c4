from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.backends.base import Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import ConfigError
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.scorers import mmvet as grades
from kvl_eval.scorers.mmvet import AGAIN, VARIABLE, proxy, read_grade, tail
from kvl_eval.scoring.judged import prompt_sha256, question_about
from kvl_eval.scoring.outputs import Item
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks.mmvet import TASK, judge_prompt
from kvl_eval.types import MISSING, Score, Scored
from tests.tasks.tables import base64_png, png, read_lines, write_json, write_parquet, write_pictures, write_tsv
from tests.tasks.vectors import (
    check_linear,
    check_no_response_breaks,
    check_same_again,
    hand_made,
    numbered,
    percent_of,
    scored,
    shown,
)
from tests.tiny_task import config_of

ROW = {"question_id": "v1_0", "question": "What is x?", "answer": "-1 <AND> -5", "capability": ["ocr", "math"]}
DATA = Path(__file__).parents[1] / "data" / "mmvet"


# Judge


@pytest.mark.parametrize("case", hand_made("mmvet", "grade_parse.jsonl"), ids=lambda case: case["id"])
def test_what_a_grading_model_says(case: dict[str, Any]) -> None:
    tries = len(TASK.judge.temperatures)
    replies = [*case["judge_replies"], *[case["after_list"]] * tries][:tries]
    read = [read_grade(TASK.sample(ROW), reply) for reply in replies]
    usable = [grade for grade in read if grade is not None]
    expected = case["expected"]
    if expected["official"] == "nan":
        assert "nan" not in usable, "the script takes it, here it is asked for again"
    elif expected["official_calls"] > tries:
        assert not usable and expected["official"] == 0.0, "the script gives up with 0.0, here nothing is scored"
    else:
        assert float(usable[0]) == expected["official"]
        assert read.index(usable[0]) + 1 == expected["official_calls"]
        assert list(TASK.judge.temperatures[: expected["official_calls"]]) == expected["official_temperatures"]


@pytest.mark.shared
def test_the_row_to_be_graded_and_the_rule(shared: Path) -> None:
    for row in read_lines(shared / "mmvet" / "judge_tail.jsonl"):
        expected = row["expected"]
        assert tail(row["question"], row["answer"], row["response"]) == expected["official_tail"], row["id"]
        assert expected["official_retry_tail_suffix"] == AGAIN
        assert expected["lmms_eval_tail"] == expected["official_tail"].rstrip(" "), "the same row, its last blank aside"
        assert proxy(row["answer"], row["response"]) == expected["proxy_score"], row["id"]
        one = TASK.sample({**row, "id": row["id"]})
        prompt = judge_prompt(one, row["response"])
        assert prompt.endswith(expected["official_tail"]), row["id"]


def test_the_authors_words_are_told_from_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert grades.wording() == "this project's"
    ours = judge_prompt(TASK.sample(ROW), "x = 3")
    file = tmp_path / "prefix.txt"
    file.write_text("Other words\n")
    monkeypatch.setenv(VARIABLE, str(file))
    assert "not the authors'" in grades.wording()
    assert judge_prompt(TASK.sample(ROW), "x = 3") == "Other words\nWhat is x? | -1  <AND>  -5 | x = 3 | "
    assert ours.endswith("\nWhat is x? | -1  <AND>  -5 | x = 3 | ")
    monkeypatch.setattr(grades, "OFFICIAL_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert grades.wording() == "the authors'"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError):
        grades.prefix()


def test_our_prompt_has_the_form_of_the_authors() -> None:
    head, header, rule, *rows = [line for line in grades.OWN_PREFIX.splitlines() if line]
    assert header == "Question | Ground truth | Prediction | Correctness" and rule == "--- | --- | --- | ---"
    assert [row.rpartition(" | ")[2] for row in rows] == ["0.0", "0.5", "0.5", "0.5", "1.0", "0.4", "1.0"]
    assert "<AND>" in head and "<OR>" in head and grades.OWN_PREFIX.endswith("1.0\n")


def test_the_seam_asks_about_every_answer() -> None:
    question = question_about(TASK, Item(TASK.sample(ROW), Answer.of("◁think▷hm◁/think▷x = 3")), "answer")
    assert question is not None
    assert question.prompt_sha256 == prompt_sha256(TASK, question.messages)
    assert question.messages[0].parts[0].endswith("| x = 3 | ")  # type: ignore[union-attr]
    assert len(question.keys("judge", TASK.judge.runs)) == 5


@pytest.mark.parametrize(
    ("extraction", "verdict", "value"),
    [
        *[("0.55", "partial", 0.55), ("1.0", "correct", 1.0), ("0", "wrong", 0.0), ("nan", "not_scored", None)],
        *[("1.5", "not_scored", None), ("text", "not_scored", None), (None, "not_scored", None)],
    ],
)
def test_grades(extraction: str | None, verdict: str, value: float | None) -> None:
    for name in ("official", "official-exact", "vlmevalkit", "lmms-eval"):
        score = TASK.protocols[name].score(TASK.sample(ROW), "x", extraction)
        assert (score.verdict, score.value) == (verdict, value)


def test_without_a_judge_nothing_official_is_scored() -> None:
    run = scored(TASK, [{**ROW, "id": "a", "response": "x = -1 or x = -5"}], "official")
    assert (run.rows[0]["verdict"], run.rows[0]["reason"]) == ("not_scored", "judge_missing")
    assert run.summary["score"] is None
    rule = scored(TASK, [{**ROW, "id": "a", "response": "x = -1 or x = -5"}], "proxy")
    assert rule.summary["score"] == 1.0


# Aggregation


@pytest.mark.parametrize("name", ["aggregate_1run", "aggregate_5runs"])
def test_tables(name: str) -> None:
    expected = json.loads((DATA / f"{name}_score.json").read_text())
    graded = []
    for row in hand_made("mmvet", f"{name}.jsonl"):
        mean = sum(row["scores"]) / len(row["scores"])
        score = Score.of(mean, "x", "judge", judge_runs=[float(value) for value in row["scores"]])
        graded.append(Scored(sample=TASK.sample({**ROW, **row, "question_id": row["id"]}), score=score))
    official = dict(TASK.aggregate(graded, "official").official)
    figures = {key: text if key == "runs" else float(text) for key, text in official.items() if "judge" not in key}
    wanted = expected["official_capabilities"] | {
        f"only {key}": value
        for key, value in expected["official_integrations_keys_sorted"].items()
        if key not in ("total", "std", "runs")
    }
    assert figures == pytest.approx(wanted)
    assert official["words of the judge's prompt"] == "this project's"
    summary = TASK.aggregate(graded, "official")
    assert {key: one.n for key, one in summary.categories["capability"].items()} == {
        key: count for key, count in expected["counts"].items() if key != "total"
    }
    table = {
        key: float(text) for key, text in TASK.aggregate(graded, "vlmevalkit").official.items() if "judge" not in key
    }
    both = expected["vlmevalkit_first_run"] | expected["vlmevalkit_integrations_by_row_order"]
    assert table == pytest.approx({key: values[1] for key, values in both.items()})
    assert sum(Counter(one.sample.id for one in graded).values()) == expected["rows"]
    first = [replace(one, score=Score.of(one.score.detail["judge_runs"][0], "x", "judge")) for one in graded]
    assert percent_of(TASK.aggregate(first, "lmms-eval")) == pytest.approx(expected["lmms_eval_first_run"])


# The rule


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("-1 <AND> -5", "x = -1", 0.5),
        ("1.25 <OR> 5/4", "It is 5/4.", 1.0),
        ("cat", "concatenate", 0.0),
        ("Tea <AND> Rye<OR>oat", "tea and OAT", 1.0),
        ("a", "", 0.0),
    ],
)
def test_proxy(gold: str, answer: str, value: float) -> None:
    assert proxy(gold, answer) == value


@given(response=st.text(max_size=60), gold=st.text(min_size=1, max_size=20).filter(str.strip))
def test_no_response_breaks_a_protocol(response: str, gold: str) -> None:
    check_no_response_breaks(TASK, {**ROW, "answer": gold}, response)
    assert (
        read_grade(TASK.sample(ROW), response) is None or 0 <= float(str(read_grade(TASK.sample(ROW), response))) <= 1
    )


@pytest.mark.parametrize("unit", ["-1-", " . "])
def test_reading_is_linear(unit: str) -> None:
    check_linear(TASK, ROW, unit)


@pytest.mark.parametrize("case", hand_made("mmvet", "prompt_cases.jsonl"), ids=lambda case: case["id"])
def test_prompts_of_odd_rows_are_word_for_word_those_of_their_harness(case: dict[str, Any]) -> None:
    one = numbered(TASK, {**ROW, "question": case["question"]})
    assert shown(TASK.prompts["question_only"](one)) == [{"image": 1}, {"text": case["expected"]["official"]}]
    assert shown(TASK.prompts["lmms_eval"](one)) == [{"image": 1}, {"text": case["expected"]["lmms_eval"]}]
    assert case["expected"]["official"] == case["expected"]["vlmevalkit"]


# Loading


def check_loaded(folder: Path) -> None:
    (one,) = found = list(TASK.load(Source(data_dir=folder), "test"))
    assert one.answers == ("-1 <AND> -5",)
    assert one.categories == {"capability": ("ocr", "math"), "integration": ("math_ocr",)}
    check_same_again(TASK, found)
    assert TASK.protocols["proxy"].score(one, "-1 and -5", MISSING).value == 1


def test_the_authors_archive(tmp_path: Path) -> None:
    row = {key: ROW[key] for key in ("question", "answer", "capability")}
    write_json(tmp_path / "mm-vet.json", {"v1_0": {**row, "imagename": "v1_0.png", "imagesource": "web"}})
    write_pictures(tmp_path / "images", ["v1_0.png"])
    check_loaded(tmp_path)


def test_hub_copy(tmp_path: Path) -> None:
    row = {**ROW, "capability": "ocr,math", "image": {"bytes": png(1), "path": None}}
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [row])
    check_loaded(tmp_path)


def test_vlmevalkit_table(tmp_path: Path) -> None:
    cells = {"index": 0, "question": ROW["question"], "answer": ROW["answer"], "category": "ocr,math"}
    write_tsv(tmp_path / "MMVet.tsv", [{**cells, "image": base64_png(1, (40, 30))}])
    check_loaded(tmp_path)


def test_the_plan_says_that_a_judge_is_needed(tmp_path: Path) -> None:
    config = config_of(TASK, tmp_path, split="mini", limit=1)
    plan = plan_run(config, FakeBackend(Settings.of(model_args={})), [TASK])
    assert plan_text(plan).endswith("  unjudged (needs a judge)")
