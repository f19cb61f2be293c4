"""Faults of process and machine met in the field: no file locks, half-made folders, devices, own task files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import torch

from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import CheckpointError, ConfigError, StorageError, UsageError
from kvl_eval.model.devices import torch_device
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs
from kvl_eval.tasks import TASKS, include
from kvl_eval.types import Completion
from tests.faults import children
from tests.faults.invariants import check_invariants
from tests.forks import python
from tests.refusals import refused
from tests.tiny_task import config_of, run_tiny, tiny

ROOT = Path(__file__).resolve().parents[2]


def kvl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9"}
    return python("-m", "kvl_eval", *arguments, cwd=cwd, timeout=120, env=environment)


# File locks


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot lock files."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(getattr(errno, request.param), "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("without_locks")
def test_P20_a_file_system_without_locks(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path)
    assert [notice for notice in outcome.folder.notices if "does not support locks" in notice]
    check_invariants(outcome.folder.path, exit_code=0)
    assert not (outcome.folder.path / "lock").exists()
    assert not list(outcome.folder.path.glob("lock*"))


@pytest.mark.usefixtures("without_locks")
def test_P20_two_processes_without_locks(tmp_path: Path) -> None:
    pids = [children.start(lambda: run_tiny(tmp_path, model_args={"delay": 0.01})) for _ in range(2)]
    assert [children.ended(pid) for pid in pids] == [0, 0]
    assert len(list_runs(tmp_path)) == 2


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("name", ["lock", "lock.guard"])
def test_P20_a_lock_whose_process_is_gone_is_taken_over(tmp_path: Path, name: str) -> None:
    path = run_tiny(tmp_path).folder.path
    pid = children.start(lambda: None)
    children.ended(pid)
    (path / name).write_text(json.dumps({"pid": pid, "host": os.uname().nodename, "start": "then"}))
    folder = RunFolder.open(path)
    folder.lock()
    folder.unlock()
    assert not (path / "lock.guard").exists()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize(("host", "pid"), [(os.uname().nodename, os.getppid()), ("elsewhere", 1)])
def test_P20_a_lock_that_may_be_held_is_respected(tmp_path: Path, host: str, pid: int) -> None:
    path = run_tiny(tmp_path).folder.path
    (path / "lock").write_text(json.dumps({"pid": pid, "host": host, "start": "then"}))
    with refused(UsageError, "run.busy"):
        RunFolder.open(path).lock()


# Folders before they are whole


class FailsAt(Disk):
    """Cannot write the file of that name, or cannot give the folder its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        if path.name == self.name:
            raise StorageError("storage.full", f"cannot write {path}")
        super().replace(path, chunks)

    def show(self, hidden: Path, path: Path) -> bool:
        if self.name == "rename":
            raise StorageError("storage.write", f"cannot write {path}")
        return super().show(hidden, path)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "index.json")


@pytest.mark.parametrize("name", ["plan.jsonl", "run.json", "config.yaml", "lock", "rename"])
def test_P21_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError):
        run_tiny(tmp_path, disk=FailsAt(name))
    assert entries(tmp_path) == []


class NoStart(FakeBackend):
    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        raise CheckpointError("model.device", "device 'cuda' is not available")
        yield "", Completion()


def test_P21_a_model_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    whole = run_tiny(tmp_path).folder.path
    config = config_of(tiny(), tmp_path)
    with pytest.raises(CheckpointError):
        start_run(plan_run(config, NoStart(), [tiny()]), NoStart())
    assert entries(tmp_path) == [whole.name]
    assert [run["run_id"] for run in json.loads((tmp_path / "index.json").read_text())["runs"]] == [whole.name]


def test_P21_nobody_sees_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    class Watching(Disk):
        def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
            seen.append([(one / "run.json").is_file() for one in tmp_path.glob("[!.]*") if one.is_dir()])
            super().replace(path, chunks)

    seen: list[list[bool]] = []
    run_tiny(tmp_path, disk=Watching())
    assert seen[0] == [] and all(all(whole) for whole in seen)


def test_P21_a_folder_left_by_a_kill_is_removed(tmp_path: Path) -> None:
    assert children.run(lambda: run_tiny(tmp_path, disk=children.DeadlyReplace("run.json"))) == -signal.SIGKILL
    assert [name for name in entries(tmp_path) if name.endswith(".new")]
    assert list_runs(tmp_path) == []
    path = run_tiny(tmp_path).folder.path
    assert entries(tmp_path) == [path.name]


# Signals

SLOW = (
    "run",
    "--task",
    "mathvista",
    "--model",
    "fake",
    "--model-args",
    "delay=0.2",
    "--batch-size",
    "1",
    "-o",
    "out",
    "--json",
)


def started(cwd: Path, *prefix: str) -> subprocess.Popen[str]:
    """A run of which some answers are there."""
    command = [*prefix, sys.executable, "-m", "kvl_eval", *SLOW]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    process = subprocess.Popen(
        command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    signal.signal(signal.SIGHUP, before)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in cwd.glob("out/*/samples/*.jsonl")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143), (signal.SIGXCPU, 152)])
def test_P22_signals_that_mean_stop(tmp_path: Path, number: int, code: int) -> None:
    with started(tmp_path) as process:
        process.send_signal(number)
        printed, text = process.communicate(timeout=60)
    assert process.returncode == code
    assert "kvl-eval resume out" in text
    [path] = tmp_path.glob("out/*/results.json")
    assert json.loads((path.parent / "run.json").read_text())["status"] == "interrupted"
    document = json.loads(printed)
    assert (document["status"], document["exit_code"], len(printed.splitlines())) == ("interrupted", code, 1)


@pytest.mark.slow
def test_a_full_disk_is_a_document_and_no_traceback(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    command = [sys.executable, "-m", "kvl_eval", "run", "mathvista", "-m", "fake", "--json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert ended.returncode == 6
    assert json.loads(ended.stdout)["error"]["exit_code"] == 6
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_P22_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    with started(tmp_path, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.slow
def test_P28_the_second_signal_names_the_folder(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        _, text = process.communicate(timeout=60)
    [path] = tmp_path.glob("out/*/run.json")
    assert process.returncode in (130, 143)
    assert text.count(f"kvl-eval resume out/{path.parent.name}") >= 1


# Devices

NO_CARD = "does not find this device" if torch.backends.cuda.is_built() else "has no CUDA support"  # as torch was built


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cuda", NO_CARD),
        ("cuda:7", NO_CARD),
        ("mps", "has no MPS support"),
        ("xpu", "has no XPU support"),
        ("meta", "computes nothing"),
        ("quantum", "does not know this device"),
    ],
)
def test_P27_a_device_that_is_not_there(device: str, why: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        torch_device(device)
    error = caught.value
    assert (error.code, error.exit_code) == ("model.device", 4)
    assert error.message == f"device '{device}' is not available"
    assert why in str(error.why) and "available: cpu" in str(error.why)
    assert "--device cpu" in str(error.fix)


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_P27_is_found_before_there_is_a_folder(tmp_path: Path, options: tuple[str, ...]) -> None:
    command = ("run", "--task", "mathvista", "--model", "kimi-vl-nano", "--limit", "1", "--device", "cuda")
    done = kvl(*command, "-o", "out", *options, cwd=tmp_path)
    assert done.returncode == 4
    assert "error[model.device]: device 'cuda' is not available" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


# Task files of users

BROKEN = {
    "arguments.py": ("from kvl_eval.tasks.base import Task\n\nTASK = Task(name='x')\n", 3, "TypeError"),
    "syntax.py": ("x = 1\ndef (:\n", 2, "SyntaxError"),
    "imports.py": ("\n\nimport no_such_package\n", 3, "no_such_package"),
    "leaves.py": ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
    "deep.py": ("def f():\n    raise ValueError('far down')\nTASK = f()\n", 2, "far down"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_P29_a_task_file_that_cannot_be_loaded(tmp_path: Path, name: str) -> None:
    text, line, why = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        include([str(tmp_path)])
    error = caught.value
    assert (error.code, error.exit_code) == ("config.include", 2)
    assert error.message == f"cannot load {tmp_path / name}"
    assert error.where == f"{tmp_path / name}:{line}"
    assert why in str(error.why) and "\n" not in str(error.why)


def test_P29_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from kvl_eval.tasks import TASKS\n\nTASK = TASKS['mmmu']\n")
    with pytest.raises(ConfigError, match="defines the task 'mmmu', which kvl-eval has"):
        include([str(tmp_path)])


def test_P29_list_shows_the_other_tasks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN["syntax.py"][0])
    done = kvl("list", "tasks", "--include-path", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(TASKS) + 2  # a header, and the count
    assert "error[config.include]: cannot load" in done.stderr and "Traceback" not in done.stderr


# The hub


def test_P31_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    done = kvl("run", "--task", "mathvista", "--model", "fake", "--split", "testmini", "-o", "out", cwd=tmp_path)
    assert done.returncode == 4
    lines = done.stderr.strip().splitlines()
    assert lines[-5].startswith("error[data.unreachable]") and len(lines) <= 6
    assert lines[-2] == "  fix:   --split mini uses the bundled samples"
    assert all(word in lines[-1] for word in ("--data-dir", "--offline"))
    assert not (tmp_path / "out").exists()


# The same command again

AGAIN = ("run", "--task", "mathvista", "--model", "fake", "--limit", "5", "-o", "out")


def runs(cwd: Path) -> list[Path]:
    return sorted(path.parent for path in cwd.glob("out/*/run.json"))


def test_P28_the_same_command_again_is_complete_already(tmp_path: Path) -> None:
    first, second = kvl(*AGAIN, cwd=tmp_path), kvl(*AGAIN, cwd=tmp_path)
    [run] = runs(tmp_path)
    assert f"already complete: out/{run.name} (use --no-resume to run it again)" in second.stderr
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout == first.stdout
    third = kvl(*AGAIN, "--no-resume", cwd=tmp_path)
    assert third.returncode == 0 and len(runs(tmp_path)) == 2
    fourth = kvl(*AGAIN, cwd=tmp_path)
    assert all(f"out/{run.name}" in fourth.stderr for run in runs(tmp_path))


def test_P28_failed_samples_are_named_again(tmp_path: Path) -> None:
    failing = (*AGAIN, "--model-args", "fail=oom:@1")
    first, second = kvl(*failing, cwd=tmp_path), kvl(*failing, cwd=tmp_path)
    assert (first.returncode, second.returncode) == (3, 3)
    assert "--rerun failed" in second.stderr and len(runs(tmp_path)) == 1


def test_P28_an_unfinished_run_is_continued(tmp_path: Path) -> None:
    kvl(*AGAIN, cwd=tmp_path)
    [run] = runs(tmp_path)
    [samples] = run.glob("samples/*.jsonl")
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:2]))
    manifest = json.loads((run / "run.json").read_text())
    RunFolder.open(run).save_status("interrupted")
    done = kvl(*AGAIN, cwd=tmp_path)
    assert done.returncode == 0 and runs(tmp_path) == [run]
    assert f"continuing out/{run.name}" in done.stderr
    assert json.loads((run / "run.json").read_text())["counts"] == manifest["counts"]


def test_P28_another_protocol_is_scored_in_the_same_folder(tmp_path: Path) -> None:
    kvl(*AGAIN, cwd=tmp_path)
    done = kvl(*AGAIN, "--protocol", "vlmevalkit", cwd=tmp_path)
    [run] = runs(tmp_path)
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {row["protocol"] for row in rows} == {"official", "vlmevalkit"} and "already complete" in done.stderr


def test_P28_other_protocols_do_not_decide_how_a_run_ended(tmp_path: Path) -> None:
    run_tiny(tmp_path / "out")
    kvl(*AGAIN, cwd=tmp_path)
    path = next(path for path in runs(tmp_path) if "mathvista" in path.name)
    kvl("score", str(path), "--protocol", "all", cwd=tmp_path)
    assert kvl("resume", str(path), cwd=tmp_path).returncode == 0
