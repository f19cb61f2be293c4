from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.scoring.result_rows import result_row
from kvl_eval.scoring.tally import Tally
from kvl_eval.sources import Source
from kvl_eval.store.manifest import ModelFacts
from kvl_eval.tasks.egoschema import TASK, index_of
from kvl_eval.types import MISSING, Sample, Score, Scored, VideoRef
from tests.golden import rows
from tests.records import make_data, make_manifest
from tests.refusals import refused
from tests.tasks.tables import write_json, write_parquet

TEXTS = ["C cooks.", "C cleans.", "C reads.", "C sleeps.", "C walks."]
OPTIONS = [f"{letter}. {text}" for letter, text in zip("ABCDE", TEXTS, strict=True)]
HUB = {"question_idx": "0", "question": "What is c doing?", "video_idx": "uid-1", "option": OPTIONS, "answer": "3"}
OFFICIAL = {"q_uid": "uid-1", "google_drive_id": "x", "question": "What is c doing?"} | {
    f"option {number}": text for number, text in enumerate(TEXTS)
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "egoschema" / "answers.jsonl"):
        expected, sample = row["expected"], TASK.sample(row["inputs"])
        for name in ("official", "official-exact", "lmms-eval"):
            score = TASK.protocols[name].score(sample, row["response"], MISSING)
            assert score.extracted == expected["extracted"], row["id"]
            if expected["random"]:
                assert (score.verdict == "no_answer") is (name == "official"), row["id"]
                assert (score.method == "random_guess") is (name != "official"), row["id"]
            else:
                assert (score.value == 1) is expected["correct"], row["id"]


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "egoschema" / "aggregate.jsonl"):
        scored = []
        for result in row["inputs"]["results"]:
            sample = TASK.sample({"answer": result["ground_truth"]})
            extraction = None if result["pred"] == -1 else str(result["pred"])
            scored.append(Scored(sample=sample, score=TASK.protocols["official"].score(sample, "", extraction)))
        summary = TASK.aggregate(scored, "official")
        assert summary.score == pytest.approx(row["expected"]["accuracy"]), row["id"]
        assert float(summary.official["accuracy"]) == pytest.approx(row["expected"]["accuracy"]), row["id"]


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    for row in rows(data / "egoschema" / "prompts.jsonl"):
        (message,) = TASK.prompts[TASK.default_prompt](TASK.sample(row["inputs"]))
        assert message.parts == (row["expected"]["text"],), row["id"]


def load(folder: Path, split: str) -> list[Sample]:
    return list(TASK.load(Source(data_dir=folder), split))


def test_hub_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "Subset" / "test-00000-of-00001.parquet", [HUB])
    write_parquet(tmp_path / "MC" / "test-00000-of-00001.parquet", [{**HUB, "answer": None}] * 2)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "uid-1.mp4").write_bytes(b"x")
    (sample,) = load(tmp_path, "subset")
    assert (sample.id, sample.answers, sample.cluster, sample.choices) == ("uid-1", ("3",), "uid-1", tuple(TEXTS))
    (video,) = sample.media
    assert isinstance(video, VideoRef)
    assert (video.path, video.root, video.rule, video.frames) == ("videos/uid-1.mp4", str(tmp_path), "linspace", 64)
    check_again(sample)
    full = load(tmp_path, "full")
    assert [one.answers for one in full] == [(), ()]


def test_authors_layout(tmp_path: Path) -> None:
    write_json(tmp_path / "questions.json", [OFFICIAL, {**OFFICIAL, "q_uid": "uid-2"}])
    write_json(tmp_path / "subset_answers.json", {"uid-2": 4})
    (sample,) = load(tmp_path, "subset")
    assert (sample.id, sample.answers, sample.row["option"]) == ("uid-2", ("4",), OPTIONS)
    check_again(sample)
    assert [(one.id, one.answers) for one in load(tmp_path, "full")] == [("uid-1", ()), ("uid-2", ())]


def test_a_subset_without_answers_is_an_error(tmp_path: Path) -> None:
    write_json(tmp_path / "questions.json", [OFFICIAL])
    with refused(DataError, "data.missing", "'subset'"):
        load(tmp_path, "subset")
    (tmp_path / "subset_answers.json").write_text("{")
    with pytest.raises(DataError) as caught:
        load(tmp_path, "subset")
    assert caught.value.code == "data.corrupt"


def test_the_full_set_is_pending_until_the_server_scored_it() -> None:
    sample = TASK.sample({**HUB, "answer": None})
    score = TASK.protocols["official"].score(sample, "A", MISSING)
    assert score == Score.not_scored("no_gold")
    summary = TASK.aggregate([Scored(sample=sample, score=score)], "official")
    assert (summary.score, summary.official) == (None, {"result": "pending submission"})
    assert not TASK.splits["full"].has_gold


def test_the_subset_is_never_compared_with_the_published_figure() -> None:
    assert (TASK.default_split, TASK.published_split) == ("subset", "full")
    tally = Tally(budget=None, policy=None, planned=1, ok=1)
    tally.scored.append(Scored(sample=TASK.sample(HUB), score=Score.of(1.0, 3)))
    for split, note in (("subset", "split subset; the published result is on full"), ("full", None)):
        manifest = make_manifest(
            model=ModelFacts(family="instruct"), data={"egoschema": make_data(split=split, total=None)}
        )
        reference = result_row(tally, manifest, TASK, TASK.default_protocol, "answer").reference
        assert reference is not None
        assert (reference.value, reference.note) == (0.785, note)
        assert (reference.delta is None) is (split == "subset")


def test_submission() -> None:
    samples = [TASK.sample({**HUB, "video_idx": name, "answer": None}) for name in ("u1", "u2", "u3")]
    assert TASK.submission is not None
    files = TASK.submission(list(zip(samples, ["E", "no idea", "(B) C cleans."], strict=True)))
    assert json.loads(files["egoschema_submission.json"]) == {"u1": 4, "u2": -1, "u3": 1}
    assert files["egoschema_kaggle.csv"] == "q_uid,answer\nu1,4\nu2,-1\nu3,1\n"


@pytest.mark.parametrize(
    ("text", "index"), [("A", 0), ("e", 4), ("3", 3), ("5", None), ("F", None), ("", None), ("٣", None), ("²", None)]
)
def test_index_of(text: str, index: int | None) -> None:
    assert index_of(text) == index


@pytest.mark.parametrize("change", [{"answer": 5}, {"answer": "F"}, {"option": "A. x"}])
def test_bad_rows_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        TASK.sample({**HUB, **change})


@pytest.mark.parametrize(
    ("reply", "official", "reader"),
    [("C is cooking", 2, None), ("The answer is D.", 3, 3), (r"\boxed{D}", None, 3), ("c sleeps", None, 3)],
)
def test_the_reader_does_not_take_the_camera_wearer_for_an_option(
    reply: str, official: int | None, reader: int | None
) -> None:
    sample = TASK.sample(HUB)
    assert TASK.protocols["official"].score(sample, reply, MISSING).extracted == official
    assert TASK.protocols["reader"].score(sample, reply, MISSING).extracted == reader


@given(response=st.text(max_size=60))
def test_any_response_gets_a_verdict(response: str) -> None:
    for protocol in TASK.protocols.values():
        score = protocol.score(TASK.sample(HUB), response, MISSING)
        assert score.value in (0.0, 1.0)
        assert score.method == "random_guess" or (score.value == 1) == (score.extracted == 3)


def check_again(sample: Sample) -> None:
    """A stored row gives the same sample without its video."""
    again = TASK.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "choices", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
    assert again.media == ()
