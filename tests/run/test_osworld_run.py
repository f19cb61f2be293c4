"""Runs of OSWorld's tasks against a stand-in of its environment: records, labels, and the official result folder."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli.main import main
from kvl_eval.errors import DataError, UsageError
from kvl_eval.exports import export_run
from kvl_eval.reports.table import final_table
from kvl_eval.run.config import resolve
from kvl_eval.run.osworld_place import PYTHON, TREE, require_osworld
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import RunOutcome, start_run
from kvl_eval.scoring.osworld_results import read_results
from kvl_eval.scoring.predictions import score_file
from kvl_eval.sources import Source
from kvl_eval.store.trajectories import read_trajectory, trajectory_path
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.osworld import OFFICIAL_IMAGE, OSWORLD, OSWORLD_LOCAL
from tests.conftest import DATA
from tests.osworld_tree import write_tree

SIZE = (64, 40)
EXACT, LAMP = {"func": "exact_match"}, {"func": "infeasible"}
TREE_OF = {
    "os/rename": {"instruction": "Rename it.", "evaluator": EXACT},
    "os/lamp": {"instruction": "Turn on the lamp.", "evaluator": LAMP},
    "vlc/broken": {"instruction": "Play it.", "snapshot": "setup fails", "evaluator": EXACT},
    "gimp/odd": {"instruction": "Draw it.", "snapshot": "evaluator raises", "evaluator": EXACT},
    "gimp/dead": {"instruction": "Crop it.", "snapshot": "dies in a step", "evaluator": EXACT},
}
SMALL = replace(OSWORLD, episode=replace(OFFICIAL_IMAGE, screen=SIZE, waits=(0, 0)))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """Five episodes of agent `wrong`: a click, then DONE."""
    folder = tmp_path_factory.mktemp("osworld")
    tree = write_tree(folder / "tree", TREE_OF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PYTHON, sys.executable)
        patch.setenv(TREE, str(DATA / "osworld_stand_in"))
        patch.setitem(TASKS, "osworld", SMALL)
        options = {"output_dir": str(folder / "runs"), "prompt": "wrong", "data_dir": str(tree), "split": "test"}
        config = resolve("fake", "fake", [SMALL], options)
        backend = FakeBackend(config.settings)
        return start_run(plan_run(config, backend), backend)


def test_each_episode_ends_as_it_should(outcome: RunOutcome) -> None:
    records = {record.sample_id: record for record in outcome.folder.records("osworld")}
    assert {name: record.reason for name, record in records.items()} == {
        "os/rename": None,
        "os/lamp": None,
        "vlc/broken": "setup_failed",
        "gimp/odd": "evaluator_error",
        "gimp/dead": "desktop_died",
    }
    assert records["os/rename"].answer == "1.0 DONE 2 steps"
    assert records["os/lamp"].answer == "0.0 DONE 2 steps"
    (row,) = outcome.results.rows
    assert (row.n_planned, row.n_ok, row.score) == (5, 2, 0.5)  # failed episodes are outside the mean
    assert outcome.exit_code == 3
    assert row.official["tasks"] == "2 of 369" and row.official["mean steps"] == "2.00"
    trajectory = read_trajectory(trajectory_path(outcome.folder.path, str(records["os/rename"].extra.trajectory)))
    assert trajectory.outcome is not None and trajectory.outcome.versions["desktop_env"]
    assert [check.function for check in trajectory.outcome.evaluator] == ["exact_match"]


def test_the_table_says_what_the_figures_are_not(outcome: RunOutcome) -> None:
    (row,) = outcome.results.rows
    table = final_table(outcome.results, 120)
    assert "osworld" in table and "experimental" in table and "8.2" not in table
    assert row.reference is None


def test_an_exported_folder_is_read_back_with_equal_steps_and_values(outcome: RunOutcome, tmp_path: Path) -> None:
    written = export_run(outcome.folder, "osworld", tmp_path / "out")
    places = sorted(
        path.relative_to(tmp_path / "out").parent.as_posix() for path in written if path.name == "traj.jsonl"
    )
    assert places == [f"pyautogui/screenshot/fake/{name}" for name in sorted(TREE_OF)]
    results = {f"{result.domain}/{result.id}": result for result in read_results(tmp_path / "out")}
    for record in outcome.folder.records("osworld"):
        trajectory = read_trajectory(trajectory_path(outcome.folder.path, str(record.extra.trajectory)))
        result = results[record.sample_id]
        assert trajectory.outcome is not None and result.value == trajectory.outcome.value
        assert [step.number for step in result.steps] == [step.n for step in trajectory.steps]
        assert [step.response for step in result.steps] == [step.raw_output for step in trajectory.steps]
    folder = tmp_path / "out/pyautogui/screenshot/fake/os/rename"
    lines = [json.loads(line) for line in (folder / "traj.jsonl").read_text().splitlines()]
    assert [(line["step_num"], line["action"], line["done"]) for line in lines] == [
        (1, "pyautogui.click(700, 500)", False),
        (2, "DONE", True),
    ]
    assert all((folder / line["screenshot_file"]).read_bytes().startswith(b"\x89PNG") for line in lines)
    assert (folder / "result.txt").read_text() == "1.0\n"
    dead = folder.parent.parent / "gimp/dead"
    assert not (dead / "result.txt").exists() and "Error" in (dead / "traj.jsonl").read_text()


def test_a_folder_is_scored_by_the_values_that_it_holds(outcome: RunOutcome, tmp_path: Path) -> None:
    export_run(outcome.folder, "osworld", tmp_path / "out")
    tree = write_tree(tmp_path / "tree", TREE_OF)
    scores = score_file(SMALL, tmp_path / "out", source=Source(data_dir=tree), split="test")
    (row,) = outcome.results.rows
    assert (scores.first.summary["n"], scores.first.summary["score"]) == (2, row.score)
    assert scores.first.summary["official"]["mean steps"] == row.official["mean steps"]
    assert len(scores.refused) == 3 and not scores.complete


def official(folder: Path, result: str, *lines: dict[str, Any]) -> Path:
    place = folder / "pyautogui/screenshot/gpt/os/rename"
    place.mkdir(parents=True)
    (place / "result.txt").write_text(result)
    (place / "traj.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_several_actions_of_a_step_are_one_step(tmp_path: Path) -> None:
    line = {"step_num": 1, "response": {"role": "assistant"}, "done": False, "screenshot_file": "a.png"}
    lines = [
        line | {"action": "pyautogui.click(1, 1)"},
        line | {"action": "WAIT"},
        line | {"step_num": 2, "action": "FAIL"},
    ]
    (result,) = read_results(official(tmp_path, "0.25\n", *lines))
    assert (result.value, result.ended_by, len(result.steps)) == (0.25, "fail", 3)
    scores = score_file(SMALL, tmp_path, source=Source(data_dir=write_tree(tmp_path / "tree", TREE_OF)), split="test")
    assert scores.first.scores[0].scored.score.detail["steps"] == 2


@pytest.mark.parametrize("result", ["2", "nan", "__import__('os').getcwd()", "1" * 200, ""])
def test_a_result_that_is_no_value_is_refused_and_never_run(tmp_path: Path, result: str) -> None:
    with pytest.raises(DataError) as caught:
        list(read_results(official(tmp_path, result)))
    assert "result.txt" in str(caught.value.where)


def test_a_result_that_is_a_link_is_refused(tmp_path: Path) -> None:
    place = official(tmp_path, "1") / "pyautogui/screenshot/gpt/os/rename"
    shutil.move(place / "result.txt", tmp_path / "other")
    (place / "result.txt").symlink_to(tmp_path / "other")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_results(tmp_path))


def test_a_folder_without_episodes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode"):
        score_file(SMALL, tmp_path, source=Source(data_dir=write_tree(tmp_path / "tree", TREE_OF)), split="test")


@pytest.mark.parametrize("task", [OSWORLD, OSWORLD_LOCAL], ids=lambda task: task.name)
def test_without_an_interpreter_it_says_what_to_name(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(UsageError) as caught:
        require_osworld([task])
    assert caught.value.code == "usage.osworld" and "--osworld-python" in (caught.value.fix or "")


def test_the_sandbox_needs_a_clone_and_a_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv(PYTHON, str(python))
    monkeypatch.delenv(TREE, raising=False)
    with pytest.raises(UsageError, match="in-guest server"):
        require_osworld([OSWORLD_LOCAL])
    (tmp_path / "tree/desktop_env/server").mkdir(parents=True)
    (tmp_path / "tree/desktop_env/server/main.py").touch()
    monkeypatch.setenv(TREE, str(tmp_path / "tree"))
    with pytest.raises(UsageError, match="virtual environment"):
        require_osworld([OSWORLD_LOCAL])
    (tmp_path / "env/pyvenv.cfg").touch()
    require_osworld([OSWORLD_LOCAL, OSWORLD])


def test_a_configuration_file_cannot_name_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(f"osworld-python: {sys.executable}\n")
    arguments = ["run", "osworld", "--model", "fake", "-C", str(tmp_path / "c.yaml"), "--dry-run"]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error[trust.osworld]" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "provider"), [(OSWORLD, "xvfb"), (OSWORLD_LOCAL, "docker"), (OSWORLD, "drawn")])
def test_a_provider_cannot_make_one_task_look_like_the_other(task: Any, provider: str) -> None:
    with pytest.raises(UsageError, match="provider"):
        resolve("fake", "fake", [task], {"provider": provider, "data_dir": "."})
    assert task.episode is not None and task.episode.provider in task.episode.providers


def test_waits_are_those_of_the_authors_runner_where_the_image_is() -> None:
    assert OSWORLD.episode is not None and OSWORLD_LOCAL.episode is not None
    assert (OSWORLD.episode.waits, OSWORLD_LOCAL.episode.waits) == ((60, 20), (0, 20))
