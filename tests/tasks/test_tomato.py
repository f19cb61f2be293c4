from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.sources import Reporter, Row, Source, Tables
from kvl_eval.tasks import tomato
from kvl_eval.tasks.tomato import TASK, TYPES, pre_parsed
from kvl_eval.types import MISSING, Scored, VideoRef
from tests.golden import rows
from tests.tasks.tables import write_json, write_parquet
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again

ROW = {
    "question": "Which way does it turn?",
    "options": ["Clockwise throughout.", "Counter-clockwise throughout.", "No rotation."],
    "answer": 1,
    "key": "0001-02",
    "variation": {"counterfactual": 0, "composite": 1, "zoom": 0, "first_person": 0},
    "demonstration_type": "human",
}


# What the reader says of the replies that it reads otherwise than the rule in whose place it stands.
READ_ANEW: dict[str, str | None] = {
    **dict.fromkeys(("007", "011", "062", "073"), "B"),
    **dict.fromkeys(("049", "059", "074"), "F"),
    **{"056": "D", "068": "C", "081": "A"},
    **dict.fromkeys(["021", "026", "027", "029", "030", "032", "046", "048", "051", "052", "066", "099", "100"]),
}


def test_each_reply_is_read_and_scored_as_by_its_harness(data: Path) -> None:
    for row in rows(data / "tomato" / "answers.jsonl"):
        expected, sample = row["expected"], TASK.sample(row["inputs"])
        score = TASK.protocols[row["source"]].score(sample, row["response"], MISSING)
        if row["source"] == "lmms-eval":
            assert (score.extracted, score.value == 1) == (expected["extracted"], expected["correct"]), row["id"]
            continue
        exact = TASK.protocols["official-exact"].score(sample, row["response"], MISSING)
        assert (exact.verdict == "not_scored") is expected["needs_judge"], row["id"]
        if expected["needs_judge"]:
            wanted = READ_ANEW.get(row["id"].split("-")[2], expected["fallback_extracted"])
            assert (score.extracted, score.value) == (wanted, float(wanted in sample.answers)), row["id"]
        else:
            assert pre_parsed(sample, row["response"]) == expected["pre_parsed"] == score.extracted, row["id"]
            assert (exact.value == 1) is expected["correct"], row["id"]


def test_the_figures_of_a_run_are_those_of_its_harness(data: Path) -> None:
    for row in rows(data / "tomato" / "aggregate.jsonl"):
        expected = row["expected"]
        scored = []
        for item in row["inputs"]["items"]:
            sample = TASK.sample({**item, "options": list("uvwxyz"), "answer": item["gt"]})
            scored.append(
                Scored(sample=sample, score=TASK.protocols["official"].score(sample, item["response"], MISSING))
            )
        official = TASK.aggregate(scored, "official").official
        assert float(official["overall"]) == pytest.approx(expected["overall"], abs=1e-6)
        for field, key in (("reason_type", "by_reason"), ("demonstration_type", "by_demonstration")):
            for label, value in expected[key].items():
                found = official[f"{field}/{label.replace('&', '_')}"]
                assert float(found) == pytest.approx(value, abs=1e-6), row["id"]
                shown = re.search(rf"^{re.escape(label)} +model +(\S+)$", expected["printed"], re.MULTILINE)
                assert shown is not None and float(shown[1]) == pytest.approx(float(found), abs=1e-6), row["id"]


def test_prompts_are_word_for_word_those_of_their_harness(data: Path) -> None:
    for row in rows(data / "tomato" / "prompts.jsonl"):
        given_, expected = row["inputs"], row["expected"]
        sample = TASK.sample(given_)
        if row["source"] == "lmms-eval":
            (user,) = TASK.prompts["lmms_eval"](sample)
        else:
            video = VideoRef(name="v", path="v.mp4", frames=given_["num_frames"])
            system, user = TASK.prompts["official"](replace(sample, media=(video,)))
            assert lettered(sample.choices).keys() == set(expected["all_choices"])
            assert system.parts == (expected.get("system", system.parts[0]),)
        assert user.parts[-1] == expected["text"], row["id"]


def test_authors_layout(tmp_path: Path) -> None:
    for name in TYPES:
        write_json(tmp_path / "data" / f"{name.replace('_', '&', 1)}.json", {"0": ROW, "7": ROW})
    (tmp_path / "videos" / "human").mkdir(parents=True)
    (tmp_path / "videos" / "human" / "0001-02.mp4").write_bytes(b"x")
    samples = list(TASK.load(Source(data_dir=tmp_path), "test"))
    assert [one.id for one in samples][:3] == ["count/0", "count/7", "direction/0"]
    first = samples[0]
    assert (first.answers, first.cluster) == (("B",), "0001-02")
    assert first.categories == {
        "reason_type": ("count",),
        "demonstration_type": ("human",),
        "variation": ("composite",),
    }
    assert first.media[0].path == "videos/human/0001-02.mp4"
    assert (first.media[0].rule, first.media[0].frames) == ("linspace", 16)
    check_same_again(TASK, samples)


def test_hub_copy(tmp_path: Path) -> None:
    row = {key: ROW[key] for key in ("question", "options", "answer", "demonstration_type")}
    row |= {"id": "12", "reason_type": "shape&trend", "video_path": "videos/human/a.mp4"}
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [row])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert (sample.id, sample.media[0].path) == ("shape_trend/12", "videos/human/a.mp4")
    check_same_again(TASK, [sample])


@pytest.mark.parametrize(
    ("repo", "splits", "sample_id"),
    [("lmms-eval/TOMATO", ["test"], "shape_trend/12"), ("yale-nlp/TOMATO", list(TYPES), "count/12")],
)
def test_each_repository_is_read_in_its_own_layout(
    repo: str, splits: list[str], sample_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {**ROW, "id": "12", "reason_type": "shape&trend", "video_path": "videos/human/a.mp4"}
    read = []

    def read_rows(source: Source, split: str, tables: Tables, reporter: Reporter) -> Iterator[Row]:
        read.append(split)
        yield Row(row, f"{source.repo}, {split}")

    monkeypatch.setattr(tomato, "read_rows", read_rows)
    monkeypatch.setattr(tomato, "filmed_samples", lambda rows, to_sample, *others: map(to_sample, rows))
    samples = list(TASK.load(Source(repo=repo), "test"))
    assert read == splits
    assert samples[0].id == sample_id


@pytest.mark.parametrize("answer", [3, "D", -1])
def test_bad_gold_is_refused(answer: Any) -> None:
    with pytest.raises(DataError):
        TASK.sample({**ROW, "answer": answer})


def test_luck_is_stated_and_not_drawn() -> None:
    sample = TASK.sample(ROW)
    scored = [
        Scored(sample=sample, score=TASK.protocols["official"].score(sample, reply, MISSING)) for reply in ("B", "no")
    ]
    summary = TASK.aggregate(scored, "official")
    assert summary.score == 0.5
    assert summary.official["expected luck, had these been drawn"] == "16.7"


def test_a_box_is_opened_first() -> None:
    reply = r"A is wrong, so \boxed{\text{B}}. Compare A."
    assert TASK.protocols["official"].score(TASK.sample(ROW), reply, MISSING).extracted == "B"


@given(response=st.text(max_size=60))
def test_any_response_gets_a_verdict(response: str) -> None:
    check_no_response_breaks(TASK, ROW, response)


def test_time_is_linear() -> None:
    check_linear(TASK, ROW, "Answer is (b) ")
