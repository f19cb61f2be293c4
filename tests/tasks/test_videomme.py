from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.media.subtitles import Clip, spelled_out
from kvl_eval.sources import Source
from kvl_eval.tasks.base import Task
from kvl_eval.tasks.videomme import VIDEOMME, VIDEOMME_SUBS
from kvl_eval.types import MISSING, Message, Sample, Scored, SubtitleRef, VideoRef
from tests.golden import rows
from tests.refusals import refused
from tests.tasks.tables import write_parquet, write_tsv
from tests.tasks.vectors import after_kimi_thought, percent_of

PROTOCOLS = {"official": ("official", "official-exact"), "vlmevalkit": ("vlmevalkit",), "lmms-eval": ("lmms-eval",)}
HUB = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Humanity & History",
    "url": "https://example.org/watch?v=abc",
    "videoID": "abc",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "How often?",
    "options": ["A. Once.", "B. Twice.", "C. Three times.", "D. Never."],
    "answer": "C",
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "videomme" / "answers.jsonl"):
        expected, response = row["expected"], row["response"]
        if row["inputs"].get("strip_thinking"):
            response = after_kimi_thought(response)
            assert response == expected["stripped"], row["id"]
        for protocol in PROTOCOLS[row["source"]]:
            score = VIDEOMME.protocols[protocol].score(VIDEOMME.sample(row["inputs"]), response, MISSING)
            assert score.extracted == (expected["extracted"] or None), row["id"]
            assert (score.value == 1) is expected["correct"], row["id"]
            if protocol == "official-exact":
                assert (score.value is not None) is expected["counted"], row["id"]
            if "path" in expected:
                assert (score.method == "fallback") is (expected["path"] == "fallback"), row["id"]


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "videomme" / "aggregate.jsonl"):
        expected = row["expected"]
        for protocol in PROTOCOLS[row["source"]]:
            summary = VIDEOMME.aggregate(scored_items(row["inputs"]["items"], protocol), protocol)
            if "percent_1dp" in expected:
                for name, value in expected["percent_1dp"].items():
                    assert summary.official.get(name, "0.0%") == f"{value:.1f}%", row["id"]
            elif "fraction_3dp" in expected:
                wanted = expected["fraction_3dp"] | {f"domain/{k}": v for k, v in expected["domain_overall"].items()}
                assert summary.official == wanted, row["id"]
            else:
                assert percent_of(summary) == pytest.approx(expected["overall_percent"]), row["id"]
                assert summary.official["overall"] == f"{expected['overall_percent']:.1f}%", row["id"]


def scored_items(items: Sequence[dict[str, Any]], protocol: str) -> list[Scored]:
    found = []
    for item in items:
        sample = VIDEOMME.sample(item)
        found.append(Scored(sample=sample, score=VIDEOMME.protocols[protocol].score(sample, item["response"], MISSING)))
    return found


def test_denominators_of_the_authors_script() -> None:
    items = [{**HUB, "response": response} for response in ("C", "A", "", "no idea")]
    kept, exact = (VIDEOMME.aggregate(scored_items(items, name), name) for name in ("official", "official-exact"))
    assert (kept.score, exact.score) == (0.25, 0.5)
    assert kept.official == exact.official
    assert kept.official["overall"] == "50.0%"
    assert kept.official["accuracy_all"] == "25.0%"
    assert kept.official["replies without a letter"] == "2"


def test_lmms_eval_mixes_groups_of_one_name() -> None:
    one = {**HUB, "domain": "Multilingual", "sub_category": "Travel", "response": "C"}
    other = {**HUB, "domain": "Knowledge", "sub_category": "Multilingual", "response": "A"}
    figures = VIDEOMME.aggregate(scored_items([one, other], "lmms-eval"), "lmms-eval").official
    assert figures["domain/Multilingual"] == figures["sub_category/Multilingual"] == "50.0%"
    assert VIDEOMME.aggregate(scored_items([one, other], "official"), "official").official["domain/Multilingual"] == (
        "100.0%"
    )


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    for row in rows(data / "videomme" / "prompts.jsonl"):
        given_, expected = row["inputs"], row["expected"]
        lines = given_.get("subtitles")
        task = VIDEOMME if lines is None else VIDEOMME_SUBS
        sample = with_video(task.sample(given_), None if lines is None else "vlmevalkit")
        (message,) = task.prompts[row["source"].replace("-", "_")](sample)
        texts = [part if isinstance(part, str) else "\n".join(lines) for part in message.parts[1:]]
        assert isinstance(message.parts[0], VideoRef)
        if "parts" in expected:
            assert texts[-1] == expected["parts"][-1], row["id"]
            assert "".join(texts) == "".join(expected["parts"]), row["id"]
        else:
            assert "".join(texts) == expected["text"], row["id"]


def with_video(sample: Sample, rule: str | None, **fields: Any) -> Sample:
    lines = None if rule is None else SubtitleRef(video="v", rule=rule, **({"path": "v.srt"} | fields))
    return Sample(
        id=sample.id,
        question=sample.question,
        row=sample.row,
        media=(VideoRef(name="v", path="v.mp4", subtitles=lines),),
    )


def test_a_video_without_subtitles() -> None:
    sample = with_video(VIDEOMME_SUBS.sample(HUB), "vlmevalkit", path=None, missing="")
    clips = {"v": Clip(fps=1.0, total=4, indices=(1,))}

    def text(prompt: str) -> str:
        (message,) = VIDEOMME_SUBS.prompts[prompt](sample)
        return "".join(part for part in spelled_out(message.parts, clips) if isinstance(part, str))

    assert "subtitles" not in text("official")
    assert "This video's subtitles are listed below:\n\nSelect" in text("vlmevalkit")
    assert text("lmms_eval").startswith("This video's subtitles are listed below: \nNo subtitles available\nSelect")
    assert text("lmms_eval").endswith("D. Never.\nThe best answer is:")


def write_hub(folder: Path) -> None:
    other = {**HUB, "videoID": "def", "question_id": "002-1", "answer": "D"}
    write_parquet(folder / "videomme" / "test-00000-of-00001.parquet", [HUB, {**HUB, "question_id": "001-2"}, other])


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def load(task: Task, folder: Path) -> list[Sample]:
    return list(task.load(Source(data_dir=folder), "test"))


def test_hub_layout(tmp_path: Path) -> None:
    write_hub(tmp_path)
    touch(tmp_path / "data" / "abc.MP4")
    first, second, third = load(VIDEOMME, tmp_path)
    assert (first.id, second.id, third.id) == ("001-1", "001-2", "002-1")
    assert first.choices == ("Once.", "Twice.", "Three times.", "Never.")
    assert (first.answers, first.cluster) == (("C",), "abc")
    assert first.categories == {
        "duration": ("short",),
        "domain": ("Knowledge",),
        "sub_category": ("Humanity & History",),
        "task_type": ("Counting Problem",),
    }
    (video,) = first.media
    assert isinstance(video, VideoRef)
    assert (video.path, video.root, video.rule, video.frames) == ("data/abc.MP4", str(tmp_path), "vlmevalkit", 64)
    assert video.subtitles is None
    assert third.media[0].path == "data/def.mp4"  # missing, and found so by whoever opens it
    check_again(VIDEOMME, first)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_subtitles_are_found_and_not_opened(tmp_path: Path, packed: bool) -> None:
    write_hub(tmp_path)
    touch(tmp_path / "video" / "abc.mp4")
    if packed:
        with zipfile.ZipFile(tmp_path / "subtitle.zip", "w") as archive:
            archive.writestr("subtitle/abc.srt", "x")
    else:
        touch(tmp_path / "subtitle" / "abc.srt")
    first, _, third = load(VIDEOMME_SUBS, tmp_path)
    lines = first.media[0].subtitles
    assert lines == SubtitleRef(
        video="video abc",
        rule="vlmevalkit",
        path=None if packed else "subtitle/abc.srt",
        archive="subtitle.zip" if packed else None,
        member="subtitle/abc.srt" if packed else None,
        root=str(tmp_path),
        missing="",
    )
    assert (third.media[0].subtitles.path, third.media[0].subtitles.archive) == (None, None)
    check_again(VIDEOMME_SUBS, first)


def test_subtitles_that_are_nowhere_are_an_error(tmp_path: Path) -> None:
    write_hub(tmp_path)
    with refused(DataError, "data.missing", "subtitles") as caught:
        load(VIDEOMME_SUBS, tmp_path)
    assert caught.value.code == "data.missing"


def test_vlmevalkit_layout(tmp_path: Path) -> None:
    row = {
        **{key: HUB[key] for key in ("duration", "domain", "sub_category", "task_type", "question", "answer")},
        "index": 5,
        "video": "abc",
        "video_path": "./video/abc.mp4",
        "subtitle_path": "./subtitle/abc.srt",
        "candidates": str(HUB["options"]),
    }
    write_tsv(tmp_path / "Video-MME.tsv", [row])
    touch(tmp_path / "video" / "abc.mp4")
    (sample,) = load(VIDEOMME, tmp_path)
    assert (sample.id, sample.cluster, sample.media[0].path) == ("5", "abc", "video/abc.mp4")
    assert sample.row["options"] == HUB["options"]
    check_again(VIDEOMME, sample)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [{"question": "?", "options": ["A. a"], "videoID": "x"}])
    with refused(DataError, "data.field", "question_id or index"):
        load(VIDEOMME, tmp_path)


@pytest.mark.parametrize("change", [{"answer": "E"}, {"answer": 2}, {"options": "[open('x')]"}])
def test_bad_rows_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        VIDEOMME.sample({**HUB, **change})


def test_a_video_outside_the_folder_stays_where_it_is(tmp_path: Path) -> None:
    write_parquet(tmp_path / "d" / "test.parquet", [{**HUB, "videoID": "../secret"}])
    touch(tmp_path / "secret.mp4")
    (sample,) = load(VIDEOMME, tmp_path / "d")
    assert sample.media[0].path == "data/../secret.mp4"


@pytest.mark.parametrize(
    ("answer", "extraction", "verdict", "extracted"),
    [
        ("C", MISSING, "correct", "C"),
        ("none of them", MISSING, "no_answer", None),
        ("A", "C", "correct", "C"),
        ("C", None, "no_answer", None),
        ("C", "", "no_answer", None),
    ],
)
def test_verdicts(answer: str, extraction: Any, verdict: str, extracted: str | None) -> None:
    score = VIDEOMME.protocols["official"].score(VIDEOMME.sample(HUB), answer, extraction)
    assert (score.verdict, score.extracted) == (verdict, extracted)


def test_without_gold_nothing_is_scored() -> None:
    sample = VIDEOMME.sample({**HUB, "answer": None})
    assert {one.score(sample, "C", MISSING).verdict for one in VIDEOMME.protocols.values()} == {"not_scored"}


@given(response=st.text(max_size=60))
def test_any_response_gets_a_verdict(response: str) -> None:
    for name, protocol in VIDEOMME.protocols.items():
        score = protocol.score(VIDEOMME.sample(HUB), response, MISSING)
        unread = "not_scored" if name == "official-exact" else "no_answer"
        assert score.verdict in ("correct", "wrong", unread), name
        assert (score.verdict == "correct") == (score.extracted == "C")


def test_both_settings_have_their_own_figure() -> None:
    assert VIDEOMME.reference is not None and VIDEOMME_SUBS.reference is not None
    assert (VIDEOMME.reference.setting, VIDEOMME_SUBS.reference.setting) == ("w/o subs", "w/ subs")


def test_every_prompt_can_be_made_of_a_row_without_media() -> None:
    for task in (VIDEOMME, VIDEOMME_SUBS):
        for prompt in task.prompts.values():
            assert all(isinstance(message, Message) for message in prompt(task.sample(HUB)))


def check_again(task: Task, sample: Sample) -> None:
    """A stored row gives the same sample without its media."""
    again = task.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "choices", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
    assert again.media == ()
