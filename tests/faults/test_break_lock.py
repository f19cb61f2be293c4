"""P20: a lock that a process of another host left is broken by `--break-lock`, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.run.runner import resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store import run_lock
from kvl_eval.store.run_folder import RunFolder
from tests.faults.foreign_run import interrupt, seal
from tests.faults.shell import FAKE, MINI, Shell, newest
from tests.refusals import refused
from tests.tiny_task import make_fake, run_tiny, tiny

ELSEWHERE = {"pid": 4321, "host": "node-17", "start": "2026-11-30T01:02:03+00:00"}
HERE = {"pid": os.getppid(), "host": os.uname().nodename, "start": "then"}


def leave(run: Path, holder: dict[str, Any], name: str = "lock") -> bytes:
    """A lock file as that process leaves it; its bytes."""
    (run / name).write_text(json.dumps(holder))
    return (run / name).read_bytes()


@pytest.fixture
def stopped(shell: Shell, tmp_path: Path) -> Path:
    """A run of which one answer is missing, and that counts as running."""
    assert shell("run", *MINI, *FAKE, "-o", tmp_path / "runs").code == 0
    run = newest(tmp_path / "runs")
    interrupt(run)
    seal(run, lambda manifest: manifest.update(status="running"))
    return run


def test_P20_resume_breaks_a_lock_of_another_host_when_it_is_told_to(shell: Shell, stopped: Path) -> None:
    left = leave(stopped, ELSEWHERE)
    busy = shell("resume", stopped, "--no-progress")
    assert busy.code == 2 and "error[run.busy]" in busy.err
    assert "pid 4321 on node-17" in busy.err and "--break-lock" in busy.err
    assert (stopped / "lock").read_bytes() == left
    outcome = shell("resume", stopped, "--no-progress", "--break-lock")
    assert outcome.code == 0, outcome.err
    assert "note: removed the lock of pid 4321 on node-17" in outcome.err
    assert not (stopped / "lock").exists()
    assert shell("verify", stopped).code == 0


def test_P20_a_live_holder_on_this_host_is_never_broken(shell: Shell, stopped: Path) -> None:
    left = leave(stopped, HERE)
    (stopped / "config.yaml").unlink()
    for verb in ("resume", "score"):
        busy = shell(verb, stopped, "--no-progress", "--break-lock")
        assert busy.code == 2 and "error[run.busy]" in busy.err, (verb, busy.err)
        assert "--break-lock" not in busy.err
        assert (stopped / "lock").read_bytes() == left


def test_P20_run_goes_on_with_a_run_whose_lock_it_may_break(shell: Shell, stopped: Path) -> None:
    leave(stopped, ELSEWHERE)
    command = ("run", *MINI, *FAKE, "-o", stopped.parent)
    outcome = shell(*command, "--break-lock")
    assert outcome.code == 0, outcome.err
    assert "removed the lock of pid 4321 on node-17" in outcome.err and f"continuing {stopped}" in outcome.err
    assert len([path for path in stopped.parent.iterdir() if path.is_dir()]) == 1
    leave(stopped, ELSEWHERE)  # complete, and locked all the same
    assert shell(*command).code == 2
    assert shell(*command, "--break-lock").code == 0


def test_P20_score_breaks_one_where_it_writes(shell: Shell, stopped: Path) -> None:
    leave(stopped, ELSEWHERE)
    (stopped / "config.yaml").unlink()
    assert "--break-lock" in shell("score", stopped).err
    outcome = shell("score", stopped, "--break-lock")
    assert outcome.code == 3 and "config.yaml was written again" in outcome.err, outcome.err


@pytest.mark.parametrize("holder", [ELSEWHERE, HERE], ids=["elsewhere", "here"])
def test_P20_the_guard_of_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: dict[str, Any]
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(run_lock.WITHOUT_LOCKS[0], "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(run_lock, "PATIENCE", 0.05)
    path = run_tiny(tmp_path, tiny(2)).folder.path
    leave(path, holder, "lock.guard")
    leave(path, ELSEWHERE)
    if holder is HERE:
        with refused(UsageError, "run.busy"):
            RunFolder.open(path).break_lock()
        assert (path / "lock").exists() and (path / "lock.guard").exists()
        return
    broken = RunFolder.open(path).break_lock()
    assert broken is not None and broken.host == "node-17"
    assert resume_run(RunReader.open(path, [tiny(2)]), make_fake).exit_code == 0
    assert not list(path.glob("lock*"))


def test_P20_there_may_be_no_lock(tmp_path: Path) -> None:
    assert run_tiny(tmp_path, tiny(2)).folder.break_lock() is None
