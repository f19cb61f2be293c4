from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.sources import Source
from kvl_eval.tasks.videommmu import TASK, TRACKS, gold_values
from kvl_eval.types import MISSING, ImageRef, Score, Scored, VideoRef
from tests.golden import rows
from tests.tasks.tables import write_parquet
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again, percent_of

EXACT = {"official": "official-exact", "vlmevalkit": "vlmevalkit", "lmms-eval": "lmms-eval"}
ROW = {
    "id": "validation_Art_Theory_3",
    "question": "<image 1> Which?",
    "options": ["p", "q", "r"],
    "answer": "B",
    "question_type": "multiple-choice",
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "videommmu" / "answers.jsonl"):
        expected, sample = row["expected"], TASK.sample(row["inputs"])
        score = TASK.protocols[EXACT[row["source"]]].score(sample, row["response"], MISSING)
        assert (score.value is not None) is expected["counted"], row["id"]
        assert (score.value == 1) is bool(expected["correct"]), row["id"]
        if isinstance(expected["parsed"], list):
            assert set(map(str, score.extracted)) == set(map(str, expected["parsed"])), row["id"]
        elif sample.choices:
            assert score.extracted == (expected["parsed"] if len(expected["parsed"]) == 1 else None), row["id"]


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "videommmu" / "aggregate.jsonl"):
        if "-ag-" not in row["id"]:
            continue
        protocol, scored = EXACT[row["source"]], []
        for item in row["inputs"]["items"]:
            sample = TASK.sample(item)
            score = TASK.protocols[protocol].score(sample, item["response"], MISSING)
            scored.append(Scored(sample=sample, score=score))
        official = TASK.aggregate(scored, protocol).official
        for track in (*TRACKS, "Overall"):
            wanted = row["expected"].get(track)
            if wanted is not None:
                wanted = wanted["acc"] if isinstance(wanted, dict) else wanted
                assert float(official.get(track, 0)) == pytest.approx(wanted), row["id"]
        if "mean_of_tracks" in row["expected"] and all(track in official for track in TRACKS):
            assert float(official["mean of tracks"]) == pytest.approx(row["expected"]["mean_of_tracks"], abs=1e-5)


VIDEO = VideoRef(name="v.mp4", path="v.mp4", frames=32)
PICTURE = ImageRef(name="q.png", data=b"x")
SHOWN = {("video", "v.mp4"): replace(VIDEO, rule="vlmevalkit"), ("image", "q.png"): PICTURE}


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    asked = list(rows(data / "videommmu" / "prompts.jsonl"))
    assert len(asked) == 54
    for row in asked:
        track, _, variant = row["protocol"].partition(" ")
        track = "question_only" if variant == "question_only" else track.split("/")[0]
        sample = TASK.sample({**row["inputs"], "track": track, "answer": "A"})
        if row["source"] != "vlmevalkit":
            (user,) = TASK.prompts["official"](sample)
            assert user.parts == (row["expected"]["text"],), row["id"]
            continue
        sample = replace(sample, media=(VIDEO, PICTURE) if track == "Adaptation" else (VIDEO,))
        (user,) = TASK.prompts["vlmevalkit_interleaved" if variant else "vlmevalkit"](sample)
        shown = SHOWN if track == "Adaptation" else {("video", "v.mp4"): VIDEO}
        expected = [shown.get((kind, value), value) for kind, value in row["expected"]["messages"]]
        assert list(user.parts) == expected, row["id"]


def test_the_picture_is_the_last_frame_for_the_authors_and_where_no_table_has_it() -> None:
    adaptation = replace(TASK.sample(ROW), media=(VIDEO, PICTURE))
    assert TASK.prompts["official"](adaptation)[0].media == (VIDEO,)
    without = replace(adaptation, media=(VIDEO,))
    for name in ("vlmevalkit", "vlmevalkit_interleaved"):
        assert TASK.prompts[name](without)[0].media == (VIDEO,), "the rule that shows the last frame"


def answered(track: str, right: Iterable[int], n: int) -> list[Scored]:
    return [
        Scored(
            sample=TASK.sample({**ROW, "id": f"test_Art_{number}", "track": track}),
            score=Score.of(number in set(right), "B"),
        )
        for number in range(n)
    ]


def test_knowledge_gained(data: Path) -> None:
    asked = [row for row in rows(data / "videommmu" / "aggregate.jsonl") if "-delta-" in row["id"]]
    assert len(asked) == 6
    for row in asked:
        given_, expected = row["inputs"], row["expected"]
        scored = answered("Adaptation", given_["adaptation_correct"], given_["n"])
        scored += answered("question_only", given_["question_only_correct"], given_["n"])
        summary = TASK.aggregate(scored, "official")
        found = {name: None if text == "undefined" else float(text) for name, text in summary.official.items()}
        assert found["question only"] == pytest.approx(expected["question_only"])
        assert percent_of(summary) == pytest.approx(expected["adaptation"]), "the headline is of the tracks"
        for ours, theirs in {"delta knowledge": "delta_knowledge", "wrong to right": "wrong2right"}.items():
            assert found[ours] == (None if expected[theirs] is None else pytest.approx(expected[theirs])), row["id"]
        right2wrong = expected["right2wrong"]
        assert found["right to wrong"] == (None if right2wrong is None else pytest.approx(right2wrong)), row["id"]


def test_nothing_can_be_gained_where_all_was_known() -> None:
    scored = answered("Adaptation", [0], 2) + answered("question_only", [0, 1], 2)
    official = TASK.aggregate(scored, "official").official
    assert (official["delta knowledge"], official["right to wrong"]) == ("undefined", "50.0")
    assert "delta knowledge" not in TASK.aggregate(scored[:2], "official").official


@pytest.mark.shared
def test_published_overalls_are_means_of_tracks(shared: Path) -> None:
    published = [row for row in rows(shared / "videommmu" / "aggregate.jsonl") if "-lb-" in row["id"]]
    assert len(published) == 5
    for row in published:
        scored = [
            Scored(sample=TASK.sample({**ROW, "track": track}), score=Score.of(row["inputs"][track] / 100, "B"))
            for track in TRACKS
        ]
        for protocol in TASK.protocols:
            summary = TASK.aggregate(scored, protocol)
            assert percent_of(summary) == pytest.approx(row["expected"]["mean_of_tracks"])
            assert percent_of(summary) == pytest.approx(row["expected"]["published_overall"], abs=0.021)


def test_the_questions_alone(tmp_path: Path) -> None:
    for track in TRACKS:
        write_parquet(tmp_path / track / "test-00000-of-00001.parquet", [ROW])
    (tmp_path / "question_only").mkdir()
    (tmp_path / "question_only" / "validation_Art_Theory_3_image.mp4").write_bytes(b"x")
    samples = list(TASK.load(Source(data_dir=tmp_path), "delta"))
    assert [one.id for one in samples[:3]] == [one.id for one in TASK.load(Source(data_dir=tmp_path), "test")]
    alone = samples[3]
    assert (alone.id, alone.answers) == (f"question_only/{ROW['id']}", ("B",))
    (clip,) = alone.media
    assert isinstance(clip, VideoRef)
    assert (clip.path, clip.frames) == ("question_only/validation_Art_Theory_3_image.mp4", 1)
    check_same_again(TASK, samples)


def test_the_tables_pictures(tmp_path: Path) -> None:
    for track in TRACKS:
        cell = {"image": {"bytes": b"png", "path": "q.png"}} if track == "Adaptation" else {}
        write_parquet(tmp_path / track / "test-00000-of-00001.parquet", [{**ROW, **cell}])
    samples = list(TASK.load(Source(data_dir=tmp_path), "delta"))
    kinds = [[type(ref) for ref in one.media] for one in samples]
    assert kinds == [[VideoRef], [VideoRef], [VideoRef, ImageRef], [ImageRef]]
    check_same_again(TASK, samples)


def test_hub_layout(tmp_path: Path) -> None:
    for track in TRACKS:
        write_parquet(tmp_path / track / "test-00000-of-00001.parquet", [ROW])
    (tmp_path / "Art").mkdir()
    (tmp_path / "Art" / "validation_Art_Theory_3.mp4").write_bytes(b"x")
    samples = list(TASK.load(Source(data_dir=tmp_path), "test"))
    assert [one.id for one in samples] == [f"{track}/{ROW['id']}" for track in TRACKS]
    assert {one.media[0].path for one in samples} == {"Art/validation_Art_Theory_3.mp4"}
    assert samples[0].categories["subject"] == ("Art_Theory",)
    assert {one.cluster for one in samples} == {ROW["id"]}
    check_same_again(TASK, samples)


def test_a_broken_list_is_read() -> None:
    assert gold_values("['24/7', '3.429', '3.43]") == ["24/7", "3.429", "3.43"]
    sample = TASK.sample({**ROW, "options": [], "question_type": "open", "answer": "['24/7', '3.429', '3.43]"})
    assert TASK.protocols["reader"].score(sample, "Answer: 3.43", MISSING).verdict == "correct"


def test_nothing_leaves_the_denominator_by_default() -> None:
    for name in ("reader", "official"):
        assert TASK.protocols[name].score(TASK.sample(ROW), "", MISSING).verdict == "no_answer"


@given(response=st.text(max_size=60), options=st.sampled_from([[], ["p", "q", "r"]]))
def test_any_response_gets_a_verdict(response: str, options: list[str]) -> None:
    check_no_response_breaks(TASK, {**ROW, "options": options}, response)


@pytest.mark.slow
def test_time_is_linear() -> None:
    check_linear(TASK, ROW, "Answer: (B) ")
