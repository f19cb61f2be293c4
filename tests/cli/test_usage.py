"""Other names of commands, and wrong usage: what is wrong, and what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.cli.main import cli, main
from kvl_eval.cli.usage import typed_as
from kvl_eval.options import COMMANDS


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("eval mathvista", "run mathvista"),
        ("evaluate --task mathvista", "run --task mathvista"),
        ("ls tasks", "list tasks"),
        ("show mathvista", "describe mathvista"),
        ("info mathvista", "describe mathvista"),
        ("download mathvista", "fetch mathvista"),
        ("tasks", "list tasks"),
        ("models --json", "list models --json"),
        ("runs", "list runs"),
        ("init_task demo", "new-task demo"),
        ("--task mathvista", "run --task mathvista"),
        ("-m fake mathvista", "run -m fake mathvista"),
        ("run mathvista", "run mathvista"),
        ("--help", "--help"),
        ("-V", "-V"),
        ("", ""),
    ],
)
def test_commands_have_other_names(typed: str, read: str) -> None:
    assert typed_as(typed.split()) == tuple(read.split())


def test_other_names_are_no_commands_and_each_means_one() -> None:
    aliases = [alias for command in COMMANDS for alias in command.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(cli.commands)


def failed(capsys: pytest.CaptureFixture[str], words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 2 and not said.out
    return said.err.rstrip("\n")


def test_options_alone_are_read_as_those_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--task", "mathvista", "-m", "fake", "--limit", "1", "--dry-run"])
    said = capsys.readouterr()
    assert ended.value.code == 0 and "mathvista" in said.out
    assert said.err.startswith("note: read as 'kvl-eval run --task mathvista -m fake --limit 1 --dry-run'\n")


def test_positional_tasks_join_those_of_the_option(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "mathvista", "mmmu", "--task", "ocrbench", "--model", "fake", "--limit", "1", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert sorted(line.split()[0] for line in lines[1:-1]) == ["mathvista", "mmmu", "ocrbench"]


@pytest.mark.parametrize("key", ["as-jsn", "asjson", "jso"])
def test_names_of_code_are_never_suggested(key: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"{key}: true\n")
    shown = failed(capsys, f"run mathvista --config {tmp_path / 'run.yaml'}") + failed(capsys, f"run --{key}")
    assert "as_json" not in shown.replace("-", "_").replace(key.replace("-", "_"), "")


@pytest.mark.parametrize(
    ("words", "block"),
    [
        ("runn", "error[usage.verb]: unknown command 'runn'\n  fix:   did you mean run? See kvl-eval --help"),
        (
            "check dta x",
            "error[usage.verb]: unknown command 'dta'\n  fix:   did you mean data? See kvl-eval check --help",
        ),
        ("list tsks", "error[usage.list]: unknown list 'tsks'\n  fix:   did you mean tasks? See kvl-eval list --help"),
        ("run --limit", "error[usage.option]: --limit needs a value\n  fix:   kvl-eval run --help"),
        ("run --seed x", "error[usage.option]: --seed must be an integer, got 'x'"),
        ("run --max-connections 0", "error[usage.option]: --max-connections must be at least 1, got '0'"),
        ("run --budget-policy x", "error[usage.option]: --budget-policy must be one of cut, force, got 'x'"),
        ("report --format x y", "error[usage.option]: --format must be one of html, file, zip, markdown, got 'x'"),
        ("report", "error[usage.report]: no run given\n  fix:   kvl-eval report latest"),
        ("resume", "error[usage.resume]: no run given\n  fix:   kvl-eval resume latest"),
        ("explain", "error[usage.explain]: no run given\n  fix:   kvl-eval explain latest"),
        ("compare", "error[usage.compare]: no run given\n  fix:   kvl-eval compare RUN_A RUN_B"),
        ("describe", "error[usage.describe]: no task given\n  fix:   kvl-eval describe mathvista"),
        ("check data", "error[usage.check]: no task given\n  fix:   kvl-eval check data mathvista"),
        ("export x", "error[usage.export]: no --format given\n  fix:   kvl-eval export --help"),
        ("describe a b", "error[usage.option]: unexpected argument 'b'\n  fix:   kvl-eval describe --help"),
    ],
)
def test_wrong_usage_is_one_block(words: str, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(capsys, words) == block
