"""`--json`: one document on standard output whatever happens, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.cli import main as commands
from tests.cli.conftest import Kvl

FAKE = ("run", "--task", "mathvista", "--model", "fake", "--limit", "2", "--no-progress")


def document(text: str) -> Any:
    """The one JSON document of an output."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with results of two runs in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(folder: Path, kvl: Kvl) -> list[str]:
    """Two run folders."""
    answers = [kvl(*FAKE, "--seed", seed, "--json") for seed in ("0", "1")]
    assert [answer.code for answer in answers] == [0, 0], answers
    return [document(answer.out)["folder"] for answer in answers]


def test_a_run_says_how_it_ended(folder: Path, kvl: Kvl) -> None:
    first, second = document(kvl(*FAKE, "--json").out), document(kvl(*FAKE, "--json").out)
    assert (first["status"], first["exit_code"], first["already_complete"]) == ("finished", 0, False)
    assert second == {**first, "already_complete": True}
    assert Path(first["folder"]).is_dir()


def test_scores_are_printed_as_a_run_is_and_those_of_several_runs_as_a_list(runs: list[str], kvl: Kvl) -> None:
    one, two = document(kvl("score", runs[0], "--json").out), document(kvl("score", *runs, "--json").out)
    assert [entry["folder"] for entry in two] == runs
    assert {key: one[key] for key in ("folder", "exit_code", "status")} == {
        "folder": runs[0],
        "exit_code": 0,
        "status": "finished",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("resume", "latest"), id="resume"),
        pytest.param(("score", "latest"), id="score"),
        pytest.param(("score", "latest", "latest~1"), id="score-two"),
        pytest.param(("score", "latest", "--protocol", "all"), id="score-all"),
        pytest.param(("report", "latest"), id="report"),
        pytest.param(("report", "latest", "--table", "table3"), id="report-table"),
        pytest.param(("export", "latest", "-f", "csv"), id="export"),
        pytest.param(("compare", "latest", "latest~1"), id="compare"),
        pytest.param(("verify", "latest"), id="verify"),
        pytest.param(("list", "runs"), id="list-runs"),
    ],
)
def test_a_command_on_runs_prints_one_document(arguments: tuple[str, ...], runs: list[str], kvl: Kvl) -> None:
    answer = kvl(*arguments, "--json")
    assert answer.code == 0, answer.err
    document(answer.out)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((*FAKE, "--dry-run"), id="dry-run"),
        pytest.param(("list", "tasks"), id="list-tasks"),
        pytest.param(("list", "models"), id="list-models"),
        pytest.param(("list", "references"), id="list-references"),
        pytest.param(("list", "runs"), id="list-runs"),
        pytest.param(("describe", "mathvista"), id="describe"),
        pytest.param(("check", "data", "mathvista", "--split", "mini"), id="check-data"),
        pytest.param(("version",), id="version"),
    ],
)
def test_a_command_without_runs_prints_one_document(arguments: tuple[str, ...], folder: Path, kvl: Kvl) -> None:
    answer = kvl(*arguments, "--json")
    assert answer.code == 0, answer.err
    document(answer.out)
    assert not (folder / "results").exists()


def test_a_plan_is_a_document(folder: Path, kvl: Kvl) -> None:
    plan = document(kvl(*FAKE, "--dry-run", "--json").out)
    assert (plan["status"], plan["requests"], plan["data"]["mathvista"]["total"]) == ("planned", 2, 90)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "error"),
    [
        pytest.param(("run", "--task", "nope"), 2, "usage.task", id="task"),
        pytest.param(("run", "--task", "mathvista", "--nope"), 2, "usage.option", id="option"),
        pytest.param(("nope",), 2, "usage.verb", id="command"),
        pytest.param(("report",), 2, "usage.report", id="no-run"),
        pytest.param(("verify", "nothing"), 4, "run.missing", id="run"),
        pytest.param(("compare", "nothing", "else"), 4, "run.missing", id="compare"),
        pytest.param(("export", "nothing", "-f", "csv"), 4, "run.missing", id="export"),
        pytest.param(("score", "--task", "mathvista"), 2, "usage.score", id="score"),
        pytest.param(("merge", "nothing"), 4, "run.missing", id="merge"),
        pytest.param(("list", "tasks", "--status", "failed"), 2, "usage.list", id="list"),
        pytest.param(("describe", "nope"), 2, "usage.task", id="describe"),
        pytest.param(("view", "nothing"), 2, "usage.option", id="no-json-there"),
    ],
)
def test_a_failure_is_a_document(
    arguments: tuple[str, ...], exit_code: int, error: str, folder: Path, kvl: Kvl
) -> None:
    answer = kvl(*arguments, "--json")
    found = document(answer.out)
    assert list(found) == ["schema", "error"]
    assert list(found["error"]) == ["code", "message", "where", "why", "fix", "suggestions", "exit_code"]
    assert (answer.code, found["schema"]) == (exit_code, 1)
    assert (found["error"]["exit_code"], found["error"]["code"]) == (exit_code, error)
    assert f"error[{error}]" in answer.err


def test_without_json_a_failure_leaves_standard_output_empty(folder: Path, kvl: Kvl) -> None:
    assert kvl("run", "--task", "nope").out == ""
    assert kvl("verify", "--", "--json").out == ""


def test_a_bug_is_a_document_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> int:
        raise KeyError("x")

    monkeypatch.setattr(commands.cli, "main", broken)
    with pytest.raises((KeyError, SystemExit)):
        commands.main(["run", "--json"])
    found = document(capsys.readouterr().out)["error"]
    assert (found["code"], found["exit_code"]) == ("internal", 1)
    assert "KeyError: 'x'" in found["message"]


def test_an_interrupt_before_there_is_a_result_is_a_document(monkeypatch: pytest.MonkeyPatch, kvl: Kvl) -> None:
    def interrupted(*_: object, **__: object) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    monkeypatch.setattr(commands.cli, "main", interrupted)
    answer = kvl("run", "--json")
    assert answer.code == 130
    assert document(answer.out)["error"]["code"] == "interrupted"


def test_a_document_that_was_printed_is_the_only_one(monkeypatch: pytest.MonkeyPatch, kvl: Kvl) -> None:
    def late(*_: object, **__: object) -> int:
        commands.echo("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.cli, "main", late)
    assert document(kvl("run", "--json").out) == {}
