"""Several configuration files, several problems of one, and what the environment gives."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from kvl_eval.cli.config_file import ConfigFile
from kvl_eval.cli.main import list_, main, run
from kvl_eval.cli.topics import TOPICS
from kvl_eval.errors import ConfigError
from kvl_eval.options import OPTIONS

SPECIFIED = """\
error[config.key]: unknown option 'limt'
  where: run.yaml:2
  fix:   did you mean 'limit'?
error[config.value]: seed must be an integer, got 'abc'
  where: run.yaml:4
"""
SYNTAX = """\
error[config.yaml]: not valid YAML: expected ',' or ']'
  where: run.yaml:3:1
"""


def values(*words: str, command: click.Command = run) -> dict[str, object]:
    return command.make_context("run", list(words)).params


def test_all_problems_of_a_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("model: fake\nlimt: 5\ntask: mathvista\nseed: abc\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "-C", "run.yaml"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == SPECIFIED
    Path("run.yaml").write_text("model: fake\ntask: [mathvista\n")
    with pytest.raises(SystemExit):
        main(["run", "-C", "run.yaml"])
    assert capsys.readouterr().err == SYNTAX


def test_at_most_five_problems_are_shown(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("".join(f"zzz{number}: 1\n" for number in range(9)))
    with pytest.raises(ConfigError) as caught:
        ConfigFile.read(tmp_path / "run.yaml", click.Context(run))
    assert caught.value.render().count("error[") == 5
    assert caught.value.code == "config.key" and "zzz0" in caught.value.message


def test_later_files_win_and_the_command_line_wins_over_all(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("seed: 1\nlimit: 10%\nrepeats: 3\n")
    second.write_text("seed: 2\nrepeats: 4\n")
    read = values("-C", str(first), "--config", str(second), "--repeats", "5")
    assert (read["seed"], read["limit"], read["repeats"]) == (2, "10%", 5)
    assert values("-C", str(second), "-C", str(first))["seed"] == 1


def test_an_error_names_the_file_that_gave_the_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("model: fake\ntask: mathvista\nlimit: 3\n")
    second.write_text("\nlimit: 0\n")
    with pytest.raises(SystemExit):
        main(["run", "-C", str(first), "-C", str(second), "--dry-run"])
    assert f"where: {second}:2" in capsys.readouterr().err


def test_the_environment_gives_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", "elsewhere")
    monkeypatch.setenv("KVL_EVAL_CACHE_DIR", str(tmp_path))
    (tmp_path / "first.yaml").write_text("seed: 1\nrepeats: 3\n")
    (tmp_path / "second.yaml").write_text("seed: 2\n")
    monkeypatch.setenv("KVL_EVAL_CONFIG", str(tmp_path / "first.yaml"))
    read = values("-C", str(tmp_path / "second.yaml"))
    assert (read["output_dir"], read["cache_dir"]) == ("elsewhere", str(tmp_path))
    assert (read["seed"], read["repeats"]) == (2, 3)
    assert values("-o", "here")["output_dir"] == "here"
    assert values("runs", command=list_)["results_dir"] == "elsewhere"


def test_a_run_goes_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", "x")
    with pytest.raises(SystemExit) as ended:
        main(["run", "mathvista", "-m", "fake", "-L", "1", "--num-workers", "0", "--no-progress"])
    assert ended.value.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_help_environment_names_every_variable() -> None:
    listed = [line.split()[0] for line in TOPICS["environment"].splitlines() if line.startswith("  ")]
    assert {option.variable for option in OPTIONS} - {None} <= set(listed)
    specified = ["RESULTS_DIR", "CACHE_DIR", "CONFIG", "VLLM", "MMVET_PREFIX", "OSWORLD_PYTHON", "OSWORLD_DIR"]
    others = ["HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "NO_COLOR", "CI", "TERM", "COLUMNS"]
    assert listed == [*(f"KVL_EVAL_{name}" for name in specified), *others]
