"""Whole runs over videos and documents with the tiny checkpoint: what is sampled, fitted and written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.backends import make_backend
from kvl_eval.evaluation import EvaluationResult, evaluate
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_notes, plan_text
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.records import Record
from kvl_eval.tasks import get_task
from tests.clips import DECODERS, write_clip, write_pdf
from tests.processes import closed_after
from tests.tasks.tables import write_json, write_parquet

TINY = Path(__file__).resolve().parents[1] / "data" / "kimi_vl" / "tiny_checkpoint"
OPTIONS = [f"{letter}. C walks {number} times." for number, letter in enumerate("ABCDE")]
QUESTION = {"question": "What is c doing?", "option": OPTIONS, "answer": "3"}
SRT = "1\n00:00:00,000 --> 00:00:10,000\nspoken once\n"
FRAMES = 17  # of 117 tokens where nothing limits them: too many for 2,048 beside the text
PAGE = (153, 198)  # points


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with pictures of up to 1,024 patches."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(TINY, folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "in_token_limit": 1024}))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each task: two videos, one of them broken; a video with subtitles; a document of three pages."""
    home = tmp_path_factory.mktemp("data")
    ego, mme, doc = (home / name for name in ("ego", "mme", "doc"))
    write_parquet(
        ego / "Subset" / "test.parquet", [{**QUESTION, "video_idx": name} for name in ("broken", "whole", "gone")]
    )
    for folder in (ego / "videos", mme / "data", mme / "subtitle", doc / "documents"):
        folder.mkdir(parents=True)
    clip = write_clip(ego / "videos" / "whole.mp4", 60, size=(352, 240))
    (ego / "videos" / "broken.mp4").write_bytes(clip.read_bytes()[:200] + b"\0" * 5000)
    shutil.copy(clip, mme / "data" / "v.mp4")
    (mme / "subtitle" / "v.srt").write_text(SRT)
    row = {"videoID": "v", "question_id": "v-1", "question": "How often?", "options": OPTIONS[:4], "answer": "C"}
    write_parquet(mme / "videomme" / "test.parquet", [row])
    write_pdf(doc / "documents" / "d.pdf", 3, PAGE)
    asked = {"doc_id": "d.pdf", "question": "How many?", "answer": "8", "answer_format": "Int"}
    write_json(doc / "samples.json", [{**asked, "evidence_pages": "[1]", "evidence_sources": "['Chart']"}])
    return {"egoschema": str(ego), "videomme": str(mme), "videomme-subs": str(mme), "mmlongbench-doc": str(doc)}


def run(model: Path, data: dict[str, str], home: Path, *tasks: str, **options: Any) -> EvaluationResult:
    settings: dict[str, Any] = {
        "frames": FRAMES,
        "max_new_tokens": 4,
        "num_workers": 1,
        "output_dir": str(home / "results"),
        "cache_dir": str(home / "cache"),
    }
    return evaluate(str(model), list(tasks), data_dir=data, **{**settings, **options})


def records(done: EvaluationResult, task: str) -> dict[str, Record]:
    return {record.sample_id: record for record in done.folder.records(task)}


@pytest.fixture(scope="module")
def done(model: Path, data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    return run(model, data, tmp_path_factory.mktemp("run"), "egoschema", "videomme-subs", "mmlongbench-doc")


def test_a_broken_video_fails_alone(done: EvaluationResult) -> None:
    found = records(done, "egoschema")
    assert {name: (one.status, one.reason) for name, one in found.items()} == {
        "whole": ("ok", None),
        "broken": ("failed", "media_corrupt"),
        "gone": ("failed", "media_missing"),
    }
    assert "broken" in found["broken"].message
    assert done.exit_code == 3


def test_records_hold_frames_times_and_the_limit(done: EvaluationResult) -> None:
    record = records(done, "egoschema")["whole"]
    expected = [int(position * 59 / (FRAMES - 1)) for position in range(FRAMES)]
    assert [one.index for one in record.media] == expected
    assert [one.timestamp for one in record.media] == pytest.approx([index / 25 for index in expected])
    for one in record.media:
        assert (one.kind, one.w, one.h, one.limit) == ("frame", 352, 240, 256)
        assert one.tokens < 117
        assert one.decoder.startswith("pyav ")
    assert record.tokens.image == sum(one.tokens for one in record.media)
    assert record.prompt_text.count("<image:") == FRAMES


def test_subtitles_are_spelled_out(done: EvaluationResult) -> None:
    (record,) = records(done, "videomme-subs").values()
    assert record.status == "ok"
    assert "spoken once" in record.prompt_text
    assert len(record.media) == FRAMES


def test_pages_keep_their_size_where_they_fit(done: EvaluationResult) -> None:
    (record,) = records(done, "mmlongbench-doc").values()
    assert record.status == "ok"
    assert [(one.kind, one.index, one.w, one.h) for one in record.media] == [
        ("page", number, 306, 396) for number in range(3)
    ]
    assert {one.limit for one in record.media} == {None}


def test_the_run_proves_whole(done: EvaluationResult) -> None:
    found = verify(RunReader(done.folder))
    assert not found.has("damaged"), found.findings


def test_a_second_run_decodes_nothing_and_sees_the_same(
    done: EvaluationResult, model: Path, data: dict[str, str], tmp_path: Path
) -> None:
    before = records(done, "mmlongbench-doc")["other/0"]
    cache = done.path.parent.parent / "cache"
    entries = {path: path.stat().st_ino for path in cache.rglob("*.zip")}
    assert len(entries) == 3  # a video under two sampling rules, and a document
    again = run(model, data, done.path.parent.parent, "mmlongbench-doc", output_dir=str(tmp_path))
    assert {path: path.stat().st_ino for path in cache.rglob("*.zip")} == entries
    after = records(again, "mmlongbench-doc")["other/0"]
    assert (after.media, after.raw_output) == (before.media, before.raw_output)


def test_blind_runs_keep_texts_and_sizes(model: Path, data: dict[str, str], done: EvaluationResult) -> None:
    home = done.path.parent.parent
    blind = run(model, data, home, "videomme-subs", blind=True, no_cache=True)
    (seen,), (unseen,) = (records(one, "videomme-subs").values() for one in (done, blind))
    assert unseen.status == "ok"
    assert unseen.prompt_text == seen.prompt_text
    sizes = [[(one.index, one.tokens, one.limit) for one in record.media] for record in (seen, unseen)]
    assert sizes[0] == sizes[1]
    assert all("blind" in one.note for one in unseen.media)


def test_what_never_fits_says_so(model: Path, data: dict[str, str], tmp_path: Path) -> None:
    over = run(model, data, tmp_path, "videomme", frames=64)
    (record,) = records(over, "videomme").values()
    assert (record.status, record.reason, record.media) == ("failed", "context_overflow", ())
    assert "64 images" in record.message


def test_flags_shrink_frames(model: Path, data: dict[str, str], tmp_path: Path) -> None:
    small = run(model, data, tmp_path, "videomme", frames=3, max_pixels=28 * 28 * 12, video_decoder=DECODERS[-1])
    (record,) = records(small, "videomme").values()
    assert [one.index for one in record.media] == [15, 30, 45]
    assert all(one.tokens == 15 and one.limit is None for one in record.media)
    assert record.media[0].decoder.startswith(f"{DECODERS[-1]} ")


def test_the_plan_shows_frames_and_tokens_and_what_would_not_fit(
    model: Path, data: dict[str, str], tmp_path: Path
) -> None:
    shown = planned(model, data, tmp_path, frames=FRAMES)
    assert "17 frames or pages of 70 tokens" in shown
    assert "shrunk to 256 patches" in shown
    assert "would fail" not in shown
    assert "8 frames or pages of 117 tokens" in planned(model, data, tmp_path, frames=8)
    assert "1 of the first 1 prompts exceeds the context and would fail" in planned(model, data, tmp_path, frames=64)


def planned(model: Path, data: dict[str, str], home: Path, frames: int) -> str:
    task = get_task("egoschema")
    options = {"frames": frames, "max_new_tokens": 4, "num_workers": 1, "cache_dir": str(home), "data_dir": data}
    config = resolve(str(model), "instruct", [task], options)
    with closed_after(make_backend(str(model), config.settings)) as backend:
        plan = plan_run(config, backend)
    return "\n".join([*(note.text for note in plan_notes(plan)), plan_text(plan, details=True)])
