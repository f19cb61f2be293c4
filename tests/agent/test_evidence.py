"""What evaluators found is stored, and values are computed from it again; the rest is said to need the desktop."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kvl_eval.agent import desk, sandbox
from kvl_eval.agent.actions import AgentAction, ScreenSize
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import DrawnDesk, Evaluation
from kvl_eval.agent.evaluators import evaluate
from kvl_eval.audit.verify import verify
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli.main import main
from kvl_eval.errors import DataError
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.scorers import desktop_metrics
from kvl_eval.scoring.evidence_note import evidence_note
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store import evidence
from kvl_eval.store.evidence import read_evidence, store_evidence
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import read_trajectory, trajectory_path
from kvl_eval.tasks.desktop_apps import TASK
from kvl_eval.types import Sample
from tests.agent.test_apps import StubGuest
from tests.refusals import refused

Changes = Callable[[Path], object]


def blank(size: ScreenSize) -> Screenshot:
    buffer = io.BytesIO()
    Image.new("RGB", (size.width, size.height)).save(buffer, "PNG")
    return Screenshot(buffer.getvalue(), size)


@dataclass(slots=True)
class StubDesk(DrawnDesk):
    """An empty screen; its evaluator sees one file, `list.txt`, with `bread`."""

    evaluator: Mapping[str, Any] = field(default_factory=dict)

    def reset(self, sample: Sample) -> None:
        self.evaluator = sample.row["evaluator"]
        self.boards = (blank(self.size),)

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        return evaluate(StubGuest(), self.evaluator)  # type: ignore[arg-type]


def row(name: str, path: str, text: str) -> str:
    rules = {"type": "rule", "rules": {"expected": [text]}}
    judge = {"func": "file_contains", "result": {"type": "vm_file", "path": path}, "expected": rules}
    return json.dumps({"id": name, "level": "B", "domain": "editor", "instruction": name, "evaluator": judge})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of three tasks: the file is right, wrong, and missing."""
    monkeypatch.setattr(sandbox, "prove", lambda **_: None)
    monkeypatch.setitem(desk.PROVIDERS, "xvfb", lambda episode: StubDesk(ScreenSize(*episode.screen)))  # type: ignore[arg-type]
    data = tmp_path / "data"
    data.mkdir()
    rows = (row("right", "list.txt", "bread"), row("wrong", "list.txt", "cake"), row("gone", "gone.txt", "bread"))
    (data / "test.jsonl").write_text("\n".join(rows) + "\n")
    options = {"output_dir": str(tmp_path / "runs"), "prompt": "idle", "data_dir": str(data)}
    config = resolve("fake", "fake", [TASK], options)
    backend = FakeBackend(config.settings)
    return start_run(plan_run(config, backend), backend).folder.path


def score(path: Path) -> float | None:
    return rescore(RunReader.open(path)).rows[0].score


def test_what_was_found_is_stored_once_and_named_by_the_journal(run: Path) -> None:
    (stored,) = (run / "evidence").iterdir()
    assert stored.read_bytes() == b"bread"
    names = {}
    for record in RunFolder.open(run).records("desktop-apps"):
        outcome = read_trajectory(trajectory_path(run, str(record.extra.trajectory))).outcome
        assert outcome is not None
        names[record.sample_id] = outcome.evaluator[0].evidence
    assert names == {"right": stored.name, "wrong": stored.name, "gone": None}


def test_values_are_computed_again_from_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert score(run) == pytest.approx(1 / 3)
    assert (
        evidence_note(RunReader.open(run))
        == "2 of 3 values were computed again from evidence/; the others keep their values, since they have no "
        "evidence: gone"
    )
    monkeypatch.setitem(desktop_metrics.FUNCTIONS, "file_contains", lambda result, rules: 1.0)  # type: ignore[arg-type]
    assert score(run) == pytest.approx(2 / 3)
    assert "from evidence/, 1 with another result;" in str(evidence_note(RunReader.open(run)))


def test_a_run_without_evidence_says_so_in_one_note(run: Path) -> None:
    for line in (run / "evidence").iterdir():
        line.unlink()
    note = "the stored values of 3 episodes are kept: there is no evidence to compute them from"
    assert evidence_note(RunReader.open(run)) == note


def test_score_says_which_values_it_repeated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["score", str(run)])
    assert "2 of 3 values were computed again from evidence/" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"cake"),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_evidence_that_is_gone_or_changed_is_found_and_the_stored_values_stay(run: Path, change: Changes) -> None:
    proof = verify(RunReader.open(run))
    assert proof.verdict == "complete" and "evidence/: hash of each of 1 files" in proof.proven
    before = score(run)
    change(next((run / "evidence").iterdir()))
    assert score(run) == before
    assert "values of 3 episodes are kept" in str(evidence_note(RunReader.open(run)))
    assert [finding.code for finding in verify(RunReader.open(run)).findings] == ["evidence.unusable"]


def test_too_much_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_EVIDENCE", 4)
    assert store_evidence(tmp_path, Disk(), b"bread") is None and not list(tmp_path.iterdir())
    sha256 = store_evidence(tmp_path, Disk(), b"four")
    assert sha256 is not None and read_evidence(tmp_path, sha256) == b"four"


@pytest.mark.parametrize("name", ["../run.json", "/etc/passwd", "", "F" * 64])
def test_only_hashes_are_names_of_evidence(tmp_path: Path, name: str) -> None:
    with refused(DataError, "run.evidence"):
        read_evidence(tmp_path, name)
