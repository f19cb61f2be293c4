from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.sources import Source
from kvl_eval.tasks.videommmu import TASK, TRACKS, gold_values
from kvl_eval.types import MISSING, Scored
from tests.golden import rows
from tests.tasks.tables import write_parquet
from tests.tasks.vectors import check_linear, check_no_response_breaks, check_same_again

EXACT = {"official": "official-exact", "vlmevalkit": "vlmevalkit", "lmms-eval": "lmms-eval"}
ROW = {
    "id": "validation_Art_Theory_3",
    "question": "<image 1> Which?",
    "options": ["p", "q", "r"],
    "answer": "B",
    "question_type": "multiple-choice",
}


def test_answers(data: Path) -> None:
    for row in rows(data / "videommmu" / "answers.jsonl"):
        expected, sample = row["expected"], TASK.sample(row["inputs"])
        score = TASK.protocols[EXACT[row["source"]]].score(sample, row["response"], MISSING)
        assert (score.value is not None) is expected["counted"], row["id"]
        assert (score.value == 1) is bool(expected["correct"]), row["id"]
        if isinstance(expected["parsed"], list):
            assert set(map(str, score.extracted)) == set(map(str, expected["parsed"])), row["id"]
        elif sample.choices:
            assert score.extracted == (expected["parsed"] if len(expected["parsed"]) == 1 else None), row["id"]


def test_aggregates(data: Path) -> None:
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


def test_prompts(data: Path) -> None:
    for row in rows(data / "videommmu" / "prompts.jsonl"):
        protocol = row["protocol"]
        if "question_only" in protocol or "interleaved" in protocol:
            continue
        sample = TASK.sample({**row["inputs"], "track": protocol.split("/")[0], "answer": "A"})
        (user,) = TASK.prompts["vlmevalkit" if row["source"] == "vlmevalkit" else "official"](sample)
        expected = row["expected"].get("text") or row["expected"]["messages"][-1][1]
        assert user.parts == (expected,), row["id"]


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
    assert TASK.protocols["assumed"].score(sample, "Answer: 3.43", MISSING).verdict == "correct"


def test_nothing_leaves_the_denominator_by_default() -> None:
    for name in ("assumed", "official"):
        assert TASK.protocols[name].score(TASK.sample(ROW), "", MISSING).verdict == "no_answer"


@given(response=st.text(max_size=60), options=st.sampled_from([[], ["p", "q", "r"]]))
def test_any_response_gets_a_verdict(response: str, options: list[str]) -> None:
    check_no_response_breaks(TASK, {**ROW, "options": options}, response)


def test_time_is_linear() -> None:
    check_linear(TASK, ROW, "Answer: (B) ")
