"""The shell completes commands, options and the names that options and arguments take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kvl_eval.cli.completion import SHELLS
from kvl_eval.cli.main import main
from kvl_eval.tasks import TASKS


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What bash is told for a line whose last word is incomplete."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_KVL_EVAL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.splitlines()

    return complete


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("kvl-eval run math", ["plain,math", "plain,mathvision", "plain,mathvista"]),
        ("kvl-eval run mmstar mathvis", ["plain,mathvision", "plain,mathvista"]),
        ("kvl-eval run -t mathvist", ["plain,mathvista"]),
        ("kvl-eval run --task mmmu,mathvist", ["plain,mmmu,mathvista"]),
        ("kvl-eval describe mathvist", ["plain,mathvista"]),
        ("kvl-eval check data mathvist", ["plain,mathvista"]),
        ("kvl-eval fetch mathvist", ["plain,mathvista"]),
        ("kvl-eval run -m kimi-vl-nano", ["plain,kimi-vl-nano", "plain,kimi-vl-nano-thinking"]),
        ("kvl-eval run --budget-policy ", ["plain,cut", "plain,force"]),
        ("kvl-eval run --video-dec", ["plain,--video-decoder"]),
        ("kvl-eval list ", ["plain,tasks", "plain,models", "plain,runs", "plain,references"]),
        ("kvl-eval ver", ["plain,verify", "plain,version"]),
        ("kvl-eval help exit", ["plain,exit-codes"]),
        ("kvl-eval run -C x", ["file,x"]),
        ("kvl-eval run -o x", ["dir,x"]),
        ("kvl-eval run file : x", ["file,x"]),
    ],
)
def test_names_are_completed(completed, line: str, names: list[str]) -> None:
    assert completed(line) == names


@pytest.mark.parametrize("option", ["prompt", "protocol"])
def test_prompts_and_protocols_are_those_of_the_tasks_on_the_line(completed, option: str) -> None:
    task = TASKS["mathvision"]
    names = sorted(task.prompts) if option == "prompt" else sorted({"all", *task.protocols})
    assert completed(f"kvl-eval run mathvision --{option} ") == [f"plain,{name}" for name in names]
    assert len(completed(f"kvl-eval run --{option} ")) > len(names)


def test_runs_are_those_of_the_results_folder(completed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("20261130-024555_a", "20261129-230114_b", "other"):
        (tmp_path / "results" / name).mkdir(parents=True)
    for name in ("20261130-024555_a", "20261129-230114_b"):
        (tmp_path / "results" / name / "run.json").touch()
    assert completed("kvl-eval resume 20261130") == ["plain,20261130-024555_a"]
    assert completed("kvl-eval report l") == ["plain,latest"]
    assert completed("kvl-eval verify ./re") == ["dir,./re"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_says_how_it_is_installed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", shell])
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("# ") and f"kvl-eval completion {shell}" in text.splitlines()[0]
    assert f"_KVL_EVAL_COMPLETE={shell}_complete" in text
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
