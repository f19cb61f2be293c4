"""RUN and `--results-dir` of the commands that take a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kvl_eval.cli.main import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two runs of the fake model."""
    folder = tmp_path_factory.mktemp("work") / "results"
    for number in ("1", "2"):
        options = ["--model", "fake", "--limit", number, "-o", str(folder), "--no-progress"]
        with pytest.raises(SystemExit):
            main(["run", "--task", "mathvista", *options])
    return folder


def answer(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def newest(results: Path) -> Path:
    return max((path for path in results.iterdir() if path.is_dir()), key=lambda path: path.name)


def test_latest_an_id_its_end_and_a_path_are_the_same_run(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    run = newest(results)
    names = ("latest", run.name, run.name.removeprefix(run.name.split("_")[0]), f"results/{run.name}")
    answers = [answer("verify", name, "--json", capsys=capsys) for name in names]
    assert [code for code, _, _ in answers] == [0] * 4
    assert {Path(json.loads(out)["run"]).name for _, out, _ in answers} == {run.name}


def test_all_entries_of_a_results_folder_are_its_runs(
    results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entries = sorted(map(str, results.iterdir()))  # as a shell expands `results/*`
    assert any(name.endswith("index.json") for name in entries)
    code, _, err = answer("report", *entries, "-o", str(tmp_path), capsys=capsys)
    assert code == 0, err


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("score", "2"), id="score"),
        pytest.param(("resume", "2"), id="resume"),
        pytest.param(("report", "latest", "2"), id="report"),
        pytest.param(("verify", "2"), id="verify"),
        pytest.param(("compare", "latest", "2"), id="compare"),
        pytest.param(("export", "2", "-f", "csv"), id="export"),
        pytest.param(("merge", "2", "latest"), id="merge"),
        pytest.param(("view", "2"), id="view"),
    ],
)
def test_an_ambiguous_beginning_ends_with_the_candidates(
    command: tuple[str, ...], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(*command, "--results-dir", str(results), capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage.run]: 2 runs match '2'\n")
    assert all(path.name in err for path in results.iterdir() if path.is_dir())


@pytest.mark.parametrize("option", ["--results-dir", "--output-dir", "-o", None])
def test_runs_are_listed_below_the_results_folder(
    option: str | None, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if option is None:
        monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", str(results))
    arguments = () if option is None else (option, str(results))
    _, out, _ = answer("list", "runs", "--json", *arguments, capsys=capsys)
    assert len(json.loads(out)) == 2


def test_a_run_is_written_below_the_results_folder_of_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", str(tmp_path / "x"))
    monkeypatch.chdir(tmp_path)
    code, _, _ = answer("run", "--task", "mathvista", "--model", "fake", "--limit", "1", capsys=capsys)
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    shutil.rmtree(tmp_path / "x")
