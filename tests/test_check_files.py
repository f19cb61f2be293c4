"""`check data` over videos, subtitles and documents: what is missing or broken is named, each file is opened once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval import check_data
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task
from kvl_eval.tasks.expected import CountCheck
from tests.clips import write_clip, write_pdf
from tests.forks import python
from tests.tasks.tables import write_json, write_parquet

FIVE = [f"{letter}. x{letter}" for letter in "ABCDE"]


def checked(name: str, folder: Path) -> check_data.DataReport:
    task = get_task(name)
    return check_data.check(task, Source(data_dir=folder), task.default_split)


def found(report: check_data.DataReport) -> list[tuple[str, str]]:
    return [(one.code, one.where) for one in report.problems]


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.mp4", 30, muxer={"movflags": "faststart"}).read_bytes()


def test_egoschema(tmp_path: Path, clip: bytes) -> None:
    names = ("whole", "gone", "empty", "cut", "text")
    rows = [{"video_idx": name, "question": "?", "option": FIVE, "answer": "1"} for name in names]
    write_parquet(tmp_path / "Subset" / "test.parquet", rows)
    (tmp_path / "videos").mkdir()
    for name, content in (("whole", clip), ("empty", b""), ("cut", clip[: len(clip) * 2 // 3]), ("text", b"<html>")):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(content)
    report = checked("egoschema", tmp_path)
    assert found(report) == [
        ("media.missing", "row 2, id gone, videos/gone.mp4"),
        ("media.corrupt", "row 3, id empty, videos/empty.mp4"),
        ("media.corrupt", "row 5, id text, videos/text.mp4"),
    ]
    (note,) = report.notes
    assert note.where == "row 4, id cut, videos/cut.mp4"
    assert "the header lists 30 frames" in note.problem
    assert CountCheck(what="files", expected=500, found=5, ok=False) in report.counts
    text = check_data.as_text(report)
    assert "5 videos or documents" in text
    assert "BAD row 2, id gone, videos/gone.mp4: " in text
    assert "note row 4" in text


def test_a_video_of_several_questions_is_opened_and_told_once(tmp_path: Path, clip: bytes) -> None:
    row = {"videoID": "v", "question": "?", "options": FIVE[:4], "answer": "A"}
    write_parquet(tmp_path / "videomme" / "test.parquet", [{**row, "question_id": f"1-{n}"} for n in range(3)])
    report = checked("videomme", tmp_path)
    assert report.files == 1
    assert found(report) == [("media.missing", "row 1, id 1-0, data/v.mp4")]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "v.mp4").write_bytes(clip)
    assert found(checked("videomme", tmp_path)) == []


def test_longvideobench_reads_its_subtitles_too(tmp_path: Path, clip: bytes) -> None:
    row = {"question": "?", "candidates": ["a", "b"], "correct_choice": 0, "duration": 1.2}
    rows = [{**row, "id": n, "video_path": f"{n}.mp4", "subtitle_path": f"{n}.json"} for n in ("good", "bad", "none")]
    write_json(tmp_path / "lvb_val.json", rows)
    for folder in ("videos", "subtitles"):
        (tmp_path / folder).mkdir()
    for name in ("good", "bad", "none"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(clip)
    write_json(tmp_path / "subtitles" / "good.json", [{"timestamp": [0, 0.5], "text": "a"}])
    (tmp_path / "subtitles" / "bad.json").write_text("[{")
    assert found(checked("longvideobench", tmp_path)) == [
        ("media.corrupt", "row 2, id bad, videos/bad.mp4"),
        ("media.missing", "row 3, id none, videos/none.mp4"),
    ]
    assert found(checked("longvideobench-nosubs", tmp_path)) == []


def test_documents(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "1", "answer_format": "Int", "evidence_pages": "[1]", "evidence_sources": "[]"}
    names = ("whole.pdf", "gone.pdf", "broken.pdf", "whole.pdf")
    write_json(tmp_path / "samples.json", [{**row, "doc_id": name} for name in names])
    (tmp_path / "documents").mkdir()
    write_pdf(tmp_path / "documents" / "whole.pdf", 2, (153, 198))
    (tmp_path / "documents" / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    report = checked("mmlongbench-doc", tmp_path)
    assert found(report) == [
        ("media.missing", "row 2, id other/1, documents/gone.pdf"),
        ("media.corrupt", "row 3, id other/2, documents/broken.pdf"),
    ]
    assert report.files == 3


def test_the_command_exits_4_and_names_the_file(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "Subset" / "test.parquet", [{"video_idx": "u", "question": "?", "option": FIVE, "answer": "1"}]
    )
    done = python("-m", "kvl_eval", "check", "data", "egoschema", "--data-dir", str(tmp_path), "--json")
    assert done.returncode == 4, done.stderr
    report = json.loads(done.stdout)
    assert not report["ok"]
    assert "videos/u.mp4" in report["problems"][0]["where"]
