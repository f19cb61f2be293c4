"""Frames and pages in the sample browser: those the model saw, few of many, only while the file is the same."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kvl_eval.reports import pictures
from kvl_eval.reports.thumbnails import MOST_OF_SAMPLE, spread
from kvl_eval.reports.write import write_report
from kvl_eval.sources import Source
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task, open_split
from tests.clips import number_of, write_clip, write_pdf
from tests.reports import report_folders
from tests.reports.report_folders import make_record, make_run
from tests.reports.test_html import Page, chunk_samples
from tests.tasks.tables import write_json, write_parquet

OPTIONS = [f"{letter}. C walks {number} times." for number, letter in enumerate("ABCDE")]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames(sha: str, indices: list[int]) -> list[dict[str, Any]]:
    size = {"w": 160, "h": 96, "resized_to": [84, 56], "tokens": 6, "decoder": "pyav", "limit": None, "note": None}
    return [{"sha256": sha, "kind": "frame", "index": i, "timestamp": i / 25, **size} for i in indices]


def answered(folder: Path, task: str, data: Path, media: list[dict[str, Any]], n: int = 1) -> Path:
    """A run whose samples all saw `media`."""
    config = {"tasks": [{"task": task, "split": None, "source": {"data_dir": str(data)}}]}
    config["tasks"][0]["split"] = {"egoschema": "subset", "mmlongbench-doc": "train"}[task]
    run = make_run(folder, task=task, n=n, config=config)
    opened = RunFolder.open(run)
    journal = opened.journal(task)
    for number in range(n):
        journal.append(make_record(number, task, "", media=media))
    journal.close()
    return run


def first_id(data: Path) -> str:
    return next(iter(open_split(get_task("mmlongbench-doc"), Source(data_dir=data), "train"))).id


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two questions about videos called 1 and 2, which are the same."""
    data = tmp_path / "data"
    (data / "videos").mkdir(parents=True)
    rows = [{"question": "What?", "option": OPTIONS, "answer": "3", "video_idx": name} for name in ("1", "2")]
    write_parquet(data / "Subset" / "test.parquet", rows)
    clip = write_clip(data / "videos" / "1.mp4", 60)
    (data / "videos" / "2.mp4").write_bytes(clip.read_bytes())
    return data


def stored(out: Path) -> dict[str, Image.Image]:
    """{name: picture} of the report's `media/`."""
    return {path.stem: Image.open(BytesIO(path.read_bytes())) for path in (out / "media").glob("*")}


def test_frames_are_those_the_model_saw(clips: Path, tmp_path: Path) -> None:
    sha = sha256(clips / "videos" / "1.mp4")
    run = answered(tmp_path, "egoschema", clips, frames(sha, [3, 17, 42]))
    write_report([run], tmp_path / "out")
    assert {name: number_of(image) for name, image in stored(tmp_path / "out").items()} == {
        f"{sha}-{index}": index for index in (3, 17, 42)
    }
    (sample,) = chunk_samples(tmp_path / "out")
    assert [one["label"] for one in sample["media"]] == ["frame 3 at 0.1 s", "frame 17 at 0.7 s", "frame 42 at 1.7 s"]  # type: ignore[index, attr-defined]
    assert sample["more"] == []


def test_of_many_frames_few_are_shown_and_all_are_named(clips: Path, tmp_path: Path) -> None:
    sha = sha256(clips / "videos" / "1.mp4")
    run = answered(tmp_path, "egoschema", clips, frames(sha, list(range(0, 60, 2))))
    write_report([run], tmp_path / "out")
    (sample,) = chunk_samples(tmp_path / "out")
    assert len(sample["media"]) == len(stored(tmp_path / "out")) == MOST_OF_SAMPLE  # type: ignore[arg-type]
    assert [number_of(stored(tmp_path / "out")[f"{sha}-{index}"]) for index in (0, 58)] == [0, 58]
    assert sample["more"][0] == "30 frames seen, 12 shown"  # type: ignore[index]
    assert sample["more"][1].count(" s)") == 30  # type: ignore[index]


def test_pages_are_rendered_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    (data / "documents").mkdir(parents=True)
    pdf = write_pdf(data / "documents" / "d.pdf", 5)
    asked = {"doc_id": "d.pdf", "question": "How many?", "answer": "8", "answer_format": "Int"}
    write_json(data / "samples.json", [{**asked, "evidence_pages": "[1]", "evidence_sources": "['Chart']"}])
    size = {"w": 1224, "h": 1584, "resized_to": [392, 504], "tokens": 252, "note": None, "timestamp": None}
    media = [{"sha256": sha256(pdf), "kind": "page", "index": index, **size} for index in (0, 2, 4)]
    monkeypatch.setattr(report_folders, "sample_id", lambda number: first_id(data))
    run = answered(tmp_path, "mmlongbench-doc", data, media)
    write_report([run], tmp_path / "out")
    found = stored(tmp_path / "out")
    assert {name: number_of(page) for name, page in found.items()} == {f"{sha256(pdf)}-{i}": i for i in (0, 2, 4)}
    assert all(max(page.size) == 420 for page in found.values())
    (sample,) = chunk_samples(tmp_path / "out")
    assert [one["label"] for one in sample["media"]] == ["page 1", "page 3", "page 5"]  # type: ignore[attr-defined]


def test_a_video_that_changed_or_went_is_a_placeholder(clips: Path, tmp_path: Path) -> None:
    sha = sha256(clips / "videos" / "1.mp4")
    write_clip(clips / "videos" / "1.mp4", 50)  # other content
    (clips / "videos" / "2.mp4").unlink()
    run = answered(tmp_path, "egoschema", clips, frames(sha, [3, 17]), n=2)
    write_report([run], tmp_path / "out")
    assert stored(tmp_path / "out") == {}
    samples = chunk_samples(tmp_path / "out")
    assert [one["file"] for sample in samples for one in sample["media"]] == [""] * 4  # type: ignore[attr-defined]


def test_only_so_many_videos_are_opened(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "FILES", 1)
    (clips / "videos" / "2.mp4").write_bytes(write_clip(tmp_path / "other.mp4", 30).read_bytes())
    sha = sha256(clips / "videos" / "2.mp4")
    run = answered(tmp_path, "egoschema", clips, frames(sha, [3]), n=2)
    write_report([run], tmp_path / "out")
    assert stored(tmp_path / "out") == {}
    assert "of the first 1 files are shown" in Page(tmp_path / "out" / "index.html").text


@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 64, 120])
def test_what_is_shown_is_spread_from_first_to_last(count: int) -> None:
    media = [{"index": index} for index in range(count)]
    shown = [one["index"] for one in spread(media)]
    assert shown == sorted(set(shown))
    assert len(shown) == min(count, MOST_OF_SAMPLE)
    assert not count or (shown[0], shown[-1]) == (0, count - 1)
