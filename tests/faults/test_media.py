"""Rows D11 and D12 through a whole run: what is broken fails with its reason, what is odd is shown and written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends import make_backend
from kvl_eval.evaluation import EvaluationResult, evaluate
from kvl_eval.store.records import Record
from kvl_eval.tasks import get_task
from tests.clips import rotated, write_clip, write_pdf
from tests.conftest import DATA
from tests.faults.invariants import check_invariants
from tests.media.test_documents import raw_pdf
from tests.media.test_video import _write_sound, damaged
from tests.tasks.tables import write_json, write_parquet

TINY = DATA / "kimi_vl" / "tiny_checkpoint"
OPTIONS = [f"{letter}. x" for letter in "ABCDE"]
PAGE = (28, 28)  # points: 56 x 56 pixels, four tokens


def videos(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Writes clips; gives {name: (status, reason)} that a run must have."""
    folder.mkdir(parents=True)
    early = write_clip(folder / "whole.mp4", muxer={"movflags": "faststart"}).read_bytes()
    damaged(early, folder / "tail.mp4", {3, 4})
    damaged(early, folder / "nothing.mp4", {0, 1, 2, 3, 4})
    (folder / "cut.mp4").write_bytes(early[: len(early) * 2 // 3])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "header.mp4").write_bytes(early[:32])
    _write_sound(folder / "sound.mp4")
    write_clip(folder / "one.mp4", 1)
    rotated(write_clip(folder / "turned.mp4"), 90).rename(folder / "turned.mp4")
    write_clip(folder / "uneven.mp4", 6, milliseconds=[0, 500, 540, 580, 2000, 2040])
    sound = dict.fromkeys(("whole", "tail", "cut", "one", "turned", "uneven"), ("ok", None))
    broken = dict.fromkeys(("nothing", "empty", "header", "sound"), ("failed", "media_corrupt"))
    return {**sound, **broken, "gone": ("failed", "media_missing")}


def documents(folder: Path) -> dict[str, tuple[str, str | None]]:
    """The same with PDFs."""
    folder.mkdir(parents=True)
    write_pdf(folder / "whole.pdf", 3, PAGE)
    write_pdf(folder / "long.pdf", 500, PAGE)
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "no-pages.pdf").write_bytes(raw_pdf("", pages=0))
    (folder / "text.pdf").write_bytes(b"<html></html>")
    broken = dict.fromkeys(("empty", "no-pages", "text"), ("failed", "media_corrupt"))
    return {"whole": ("ok", None), "long": ("ok", None), **broken, "gone": ("failed", "media_missing")}


def run(task: str, data: Path, home: Path) -> EvaluationResult:
    return evaluate(
        str(TINY),
        [task],
        data_dir=str(data),
        frames=4,
        max_new_tokens=2,
        num_workers=2,
        output_dir=str(home / "results"),
        cache_dir=str(home / "cache"),
    )


def states(done: EvaluationResult, task: str, name: Callable[[Record], str]) -> dict[str, Any]:
    return {name(record): (record.status, record.reason) for record in done.folder.records(task)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationResult, dict[str, Any]]:
    home = tmp_path_factory.mktemp("videos")
    expected = videos(home / "data" / "videos")
    rows = [{"video_idx": name, "question": "?", "option": OPTIONS, "answer": "1"} for name in expected]
    write_parquet(home / "data" / "Subset" / "test.parquet", rows)
    return run("egoschema", home / "data", home), expected


def test_D11_each_broken_video_fails_alone_and_says_why(clips: tuple[EvaluationResult, dict[str, Any]]) -> None:
    done, expected = clips
    assert states(done, "egoschema", lambda record: record.sample_id) == expected
    assert done.exit_code == 3
    row = next(row for row in done.results["rows"] if row["protocol"] == "reader")
    assert (row["n_planned"], row["n_scored"]) == (len(expected), 6)
    check_invariants(
        done.path,
        get_task("egoschema"),
        make=lambda config: make_backend(config.model, config.settings),
        exit_code=done.exit_code,
    )


def test_D11_the_record_says_what_is_odd(clips: tuple[EvaluationResult, dict[str, Any]]) -> None:
    done, _ = clips
    media = {record.sample_id: record.media for record in done.folder.records("egoschema")}
    assert [one.index for one in media["whole"]] == [0, 19, 39, 59]
    assert {one.note for one in media["whole"]} == {None}
    assert "cannot be decoded" in media["tail"][-1].note
    assert media["tail"][-1].index < 40
    assert "the header lists 60 frames" in media["cut"][0].note
    assert [one.index for one in media["one"]] == [0, 0, 0, 0]
    assert [(one.w, one.h) for one in media["turned"]] == [(96, 160)] * 4
    assert [one.timestamp for one in media["uneven"]] == pytest.approx([0.0, 0.5, 0.58, 2.04], abs=0.002)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationResult, dict[str, Any]]:
    home = tmp_path_factory.mktemp("documents")
    expected = documents(home / "data" / "documents")
    row = {"question": "?", "answer": "1", "answer_format": "Int", "evidence_pages": "[1]", "evidence_sources": "[]"}
    write_json(home / "data" / "samples.json", [{**row, "doc_id": f"{name}.pdf"} for name in expected])
    return run("mmlongbench-doc", home / "data", home), expected


def test_D12_each_broken_document_fails_alone_and_says_why(pages: tuple[EvaluationResult, dict[str, Any]]) -> None:
    done, expected = pages
    names = list(expected)
    assert states(done, "mmlongbench-doc", lambda record: names[int(record.sample_id.split("/")[1])]) == expected
    assert done.exit_code == 3
    check_invariants(
        done.path,
        get_task("mmlongbench-doc"),
        make=lambda config: make_backend(config.model, config.settings),
        exit_code=done.exit_code,
    )


def test_D12_of_500_pages_the_first_120_are_shown_and_the_record_says_so(
    pages: tuple[EvaluationResult, dict[str, Any]],
) -> None:
    done, expected = pages
    (long,) = (
        record
        for record in done.folder.records("mmlongbench-doc")
        if record.sample_id.endswith(f"/{list(expected).index('long')}")
    )
    assert [one.index for one in long.media] == list(range(120))
    assert long.media[0].note == "first 120 of 500 pages"
