from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.scorers.option_letter import inferred_letter
from kvl_eval.sources import Source
from kvl_eval.tasks.mlvu import DEV, TASK, block, last_equal
from kvl_eval.types import MISSING, Sample, Score, Scored, VideoRef
from tests.golden import rows
from tests.tasks.tables import write_json, write_parquet
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again, percent_of

ROW = {
    "video": "movie_1.mp4",
    "duration": 480.5,
    "question": "Which animal crosses the yard last?",
    "candidates": ["The goat", "The goose", "The grey cat", "The donkey"],
    "answer": "The grey cat",
    "question_type": "plotQA",
}


def _sample(row: dict[str, Any]) -> Sample:
    """The sample of a vector's row; a gold that is no candidate, which a table may not have, as the authors read it."""
    if "candidates" not in row or row.get("answer") in row["candidates"]:
        return TASK.sample(row)
    gold = last_equal(row["answer"], row["candidates"])
    return replace(TASK.sample({**row, "answer": None}), answers=(gold,))


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "mlvu" / "answers.jsonl"):
        expected, sample = row["expected"], _sample(row["inputs"])
        score = TASK.protocols[row["source"]].score(sample, row["response"], MISSING)
        assert (score.value == 1) is expected["correct"], row["id"]
        if "extracted" in expected:
            assert (score.extracted or "") == expected["extracted"], row["id"]
        if "fallback_option" in expected:
            assert (inferred_letter(sample, row["response"]) or "Z") == expected["fallback_option"], row["id"]
        if "gold_string" in expected:
            assert f"({sample.answers[0]}) {row['inputs']['answer']}" == expected["gold_string"], row["id"]


def _scored(items: list[dict[str, Any]]) -> list[Scored]:
    return [
        Scored(sample=TASK.sample(item), score=Score.of(item["pred_answer"] == item["answer"], item["pred_answer"]))
        for item in items
    ]


def test_three_figures_of_one_name(data: Path) -> None:
    for row in rows(data / "mlvu" / "aggregate.jsonl"):
        scored, expected = _scored(row["inputs"]["items"]), row["expected"]
        found = {name: TASK.aggregate(scored, name) for name in TASK.protocols}
        printed = {name: float(summary.official["M-Avg"]) for name, summary in found.items()}
        if "lmms_eval_macro_over_9" in expected:
            assert printed["lmms-eval"] == pytest.approx(expected["lmms_eval_macro_over_9"])
            continue
        for name, percent in expected["per_task"].items():
            assert float(found["official"].official[name]) == pytest.approx(percent), row["id"]
        assert printed["official"] == pytest.approx(expected["official_avg_over_present_tasks"])
        assert printed["lmms-eval"] == pytest.approx(expected["lmms_eval_macro_over_7"])
        assert printed["vlmevalkit"] == expected["vlmevalkit_M_Avg_micro_rounded"]
        for summary in found.values():
            assert summary.score == pytest.approx(expected["official_avg_over_present_tasks"] / 100), "never micro"


@pytest.mark.shared
def test_published_averages_are_means_of_tasks(shared: Path) -> None:
    published = [row for row in rows(shared / "mlvu" / "aggregate.jsonl") if "-lb-" in row["id"]]
    assert published
    for row in published:
        scored = [
            Scored(sample=TASK.sample({"question": "?", "question_type": name}), score=Score.of(percent / 100, "A"))
            for name, percent in zip(row["inputs"]["order"], row["inputs"]["task_accuracies"], strict=True)
        ]
        summary = TASK.aggregate(scored, "official")
        assert percent_of(summary) == pytest.approx(row["expected"]["mean_of_tasks"])
        assert percent_of(summary) == pytest.approx(row["expected"]["published_M_Avg"], abs=0.051)


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    for row in rows(data / "mlvu" / "prompts.jsonl"):
        expected, sample = row["expected"], _sample(row["inputs"])
        if "system" in expected:
            system, user = TASK.prompts["vlmevalkit"](sample)
            assert (system.role, list(system.parts)) == ("system", [expected["system"]])
            assert list(user.parts) == expected["texts"], row["id"]
            first, asked, begun = TASK.prompts["official"](sample)
            assert (first, asked.parts) == (system, ("".join(expected["texts"]),))
            assert (begun.role, begun.parts) == ("assistant", ("Best Option: (",))
        elif "text" in expected:
            (user,) = TASK.prompts["lmms_eval" if row["protocol"] == "default" else "lmms_eval_plm"](sample)
            assert list(user.parts) == [expected["text"]], row["id"]
        else:
            assert block(sample) == expected["question"], row["id"]
            assert f"({sample.answers[0]}) {row['inputs']['answer']}" == expected["gold_string"]


UNREACHABLE = {**ROW, "video": "needle_4.mp4", "answer": "Catching a flying drone quadcopter"}


def test_a_gold_that_is_no_candidate_is_refused() -> None:
    with pytest.raises(DataError, match="A grey cat"):
        TASK.sample({**ROW, "answer": "A grey cat"})


def test_authors_layout(tmp_path: Path) -> None:
    write_json(tmp_path / "json" / "1_plotQA.json", [ROW, UNREACHABLE])
    write_json(tmp_path / "json" / "2_needle.json", [{**ROW, "video": "n.mp4", "question_type": "findNeedle"}])
    write_json(tmp_path / "json" / "9_summary.json", [{"video": "s.mp4", "question": "Tell.", "answer": "A day."}])
    (tmp_path / "video" / "1_plotQA").mkdir(parents=True)
    (tmp_path / "video" / "1_plotQA" / "movie_1.mp4").write_bytes(b"x")
    samples = list(TASK.load(Source(data_dir=tmp_path), "dev"))
    assert [one.id for one in samples] == ["row-0", "row-1", "row-2"]
    assert [one.answers for one in samples] == [("C",), (), ("C",)]
    assert [one.categories["task"] for one in samples] == [("plotQA",), ("plotQA",), ("needle",)]
    video = samples[0].media[0]
    assert isinstance(video, VideoRef)
    assert (video.path, video.rule, video.frames) == ("video/1_plotQA/movie_1.mp4", "vlmevalkit", 64)
    assert samples[2].media[0].path == "video/n.mp4"  # missing, and found so by whoever opens it
    check_same_again(TASK, samples)


def test_hub_copy(tmp_path: Path) -> None:
    text = block(TASK.sample(ROW))
    row = {"video_name": "movie_1.mp4", "question": text, "answer": "C", "task_type": "needle"}
    write_parquet(tmp_path / "mlvu" / "test-00000-of-00001.parquet", [row])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "dev")
    assert (sample.question, list(sample.choices)) == (ROW["question"], ROW["candidates"])
    assert (sample.answers, sample.categories) == (("C",), {"task": ("needle",)})
    assert block(sample) == text
    check_same_again(TASK, [sample])


def test_a_repeated_candidate_is_gold_where_it_stands_last() -> None:
    assert last_equal("red", ["red", "blue", "red"]) == "C"


@pytest.mark.parametrize(
    ("reply", "reader", "official"),
    [
        ("(C) The grey cat", "correct", "correct"),
        ("The answer is C.", "correct", "wrong"),
        ("no", "no_answer", "wrong"),
    ],
)
def test_the_default_reads_sentences(reply: str, reader: str, official: str) -> None:
    sample = TASK.sample(ROW)
    found = {name: TASK.protocols[name].score(sample, reply, MISSING).verdict for name in ("reader", "official")}
    assert found == {"reader": reader, "official": official}
    assert (TASK.default_protocol, TASK.view.beside) == ("reader", ("official",))


def test_submission_of_the_test_set() -> None:
    one = TASK.sample({**ROW, "question_id": "AC_0", "answer": None})
    (text,) = (TASK.submission or dict)([(one, "The answer is B.")]).values()
    assert json.loads(text) == [{"question_id": "AC_0", "question_type": "plotQA", "option": "B"}]


def test_tasks_that_are_missing_are_named() -> None:
    summary = TASK.aggregate([Scored(sample=TASK.sample(ROW), score=Score.of(1.0, "C"))], "official")
    assert summary.official["tasks without a question"] == ", ".join(name for name in DEV if name != "plotQA")


@given(response=st.text(max_size=60))
def test_any_response_gets_a_verdict(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


@pytest.mark.slow
def test_time_is_linear() -> None:
    check_linear(TASK, ROW, "The answer is (B). ")


def test_only_the_authors_prompt_begins_the_reply_also_without_media() -> None:
    sample: Sample = TASK.sample(ROW)
    last = {name: prompt(sample)[-1].role for name, prompt in TASK.prompts.items()}
    assert last == {name: "assistant" if name == "official" else "user" for name in TASK.prompts}


@pytest.mark.parametrize(
    ("reply", "reader"), [("C", "C"), ("C) The grey cat", "C"), ("C) The grey cat. Note that D is black.", "C")]
)
def test_a_reply_that_was_begun_is_read_from_its_beginning(reply: str, reader: str | None) -> None:
    for name, letter in (("official", "C"), ("official-exact", "C"), ("reader", reader)):
        score = TASK.protocols[name].score(TASK.sample(ROW), f"Best Option: ({reply}", MISSING)
        assert (score.extracted, score.value) == (letter, float(letter == "C")), name
