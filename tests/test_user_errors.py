"""Errors where users are likely to be: one block of at most six lines, never a traceback, and no run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kvl_eval.cli.main import main
from kvl_eval.errors import CheckpointError
from kvl_eval.model.memory import require_room
from kvl_eval.sources.hub import CONNECT_SECONDS
from tests.refusals import refused

LINES = 6


class Outcome:
    """Exit code, standard output and lines of standard error of one command."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.lines = code, out, err.splitlines()


class Kvl:
    """`kvl("run", ...)` runs a command in this process, in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str) -> Outcome:
        with pytest.raises(SystemExit) as left:
            main(words)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err or {"-v", "--verbose"} & set(words)
        return Outcome(left.value.code, out, err)


@pytest.fixture
def kvl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kvl:
    monkeypatch.chdir(tmp_path)
    return Kvl(capsys)


RUN = ("run", "--task", "mathvista", "--limit", "1", "--device")


@pytest.mark.parametrize(("device", "support"), [("cuda", "CUDA"), ("mps", "MPS")])
def test_a_device_that_is_missing(kvl: Kvl, tmp_path: Path, device: str, support: str) -> None:
    if {"cuda": torch.backends.cuda, "mps": torch.backends.mps}[device].is_built():
        pytest.skip("this PyTorch supports the device")
    outcome = kvl(*RUN, device, "--dry-run")
    first = next(number for number, line in enumerate(outcome.lines) if line.startswith("error["))
    assert outcome.code == 4 and len(outcome.lines) <= LINES
    assert outcome.lines[first:] == [
        f"error[model.device]: device '{device}' is not available",
        f"  why:   PyTorch {torch.__version__} has no {support} support; available: cpu",
        f"  fix:   use --device cpu, or install PyTorch with {support}",
    ]
    assert not list(tmp_path.iterdir())


def test_an_own_task_file_that_raises(kvl: Kvl, tmp_path: Path) -> None:
    (tmp_path / "tk").mkdir()
    (tmp_path / "tk" / "mine.py").write_text("x = 1\nraise ValueError('odd \\x1b[31m')\n")
    block = [
        "error[config.include]: cannot load tk/mine.py",
        "  where: tk/mine.py:2",
        "  why:   ValueError: odd \\x1b[31m",
        "  fix:   kvl-eval new-task NAME writes a working example",
    ]
    listed = kvl("list", "tasks", "--include-path", "tk")
    assert (listed.code, listed.lines) == (0, block) and "mathvista" in listed.out
    run = kvl("run", "--task", "mine", "--include-path", "tk", "--model", "fake")
    assert (run.code, run.out, run.lines) == (2, "", block)


def test_an_own_task_file_without_a_task(kvl: Kvl, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    outcome = kvl("run", "--task", "mine", "--include-path", "mine.py")
    assert outcome.code == 2 and outcome.lines[0] == "error[config.include]: mine.py defines no TASK or TASKS"
    (tmp_path / "none").mkdir()
    outcome = kvl("run", "--task", "mine", "--include-path", "none")
    assert outcome.code == 2 and outcome.lines[0] == "error[config.include]: no Python files in --include-path none"
    assert len(outcome.lines) <= LINES


def test_weights_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvl_eval.model.memory.free_bytes", lambda _: int(9.6 * 2**30))
    with refused(CheckpointError, "model.memory") as caught:
        require_room(int(61.1 * 2**30), torch.device("cpu"), {"--weights int4": 2**30})
    expected = "not enough memory on cpu: the weights need 61.1 GiB, 9.6 GiB are available"
    assert (caught.value.message, caught.value.exit_code) == (expected, 4)
    assert all(way in str(caught.value.fix) for way in ("--weights int4", "--backend vllm", "a server"))


def test_predictions_without_a_network(kvl: Kvl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "answers.jsonl").write_text(json.dumps({"id": "1", "response": "B"}) + "\n")
    outcome = kvl("score", "--task", "mathvista", "--predictions", "answers.jsonl", "--split", "testmini")
    assert CONNECT_SECONDS <= 8  # with the start of the command, a message within 10 s
    assert outcome.code == 4 and len(outcome.lines) <= LINES
    assert outcome.lines[0] == "error[data.unreachable]: mathvista: cannot reach the Hugging Face Hub"
    assert outcome.lines[-2] == "  fix:   --split mini uses the bundled samples"


def test_a_bug_shows_where_its_traceback_is(kvl: Kvl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("kvl_eval.cli.list.list_verb", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = kvl("list", "tasks")
    [path] = tmp_path.glob("*.traceback.txt")
    assert outcome.code == 1 and outcome.lines == [
        "error: internal error in kvl-eval (KeyError: 'x')",
        f"  where: traceback: {path}",
        "  fix:   report it as an issue, with the traceback, the command and the output of kvl-eval version",
    ]
    assert path.read_text().startswith("Traceback") and path.read_text().endswith("KeyError: 'x'\n")
    monkeypatch.setattr("kvl_eval.cli.main.wants_traceback", lambda typed: "-v" in [*typed, "-v"])
    with pytest.raises(SystemExit):
        main(["list", "tasks"])
    assert kvl.capsys.readouterr().err.startswith("Traceback")
