"""The same command again: complete, failed, unfinished, in progress, of another version; and `resume`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.run import fingerprint
from kvl_eval.store.run_folder import RunFolder
from tests.cli.conftest import Kvl

FAKE = ("run", "mathvista", "--limit", "4", "--model", "fake")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs() -> list[Path]:
    return sorted(path.parent for path in Path("results").glob("*/run.json"))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loading a model, or asking the fake one, fails from here on."""

    def refuse(*_: object) -> None:
        raise AssertionError("a complete run needs no model")

    yield monkeypatch.setattr(TorchEngine, "load", refuse)


def test_a_complete_run_is_printed_again_without_a_model(kvl: Kvl, request: pytest.FixtureRequest) -> None:
    command = ("run", "mathvista", "--limit", "1")
    first = kvl(*command)
    request.getfixturevalue("no_model")
    second = kvl(*command)
    assert (first.code, second.code) == (0, 0), second.err
    assert second.out == first.out
    [run] = runs()
    assert f"already complete: {run} (use --no-resume to run it again)" in second.err.splitlines()
    assert [entry["run_id"] for entry in json.loads(kvl("list", "runs", "--json").out)] == [run.name]


def test_a_complete_run_is_run_again_on_demand(kvl: Kvl) -> None:
    assert [kvl(*FAKE, "--no-resume").code for _ in range(2)] == [0, 0]
    assert len(runs()) == 2


def test_a_run_with_failed_samples_keeps_its_exit_code(kvl: Kvl) -> None:
    answers = [kvl(*FAKE, "--model-args", "fail=oom:@1") for _ in range(2)]
    assert [answer.code for answer in answers] == [3, 3]
    assert "--rerun failed" in answers[1].err and "already complete" in answers[1].err
    assert len(runs()) == 1
    assert kvl(*FAKE, "--model-args", "fail=oom:@1", "--no-resume").code == 3
    assert len(runs()) == 2


def killed(run: Path, records: int) -> None:
    """Makes a finished run one that was killed after so many records."""
    [samples] = run.glob("samples/*.jsonl")
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:records]))
    (run / "results.json").unlink()
    RunFolder.open(run).save_status("running")


def test_an_unfinished_run_is_continued(kvl: Kvl) -> None:
    whole = kvl(*FAKE)
    [run] = runs()
    killed(run, 3)
    again = kvl(*FAKE)
    assert (again.code, again.out) == (0, whole.out)
    assert f"continuing {run}: 3 of 4 answered (use --no-resume to start a new run)" in again.err.splitlines()
    assert runs() == [run]


def test_an_unfinished_run_is_left_alone_on_demand(kvl: Kvl) -> None:
    kvl(*FAKE)
    [run] = runs()
    killed(run, 3)
    assert kvl(*FAKE, "--no-resume").code == 0
    assert len(runs()) == 2


@pytest.mark.parametrize("option", [(), ("--no-resume",)])
def test_a_run_in_progress_is_left_alone(option: tuple[str, ...], kvl: Kvl) -> None:
    kvl(*FAKE)
    [run] = runs()
    killed(run, 3)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        holder = RunFolder.open(run)
        holder.lock()
        lock = json.loads((run / "lock").read_text())
        (run / "lock").write_text(json.dumps({**lock, "pid": other.pid, "ticks": None}))
        answer = kvl(*FAKE, *option)
        other.communicate(b"\n")
    note = f"note: the same run is in progress in {run} (pid {other.pid})"
    assert (note in answer.err.splitlines()) is (option == ())
    assert (answer.code, len(runs())) == (0, 2)


def test_a_run_of_another_minor_version_is_another_run(kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    kvl(*FAKE)
    monkeypatch.setattr(fingerprint, "minor_version", lambda: "9.9")
    assert kvl(*FAKE).code == 0
    assert len(runs()) == 2


def test_another_selection_is_another_run(kvl: Kvl) -> None:
    kvl(*FAKE)
    assert kvl("run", "mathvista", "--limit", "3", "--model", "fake").code == 0
    assert len(runs()) == 2


def test_resume_reports_the_protocol_of_the_run(kvl: Kvl) -> None:
    assert kvl(*FAKE).code == 0
    assert kvl("score", "latest", "--protocol", "all").code == 0
    rows = json.loads((runs()[0] / "results.json").read_text())["rows"]
    assert any(row["n_scored"] < row["n_planned"] for row in rows), "another protocol leaves samples unscored"
    assert kvl("resume", "latest").code == 0
    assert kvl(*FAKE).code == 0


def test_nothing_but_warnings_is_said_under_q(kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    kvl(*FAKE)
    assert "already complete" not in kvl(*FAKE, "-q").err
