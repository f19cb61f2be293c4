"""The lines that a run ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.run.ending import run_argument, stop_lines


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVL_EVAL_RESULTS_DIR", raising=False)
    return tmp_path


def test_the_newest_run_of_the_default_results_folder_is_latest(here: Path) -> None:
    older, newer = (folder(Path("results") / name) for name in ("20261130-010000_a", "20261130-020000_b"))
    Path("results/index.json").write_text("[]")
    assert run_argument(newer) == run_argument(newer.resolve()) == "latest"
    assert run_argument(older) == str(older)


def test_a_run_elsewhere_is_called_by_its_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder(here / "elsewhere" / "20261130-010000_a")
    assert run_argument(run) == str(run)
    monkeypatch.setenv("KVL_EVAL_RESULTS_DIR", "elsewhere")
    assert run_argument(run) == "latest"


def test_a_stopped_run_says_how_much_is_saved_and_how_to_continue(here: Path) -> None:
    run = folder(Path("results/20261130-010000_a"))
    assert stop_lines(run, 412, 1000) == [
        "stopped: 412 of 1,000 answers saved",
        "next:    kvl-eval resume latest",
        f"folder:  {run}",
    ]
