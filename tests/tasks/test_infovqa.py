from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError, UsageError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks.infovqa import TASK
from kvl_eval.types import MISSING, ImageRef, Message, Sample, Scored
from tests.refusals import refused
from tests.tasks.tables import (
    base64_png,
    png,
    read_lines,
    write_json,
    write_parquet,
    write_pictures,
    write_tsv,
    write_zip,
)
from tests.tasks.vectors import after_kimi_thought

HUB = {
    "questionId": "98313",
    "question": "Which social platform has heavy female audience?",
    "answers": ["pinterest"],
    "answer_type": ["image span"],
    "image": {"bytes": png(1), "path": None},
    "image_url": "https://example.org/37313.jpeg",
    "operation/reasoning": ["comparison", "counting"],
    "ocr": "{}",
    "data_split": "val",
}
CHALLENGE = {
    "questionId": 98313,
    "question": "Which?",
    "image_local_name": "37313.jpeg",
    "answers": ["a, b", "b, a"],
    "data_split": "val",
    "answer_type": ["multiple spans"],
    "evidence": ["photo/pciture/visual_objects", "map"],
    "operation/reasoning": [],
}


def _sample(row: dict[str, Any]) -> Sample:
    """The sample of a golden row, its gold as it stands: a table with such empty texts is refused."""
    return replace(TASK.sample({**row, "answers": ["gold"]}), answers=tuple(row["answers"]))


def check_golden(rows: list[dict[str, Any]]) -> None:
    assert rows
    for row in rows:
        sample = _sample(row)
        answer = after_kimi_thought(row["response"])
        for protocol, key in (
            ("official", "score"),
            ("official-exact", "score"),
            ("vlmevalkit", "vlmevalkit"),
            ("lmms-eval", "lmms_eval"),
        ):
            score = TASK.protocols[protocol].score(sample, answer, MISSING)
            assert score.value == pytest.approx(row["expected"][key], abs=1e-9), row["id"]
            assert score.extracted == row["expected"]["extracted"], row["id"]
        raw = TASK.protocols["official"].score(sample, row["response"], MISSING)
        assert raw.value == pytest.approx(row["expected"]["score_raw"], abs=1e-9), row["id"]


def test_hand_made_golden_rows(data: Path) -> None:
    check_golden(read_lines(data / "infovqa" / "vectors.jsonl"))


@pytest.mark.shared
def test_all_golden_rows(shared: Path) -> None:
    check_golden(read_lines(shared / "infovqa" / "vectors.jsonl"))


@pytest.mark.shared
def test_whole_run_prints_the_official_report(shared: Path) -> None:
    rows = read_lines(shared / "infovqa" / "run_synthetic.jsonl.gz")
    expected = json.loads((shared / "infovqa" / "run_synthetic.summary.json").read_text())
    scored = []
    for row in rows:
        sample = _sample(row)
        scored.append(Scored(sample=sample, score=TASK.protocols["official"].score(sample, row["extracted"], MISSING)))
        assert scored[-1].score.value == pytest.approx(row["score"], abs=1e-9)
    summary = TASK.aggregate(scored, "official")
    assert summary.score == pytest.approx(expected["official_score"], abs=1e-12)
    printed = [line.rsplit(maxsplit=1) for line in expected["official_printed"].splitlines() if line[-1:].isdigit()]
    assert summary.official == {name.strip().rstrip(":"): value for name, value in printed}
    kinds = {"answer_types": "answer_type", "evidence_types": "evidence", "operation_types": "operation/reasoning"}
    for theirs, ours in kinds.items():
        cells = {label: cell.score for label, cell in summary.categories[ours].items()}
        assert cells == pytest.approx(expected["scores_by_types"][theirs])
    assert float(TASK.aggregate(scored, "vlmevalkit").official["Overall"]) == pytest.approx(
        expected["official_score_x100"]
    )
    assert float(TASK.aggregate(scored, "lmms-eval").official["anls"]) == pytest.approx(expected["official_score"])


def test_vlmevalkit_reports_each_split(data: Path) -> None:
    rows = [{**row, "split": name} for name in ("a", "b") for row in read_lines(data / "infovqa" / "vectors.jsonl")[:5]]
    samples = [_sample(row) for row in rows]
    scored = [
        Scored(sample=one, score=TASK.protocols["vlmevalkit"].score(one, "pinterest", MISSING)) for one in samples
    ]
    figures = TASK.aggregate(scored, "vlmevalkit").official
    assert list(figures) == ["a", "b", "Overall"]
    assert figures["a"] == figures["Overall"]


def test_hub_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "InfographicVQA" / "validation-00000-of-00001.parquet", [HUB])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "val")
    assert (sample.id, sample.answers, sample.cluster) == ("98313", ("pinterest",), "https://example.org/37313.jpeg")
    assert sample.categories == {"answer_type": ("Image-Span",), "operation/reasoning": ("Sorting", "Counting")}
    assert "ocr" not in sample.row
    check_picture(sample.media[0], png(1))
    check_again(sample)


def test_hub_test_split_has_no_gold(tmp_path: Path) -> None:
    empty = {"answers": None, "answer_type": None, "operation/reasoning": None, "image_url": None}
    write_parquet(tmp_path / "InfographicVQA" / "test-00000-of-00001.parquet", [{**HUB, **empty}])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "test")
    assert sample.answers == ()
    assert sample.cluster is not None
    assert TASK.protocols["official"].score(sample, "pinterest", MISSING).verdict == "not_scored"
    check_again(sample)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_challenge_layout(tmp_path: Path, packed: bool) -> None:
    write_json(tmp_path / "infographicsVQA_val_v1.0_withQT.json", {"dataset_name": "x", "data": [CHALLENGE]})
    if packed:
        write_zip(tmp_path / "pictures.zip", ["infographicsvqa_images/37313.jpeg"])
    else:
        write_pictures(tmp_path / "images", ["37313.jpeg"])
    (sample,) = TASK.load(Source(data_dir=tmp_path), "val")
    assert (sample.id, sample.answers, sample.cluster) == ("98313", ("a, b", "b, a"), "37313.jpeg")
    assert sample.categories["evidence"] == ("Visual/Layout", "Map")
    check_picture(sample.media[0], png(0))
    check_again(sample)


def test_vlmevalkit_layout_shares_pictures_by_index(tmp_path: Path) -> None:
    rows = [
        {"index": 7, "image": base64_png(3), "question": "What?", "answer": "['a', \"b's\"]", "split": "val"},
        {"index": 8, "image": "7", "question": "And?", "answer": "['c']", "split": "val"},
    ]
    write_tsv(tmp_path / "InfoVQA_VAL.tsv", rows)
    first, second = TASK.load(Source(data_dir=tmp_path), "val")
    assert (first.id, first.answers, second.answers) == ("7", ("a", "b's"), ("c",))
    assert first.cluster == second.cluster
    check_picture(second.media[0], png(3))
    check_again(second)


def test_a_picture_that_is_nowhere_fails_only_when_it_is_opened(tmp_path: Path) -> None:
    write_json(tmp_path / "infographicsVQA_val_v1.0.json", {"data": [CHALLENGE]})
    (sample,) = TASK.load(Source(data_dir=tmp_path), "val")
    assert isinstance(sample.media[0], ImageRef)
    assert sample.media[0].path == "37313.jpeg"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "val.json", [{"question": "What?", "answers": ["a"]}])
    with refused(DataError, "data.field", "questionId or index") as caught:
        list(TASK.load(Source(data_dir=tmp_path), "val"))
    assert caught.value.code == "data.field"


@pytest.mark.parametrize("row", [{"question": "What?"}, {"questionId": 1}, {"questionId": 1, "question": 5}])
def test_a_row_without_question_or_id_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        TASK.sample(row)


def test_answers_that_are_code_are_refused() -> None:
    with pytest.raises(DataError):
        TASK.sample({"questionId": 1, "question": "What?", "answer": "[__import__('os').getcwd()]"})


def test_each_prompt_puts_media_and_words_in_its_order() -> None:
    sample = TASK.sample(HUB)
    question = "Which social platform has heavy female audience?"
    request = "Answer the question using a single word or phrase."
    assert TASK.prompts[TASK.default_prompt](sample) == [Message.user(*sample.media, f"{question}\n{request}")]
    assert TASK.prompts["question_only"](sample) == [Message.user(*sample.media, question)]
    assert len(sample.media) == 1


@pytest.mark.parametrize(
    ("answer", "extraction", "verdict", "extracted"),
    [
        ("PINTEREST", MISSING, "correct", "PINTEREST"),
        ("pintrest", MISSING, "partial", "pintrest"),
        ("facebook", MISSING, "wrong", "facebook"),
        ("", MISSING, "no_answer", ""),
        ("facebook", "pinterest", "correct", "pinterest"),
        ("pinterest", None, "no_answer", None),
    ],
)
def test_verdicts(answer: str, extraction: Any, verdict: str, extracted: str | None) -> None:
    score = TASK.protocols["official"].score(TASK.sample(HUB), answer, extraction)
    assert (score.verdict, score.extracted) == (verdict, extracted)


@given(st.text(max_size=80))
def test_any_response_gets_a_score_in_range(response: str) -> None:
    for protocol in TASK.protocols.values():
        score = protocol.score(TASK.sample(HUB), response, MISSING)
        assert score.value is not None
        assert 0 <= score.value <= 1
        assert (score.verdict == "correct") == (score.value == 1)


def test_submission_holds_each_question_once() -> None:
    samples = [TASK.sample({**HUB, "questionId": number}) for number in ("5", 6)]
    files = TASK.submission(list(zip(samples, ["ü", ""], strict=True))) if TASK.submission else {}
    (text,) = files.values()
    assert json.loads(text) == [{"questionId": 5, "answer": "ü"}, {"questionId": 6, "answer": ""}]


@pytest.mark.parametrize("ids", [("5", "5"), ("five",)])
def test_submission_refuses_ids_the_server_refuses(ids: tuple[str, ...]) -> None:
    assert TASK.submission is not None
    with pytest.raises(UsageError):
        TASK.submission([(TASK.sample({**HUB, "questionId": number}), "a") for number in ids])


def check_picture(ref: Any, data: bytes) -> None:
    assert isinstance(ref, ImageRef)
    assert read_bytes(ref) == data


def check_again(sample: Any) -> None:
    """A stored row gives the same sample without its picture."""
    again = TASK.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
    assert again.media == ()
