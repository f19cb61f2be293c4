"""A run folder that version 0.1.0 wrote scores to what that version stored.

`tests/data/release_run`: MathVista and MMMU, three samples of each, two budgets, two repeats, failed samples, replies
of a judge (one unusable); scored under every protocol, and by `--thinking raw`. Written at commit 5e316bf.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.scoring.rescore import judges, rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.store.names import scores_name
from kvl_eval.types import score_view

RELEASE = Path(__file__).resolve().parents[1] / "data" / "release_run"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the run under the name it was written with."""
    copy = tmp_path / str(json.loads((RELEASE / "run.json").read_text())["run_id"])
    shutil.copytree(RELEASE, copy)
    return copy


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OF_THE_READER = ("extracted", "extract_ok", "extract_method", "verdict", "reason", "detail", "crc")
"""What the reader, which stands in for MathVista's judge, writes otherwise than the rule before it."""


def results_of(text: bytes) -> list[dict[str, object]]:
    """The rows of results.json, without what this version counts besides and what the reader decides otherwise."""
    rows = [row for row in json.loads(text)["rows"] if (row["task"], row["protocol"]) not in READS_MMMU]
    for row in rows:
        for name in ("thoughts", "n_followed", "n_followed_unread", "outcomes", "seconds", "devices"):
            row.pop(name, None)
        if is_read("mathvista", row["task"], row["protocol"]):
            row["verdicts"], row["n_unextracted"] = {}, 0
    return rows


READS_MMMU = {("mmmu", "reader"), ("mmmu", "assumed")}


def is_read(task: str, name: str, protocol: str) -> bool:
    """Whether the reader stands in a protocol of a task."""
    return name == task and not protocol.startswith("official-exact")


def lines_of(name: str, text: bytes) -> list[dict[str, object]]:
    """The lines of a score file, in the words of this version."""
    lines = [json.loads(line) for line in text.splitlines()]
    task, _, protocol = name.removeprefix("scores/").partition("@")
    left_out = OF_THE_READER if is_read("mathvista", task, protocol) else ("crc",)
    for line in lines:
        line["reason"] = "thought_unclosed" if line.get("reason") == "think_unclosed" else line.get("reason")
        for field in left_out:
            line.pop(field, None)
    return lines


def of_release(name: str) -> bytes:
    return (RELEASE / name).read_bytes()


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines name the version that scored them."""
    monkeypatch.setattr("kvl_eval.scoring.score_run.__version__", "0.1.0")


def test_scoring_again_writes_the_same_scores(path: Path) -> None:
    expected = files(path)
    for stored in (path / "results.json", *(path / "scores").iterdir()):
        stored.unlink()
    rescore(RunReader.open(path), "all")
    rescore(RunReader.open(path), "official", "raw")
    fresh = files(path)
    assert results_of(fresh.pop("results.json")) == results_of(expected.pop("results.json"))
    assert fresh.pop("scores/mmmu@reader-0.1.0.jsonl") and expected.pop("scores/mmmu@assumed-0.1.0.jsonl")
    assert set(fresh) == set(expected)
    for name, text in expected.items():
        if name.startswith("scores/"):
            assert lines_of(name, fresh[name]) == lines_of(name, text), name
        else:
            assert fresh[name] == text, name


def test_rows_of_a_protocol_that_is_no_more_are_kept(path: Path) -> None:
    results = rescore(RunReader.open(path), "assumed")
    assert {row.protocol for row in results.rows if row.task == "mmmu"} > {"assumed", "reader", "official"}
    assert (path / "scores/mmmu@assumed-0.1.0.jsonl").read_bytes() == of_release("scores/mmmu@assumed-0.1.0.jsonl")


def test_a_score_is_a_function_of_the_run_and_writes_nothing(path: Path) -> None:
    shutil.rmtree(path / "scores")
    before = files(path)
    run = RunReader.open(path)
    stored = run.folder.results().rows
    for name in run.task_names:
        task = run.task(name)
        scored = dict.fromkeys((row.protocol, score_view(row.thinking)) for row in stored if row.task == name)
        for protocol, view in scored:
            if protocol not in task.protocols:
                assert protocol == "assumed"
                continue
            for judge in judges(run, task, protocol, view):
                first, second = (score_run(run, task, protocol, view, judge) for _ in range(2))
                assert first == second
                reader = None if judge is None else judge.judge
                scorer = scores_name(protocol, view, reader)
                old = [json.loads(line) for line in of_release(f"scores/{name}@{scorer}-0.1.0.jsonl").splitlines()]
                assert [(line.sample_id, line.repeat, line.budget, line.score) for line in first.lines] == [
                    (line["sample_id"], line["repeat"], line["budget"], line["score"]) for line in old
                ]
                assert [(row.budget, row.policy, row.score, row.n_scored) for row in first.rows] == [
                    (row.budget, row.policy, row.score, row.n_scored)
                    for row in stored
                    if (row.task, row.protocol, row.judge) == (name, protocol, reader)
                    and score_view(row.thinking) == view
                ]
    assert files(path) == before


def test_it_is_verified_whole_once_it_is_scored_again(path: Path) -> None:
    rescore(RunReader.open(path), "all")
    rescore(RunReader.open(path), "official", "raw")
    before = files(path)
    proof = verify(RunReader.open(path))
    assert (proof.exit_code, proof.has("damaged"), proof.has("incomplete")) == (0, False, False)
    assert "results.version" in [finding.code for finding in proof.findings]
    assert any("unchanged when rescored" in text for text in proof.proven)
    assert files(path) == before


def test_scores_of_an_earlier_version_are_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvl_eval.scoring.score_run.__version__", "0.1.9")
    before = files(path)
    proof = verify(RunReader.open(path))
    assert proof.verdict == "complete"
    assert any("scored by kvl-eval 0.1.0" in finding.what for finding in proof.findings)
    rescore(RunReader.open(path), "all")
    rescore(RunReader.open(path), "official", "raw")
    assert not any("scored by kvl-eval 0.1.0" in finding.what for finding in verify(RunReader.open(path)).findings)
    assert {name: text for name, text in files(path).items() if name in before and name != "results.json"} == {
        name: text for name, text in before.items() if name != "results.json"
    }
