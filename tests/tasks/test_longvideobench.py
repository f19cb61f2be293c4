from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.sources import Source
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.longvideobench import LONGVIDEOBENCH, LONGVIDEOBENCH_NOSUBS
from kvl_eval.types import MISSING, Sample, Scored, SubtitleRef, VideoRef
from tests.golden import rows
from tests.refusals import refused
from tests.tasks.tables import write_json, write_parquet, write_tsv
from tests.tasks.vectors import after_kimi_thought

JSON_ROW = {
    "video_id": "86CxyhFV9MI",
    "video_path": "86CxyhFV9MI.mp4",
    "subtitle_path": "86CxyhFV9MI_en.json",
    "id": "86CxyhFV9MI_0",
    "question": "What follows?",
    "question_wo_referring_query": "What?",
    "candidates": ["a map", "a boat", "a dog", "a hat"],
    "correct_choice": 1,
    "duration": 190.16,
    "duration_group": 600,
    "starting_timestamp_for_subtitles": 0,
    "question_category": "T2O",
    "topic_category": "NP-News-Programs",
    "level": "L1-Perception",
    "view_count": 5,
}
HUB_ROW = {
    **{key: JSON_ROW[key] for key in JSON_ROW if key not in ("candidates", "level", "view_count")},
    **{f"option{number}": text for number, text in enumerate(["a map", "a boat", "a dog", "a hat", "N/A"])},
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "longvideobench" / "answers.jsonl"):
        expected, response = row["expected"], row["response"]
        sample = LONGVIDEOBENCH.sample(row["inputs"])
        if row["inputs"].get("strip_thinking"):
            response = after_kimi_thought(response)
            assert response == expected["stripped"], row["id"]
        names = ("vlmevalkit",) if row["source"] == "vlmevalkit" else ("official", "official-exact", "lmms-eval")
        for name in names:
            score = LONGVIDEOBENCH.protocols[name].score(sample, response, MISSING)
            assert score.extracted == expected["extracted"], row["id"]
            if expected.get("random"):
                assert (score.verdict == "no_answer") is (name == "official"), row["id"]
                assert (score.method == "random_guess") is (name != "official"), row["id"]
            else:
                assert (score.value == 1) is expected["correct"], row["id"]


def test_drawn_letters_depend_on_the_question_alone() -> None:
    samples = [LONGVIDEOBENCH.sample({**JSON_ROW, "id": str(number)}) for number in range(40)]
    draw = LONGVIDEOBENCH.protocols["lmms-eval"].score
    first = [draw(sample, "", MISSING).detail["drawn"] for sample in samples]
    assert first == [draw(sample, "no idea", MISSING).detail["drawn"] for sample in reversed(samples)][::-1]
    assert set(first) == set("ABCD")
    assert all(
        (draw(one, "", MISSING).value == 1) is (letter == "B") for one, letter in zip(samples, first, strict=True)
    )


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "longvideobench" / "aggregate.jsonl"):
        for name in ("vlmevalkit",) if row["source"] == "vlmevalkit" else ("official", "official-exact", "lmms-eval"):
            scored = scored_items([{**item, "response": item["parsed_pred"]} for item in row["inputs"]["items"]], name)
            figures = LONGVIDEOBENCH.aggregate(scored, name).official
            if row["source"] == "vlmevalkit":
                assert figures == row["expected"]["fraction_3dp"], row["id"]
            else:
                assert figures["Overall"] == str(row["expected"]["overall_fraction_5dp"]), row["id"]


def scored_items(items: Sequence[dict[str, Any]], name: str) -> list[Scored]:
    samples = [LONGVIDEOBENCH.sample(item) for item in items]
    score = LONGVIDEOBENCH.protocols[name].score
    return [
        Scored(sample=sample, score=score(sample, item["response"] or "", MISSING))
        for sample, item in zip(samples, items, strict=True)
    ]


def test_drawn_letters_are_reported_apart() -> None:
    items = [{**JSON_ROW, "id": str(number), "response": "B" if number < 5 else ""} for number in range(10)]
    figures = LONGVIDEOBENCH.aggregate(scored_items(items, "official-exact"), "official-exact").official
    assert figures["letters drawn at random"] == "5"
    assert figures["accuracy, drawn letters counted wrong"] == "0.50000"


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    for row in rows(data / "longvideobench" / "prompts.jsonl"):
        sample = LONGVIDEOBENCH.sample(row["inputs"])
        (message,) = LONGVIDEOBENCH.prompts[row["source"].replace("-", "_")](sample)
        (text,) = message.parts
        expected = row["expected"]
        assert text == expected.get("text", "\n".join(expected.get("parts", ()))), row["id"]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def load(task: Task, folder: Path, split: str = "validation") -> list[Sample]:
    return list(task.load(Source(data_dir=folder), split))


def test_hub_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", [HUB_ROW])
    touch(tmp_path / "videos" / "86CxyhFV9MI.mp4", tmp_path / "subtitles" / "86CxyhFV9MI_en.json")
    (sample,) = load(LONGVIDEOBENCH, tmp_path)
    assert (sample.id, sample.answers, sample.cluster) == ("86CxyhFV9MI_0", ("B",), "86CxyhFV9MI")
    assert sample.choices == ("a map", "a boat", "a dog", "a hat")
    assert sample.categories == {
        "duration_group": ("600",),
        "question_category": ("T2O",),
        "topic_category": ("NP-News-Programs",),
    }
    (video,) = sample.media
    assert isinstance(video, VideoRef)
    assert (video.path, video.rule, video.frames, video.duration) == (
        "videos/86CxyhFV9MI.mp4",
        "longvideobench",
        64,
        190.16,
    )
    assert video.subtitles == SubtitleRef(
        video=video.name,
        rule="interleave",
        path="subtitles/86CxyhFV9MI_en.json",
        root=str(tmp_path),
        offset=0.0,
        duration=190.16,
    )
    check_again(LONGVIDEOBENCH, sample)


def test_authors_json_layout(tmp_path: Path) -> None:
    write_json(tmp_path / "lvb_val.json", [JSON_ROW])
    (with_lines,), (without,) = load(LONGVIDEOBENCH, tmp_path), load(LONGVIDEOBENCH_NOSUBS, tmp_path)
    assert with_lines.media[0].subtitles.path == "subtitles/86CxyhFV9MI_en.json"
    assert without.media[0].subtitles is None
    assert without.categories["level"] == ("L1-Perception",)
    check_again(LONGVIDEOBENCH, with_lines)


def test_vlmevalkit_layout(tmp_path: Path) -> None:
    row = {**JSON_ROW, "candidates": str(JSON_ROW["candidates"]), "video_path": "./videos/86CxyhFV9MI.mp4", "index": 0}
    write_tsv(tmp_path / "LongVideoBench.tsv", [row])
    touch(tmp_path / "videos" / "86CxyhFV9MI.mp4")
    (sample,) = load(LONGVIDEOBENCH, tmp_path)
    assert (sample.media[0].path, sample.media[0].duration, sample.answers) == (
        "videos/86CxyhFV9MI.mp4",
        190.16,
        ("B",),
    )
    check_again(LONGVIDEOBENCH, sample)


def test_test_split_has_no_gold(tmp_path: Path) -> None:
    write_json(tmp_path / "lvb_test_wo_gt.json", [{k: v for k, v in JSON_ROW.items() if k != "correct_choice"}])
    (sample,) = load(LONGVIDEOBENCH, tmp_path, "test")
    assert sample.answers == ()
    assert {one.score(sample, "B", MISSING).verdict for one in LONGVIDEOBENCH.protocols.values()} == {"not_scored"}
    assert LONGVIDEOBENCH.submission is not None
    (text,) = LONGVIDEOBENCH.submission([(sample, "It is B.\n")]).values()
    assert json.loads(text) == {"86CxyhFV9MI_0": "It is B.\n"}


def test_hidden_answers_may_be_minus_one() -> None:
    assert LONGVIDEOBENCH.sample({**JSON_ROW, "correct_choice": -1}).answers == ()


def test_lmms_eval_shows_sixteen_frames(tmp_path: Path) -> None:
    write_json(tmp_path / "lvb_val.json", [JSON_ROW])
    for task, rule in ((LONGVIDEOBENCH, "interleave-lmms-eval"), (LONGVIDEOBENCH_NOSUBS, None)):
        (sample,) = load(task, tmp_path)
        ((video, _),) = (message.parts for message in task.prompts["lmms_eval"](sample))
        assert isinstance(video, VideoRef)
        assert video.frames == 16
        assert (video.subtitles.rule if video.subtitles else None) == rule


@pytest.mark.parametrize("change", [{"correct_choice": 5}, {"correct_choice": "B"}, {"candidates": "a, b"}])
def test_bad_rows_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        LONGVIDEOBENCH.sample({**JSON_ROW, **change})


def test_a_duration_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "lvb_val.json", [{**JSON_ROW, "duration": "long"}])
    with refused(DataError, "data.field", "'long'") as caught:
        load(LONGVIDEOBENCH, tmp_path)
    assert caught.value.where == f"lvb_val.json row 1, id {JSON_ROW['id']}"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    row = {key: JSON_ROW[key] for key in ("id", "question", "video_path", "candidates")}
    write_json(tmp_path / "lvb_val.json", [row])
    assert load(LONGVIDEOBENCH_NOSUBS, tmp_path)
    with refused(DataError, "data.field", "subtitle_path"):
        load(LONGVIDEOBENCH, tmp_path)


@given(response=st.text(max_size=60))
def test_any_response_gets_a_verdict(response: str) -> None:
    for protocol in LONGVIDEOBENCH.protocols.values():
        score = protocol.score(LONGVIDEOBENCH.sample(JSON_ROW), response, MISSING)
        assert score.value in (0.0, 1.0)
        assert score.method == "random_guess" or (score.value == 1) == (score.extracted == "B")


def check_again(task: Task, sample: Sample) -> None:
    """A stored row gives the same sample without its media."""
    again = task.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "choices", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
    assert again.media == ()
