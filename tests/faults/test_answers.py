"""Outputs, scorers and reports that go wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from kvl_eval.errors import MediaError
from kvl_eval.media.images import ImagePrep, prepare_image
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.reports.image_copies import ImageCache, ImageCopies, SampleMedia
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.reports.write import write_report
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.store.answers import Answer
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thought
from kvl_eval.types import Extraction, ImageRef, Sample, Score
from tests.faults.invariants import check_invariants
from tests.records import make_media
from tests.tiny_task import rescored, rows, run_tiny, sample_of, tiny

A = "The answer is A"
OUTPUTS = {
    "empty": ("", "", "", None),
    "white-space": (" \n\t ", "", " \n\t ", None),
    "only-a-thought": (f"{THINK_OPEN}{A}{THINK_CLOSE}", A, "", True),
    "never-closed": (f"{THINK_OPEN}{A} A A A", f"{A} A A A", "", False),
    "two-closings": (f"{THINK_OPEN}x{THINK_CLOSE}A{THINK_CLOSE}B", "x", f"A{THINK_CLOSE}B", True),
    "closed-unopened": (f"x{THINK_CLOSE}A", "x", "A", True),
    "replaced-bytes": ("\ufffd\ufffdA", "", "\ufffd\ufffdA", None),
    "a-million": ("A" * 10**6, "", "A" * 10**6, None),
}


@pytest.mark.parametrize(("raw", "thinking", "answer", "closed"), OUTPUTS.values(), ids=OUTPUTS)
def test_C12_what_a_model_may_emit(raw: str, thinking: str, answer: str, closed: bool | None) -> None:
    split = split_thought(raw)
    assert (split.thinking, split.answer, split.closed) == (thinking, answer, closed)
    [score] = score_outputs(tiny(), "official", [Item(sample_of(rows(1)[0]), Answer.of(raw))])
    if closed is False:
        assert (score.verdict, score.reason) == ("no_answer", "thought_unclosed")
    elif len(answer) > 100_000:
        assert (score.verdict, score.reason) == ("no_answer", "answer_too_long")
    elif not answer.strip():
        assert score.verdict == "no_answer"
    else:
        assert score.extracted == answer[0]


def test_C12_an_unclosed_thought_is_no_answer_in_a_run(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, think_budget=(3,), model_args={"think": 9, "answers": "constant:A"})
    [row] = outcome.results.rows
    assert (row.verdicts, row.truncated_share, row.score) == ({"no_answer": 10}, 1.0, 0.0)
    for record in outcome.folder.records("tiny"):
        assert (record.answer, record.think_closed, record.finish_reason) == ("", False, "budget")
    check_invariants(outcome.folder.path, exit_code=0)


def failing(sample: Sample, answer: str, extraction: Extraction) -> Score:
    if sample.id == "q/4":
        raise ZeroDivisionError("no page")
    return Score.of(float(answer == sample.answers[0]), answer, "letter")


def test_S6_a_scorer_that_raises(tmp_path: Path) -> None:
    task = tiny(protocols={"official": Protocol(score=failing)})
    outcome = run_tiny(tmp_path, task)
    found = {one.sample_id: one for one in outcome.folder.scores("tiny", "official")}
    assert found["q/4"].reason.startswith("scorer_error: ZeroDivisionError")
    [row] = outcome.folder.results().rows
    assert (found["q/4"].score, row.n_scored, row.complete) == (None, 9, False)
    texts = [warning.text for warning in run_warnings(outcome.folder, outcome.folder.results())]
    assert any("1 of 10 replies not scored" in text for text in texts)
    check_invariants(outcome.folder.path, task, exit_code=3)


def test_S9_another_version_of_a_scorer_writes_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run_tiny(tmp_path).folder.path
    [before] = (path / "scores").glob("tiny@official-*.jsonl")
    content = before.read_bytes()
    monkeypatch.setattr("kvl_eval.scoring.score_run.__version__", "99.0.0")
    rescored(RunFolder.open(path), [tiny()])
    assert before.read_bytes() == content
    newer = path / "scores" / "tiny@official-99.0.0.jsonl"
    assert {json.loads(line)["scorer_version"] for line in newer.read_bytes().splitlines()} == {"99.0.0"}
    assert {one.scorer_version for one in RunFolder.open(path).scores("tiny", "official")} == {"99.0.0"}


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
ACTIVE = {"svg": SVG, "html": b"<html><script>alert(1)</script></html>", "riff-html": b"RIFF<script>alert(1)</script>"}
ACTIVE["jpeg-html"] = b"\xff\xd8<script>alert(1)</script>\xff\xd9"


@pytest.mark.parametrize("content", ACTIVE.values(), ids=ACTIVE)
def test_H4_active_content_offered_as_a_picture(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        prepare_image(ImageRef(name="x.png", data=content), ImagePrep(config=PreprocessorConfig()))
    assert caught.value.reason == "media_corrupt"
    run, sha = tmp_path / "run", hashlib.sha256(content).hexdigest()
    for folder, ending in (
        (run / "report" / "media", "webp"),
        (run / "report" / "media", "jpg"),
        (run / "media", "png"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sha}.{ending}").write_bytes(content)
    copies = ImageCopies(OutputFolder(tmp_path / "out"), ImageCache(tmp_path / "cache"), runs=(run,), workers=0)
    assert copies.make([SampleMedia(task="t", sample_id="1", media=(make_media(sha256=sha),))]) == {}
    assert not list((tmp_path / "out" / "media").iterdir())


def test_H3_a_picture_that_is_gone_leaves_the_page_whole(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path)
    written = write_report([outcome.folder.path])
    assert all(path.stat().st_size for path in written)
    assert not list((outcome.folder.path / "report" / "media").iterdir())
