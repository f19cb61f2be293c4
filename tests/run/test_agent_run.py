"""Runs of a task of agents, from plan to results: what is stored, and what resuming may not change."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import kvl_eval
from kvl_eval.audit.merge import merge
from kvl_eval.audit.verify import verify
from kvl_eval.backends.base import Backend, Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import StorageError, UsageError
from kvl_eval.exports.tables import write_csv
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.run.config import RunConfig, resolve
from kvl_eval.run.plan import Plan, plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.runner import RunOutcome, resume_run, start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import decode_line, encode_line
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import read_trajectory, trajectory_path
from kvl_eval.tasks.desktop_mini import BUNDLED, TASK
from tests.agent.stub_desks import SAMPLES, good_click
from tests.refusals import refused
from tests.tiny_task import tiny

BOARDS = {name for name, sample in SAMPLES.items() if sample.row["feasible"]}
VOLATILE = ("time", "ended_at", "crc", "started_at")


def make(config: RunConfig) -> Backend:
    return FakeBackend(config.settings, answer=good_click)


def plan_of(folder: Path, agent: str = "one-click", **options: Any) -> tuple[Plan, Backend]:
    config = resolve("fake", "fake", [TASK], {"output_dir": str(folder), "prompt": agent, **options})
    backend = make(config)
    return plan_run(config, backend), backend


def run(folder: Path, agent: str = "one-click", **options: Any) -> RunOutcome:
    return start_run(*plan_of(folder, agent, **options))


def lines(path: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in json.loads(line).items() if key not in VOLATILE}
        for line in path.read_bytes().splitlines()
    ]


def stored(path: Path) -> dict[str, Any]:
    """The records and the journals of a run without times, {name: lines}."""
    records = {line["sample_id"]: line for line in lines(path / "samples/desktop-mini.jsonl")}
    journals = {file.parent.name: lines(file) for file in path.glob("trajectories/*/*/0.jsonl")}
    return {"records": records, "journals": journals, "screens": sorted(os.listdir(path / "media"))}


def test_a_run_stores_results_journals_and_screens(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.exit_code == 0
    (row,) = outcome.results.rows
    assert (row.n_planned, row.n_ok, row.score) == (15, 15, pytest.approx(12 / 15))
    assert row.official["ended by done"] == "15"
    folder = outcome.folder
    for record in folder.records("desktop-mini"):
        assert record.extra.trajectory is not None
        trajectory = read_trajectory(trajectory_path(folder.path, record.extra.trajectory))
        assert trajectory.outcome is not None
        assert record.answer == f"{trajectory.outcome.value} DONE {trajectory.outcome.steps} steps"
        assert len(json.loads(record.raw_output)) == len(trajectory.steps)
        assert trajectory.head.config_fingerprint == folder.manifest.config_fingerprint


@pytest.mark.parametrize(
    ("agent", "score"), [("oracle", 1.0), ("wrong", 0.0), ("idle", 0.0), ("fail", 3 / 15), ("random", None)]
)
def test_scripted_agents_reach_their_scores(tmp_path: Path, agent: str, score: float | None) -> None:
    (row,) = run(tmp_path, agent).results.rows
    assert row.score is not None
    assert row.score <= 1 / 15 if score is None else row.score == pytest.approx(score)


def test_the_agent_of_a_family_is_its_default(tmp_path: Path) -> None:
    agents = {
        family: resolve("fake", family, [TASK], {"output_dir": str(tmp_path)}).tasks[0].prompt
        for family in ("instruct", "thinking-2506", "nano", "qwen2.5-vl-7b")
    }
    assert agents == {
        "instruct": "kimi-figure10",
        "thinking-2506": "kimi",
        "nano": "one-click",
        "qwen2.5-vl-7b": "kimi-figure10",
    }


def test_what_can_change_a_result_is_in_the_fingerprint(tmp_path: Path) -> None:
    plans = [plan_of(tmp_path, agent)[0] for agent in ("one-click", "oracle", "wrong")]
    assert len({plan.fingerprint for plan in plans}) == 3
    tasks: Any = plans[0].identity["tasks"]
    assert tasks["desktop-mini"]["prompt"] == "one-click"
    assert tasks["desktop-mini"]["episode"] == {
        **{"agent_version": 1, "max_steps": 8, "screen": [168, 140], "provider": "drawn"},
        **{"pause": 0.0, "settling": "stable"},
    }


@pytest.mark.parametrize(
    "options", [{"think_budget": [64]}, {"system_prompt": "Be quick."}], ids=lambda options: next(iter(options))
)
def test_options_of_prompts_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with refused(UsageError, "usage.agent"):
        plan_of(tmp_path, **options)


def cut(path: Path, count: int) -> None:
    """Leave a run as if its process had died after so many records."""
    (path / "results.json").unlink()
    file = path / "samples/desktop-mini.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:count]))
    RunFolder.open(path).save_status("running")


@pytest.mark.parametrize("count", [0, 4, 14])
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, count: int) -> None:
    whole, other = run(tmp_path / "whole").folder.path, run(tmp_path / "other").folder.path
    cut(other, count)
    outcome = resume_run(RunReader.open(other), make)
    assert outcome.exit_code == 0
    assert stored(other) == stored(whole)
    assert len(list(other.glob("trajectories/*/*/0.1.jsonl"))) == 15 - count


def test_failed_episodes_are_played_again_and_are_no_zeros(tmp_path: Path) -> None:
    config = resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path), "prompt": "one-click"})
    backend = FakeBackend(config.settings, answer=good_click)
    backend._failures = FakeBackend(
        resolve("fake", "fake", [TASK], {"model_args": {"fail": "oom:2"}}).settings, answer=good_click
    )._failures
    outcome = start_run(plan_run(config, backend), backend)
    (row,) = outcome.results.rows
    assert (outcome.exit_code, row.n_ok, dict(row.failed)) == (3, 13, {"oom": 2})
    again = resume_run(RunReader.open(outcome.folder.path), make, rerun="failed")
    assert (again.exit_code, again.results.rows[0].score) == (0, pytest.approx(12 / 15))


def data_folder(folder: Path, instruction: str | None = None) -> Path:
    """The bundled tasks in a folder of the user's, the first instruction replaced."""
    folder.mkdir(exist_ok=True)
    shutil.copy(BUNDLED / "test.parquet", folder)
    if instruction is not None:
        table = pq.read_table(folder / "test.parquet")
        texts = [instruction, *table.column("instruction").to_pylist()[1:]]
        place = table.column_names.index("instruction")
        pq.write_table(table.set_column(place, "instruction", pa.array(texts)), folder / "test.parquet")
    return folder


def test_A9_a_task_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "data")
    path = run(tmp_path / "runs", data_dir=str(folder), split="test").folder.path
    cut(path, 5)
    data_folder(folder, "click Something")
    with refused(UsageError, "run.mismatch") as caught:
        resume_run(RunReader.open(path), make)
    assert "tasks.desktop-mini.data" in str(caught.value.why)


def test_A10_a_full_disk_while_a_screen_is_written_stops_the_run(tmp_path: Path) -> None:
    plan, backend = plan_of(tmp_path)
    from kvl_eval.store.journal import Disk

    class Full(Disk):
        def replace(self, path: Path, chunks: Any) -> None:
            if path.suffix == ".png":
                raise StorageError("storage.full", f"cannot write {path}: No space left on device", fix="free some")
            super().replace(path, chunks)

    with pytest.raises(StorageError) as caught:
        start_run(plan, backend, disk=Full())
    assert caught.value.exit_code == 6


def unsupported(request: Request, repeat: int) -> str:
    """A call that is not replayed in the first step, and clicks from then on."""
    x, y = re.findall(r"\d\.\d+", good_click(request))
    call = "run(command)" if request.key.endswith("#1") else f"click(x={x}, y={y})"
    return f"Thought: go\nAction: act\nToolcall: {call}"


def test_steps_without_effect_are_counted_beside_the_score(tmp_path: Path) -> None:
    config = resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path), "prompt": "kimi-figure10"})
    backend = FakeBackend(config.settings, answer=unsupported)
    outcome = start_run(plan_run(config, backend), backend)
    (row,) = outcome.results.rows
    part, whole = row.shares["unsupported steps"]
    assert part == 15 < whole and row.shares["unparsable replies"][0] == 0
    assert row.official["unsupported steps"] == f"{part / whole:.1%}"
    (warning,) = (one for one in run_warnings(outcome.folder, outcome.results) if one.code == "format")
    assert str(warning) == f"desktop-mini: unsupported steps: 15 of {whole} ({part / whole:.1%})"
    assert verify(RunReader.open(outcome.folder.path)).exit_code == 0
    assert (row.label, row.reference) == ("desktop-mini", None)  # beside no published result


def test_the_number_of_steps_and_desktops_is_an_option(tmp_path: Path) -> None:
    plan, backend = plan_of(tmp_path, max_steps=1, desktops=2)
    text = plan_text(plan, details=True)
    assert "<= 1" in text and "15 on 2 desktops, at most 15 steps and 1 MB of screens" in text
    outcome = start_run(plan, backend)
    (row,) = outcome.results.rows
    assert row.score == pytest.approx(6 / 15)  # the tasks of one board
    assert row.official["ended by max_steps"] == "6"
    options = yaml.safe_load((outcome.folder.path / "config.yaml").read_text())
    assert (options["max_steps"], options["desktops"]) == (1, 2)
    assert plan.fingerprint != plan_of(tmp_path)[0].fingerprint == plan_of(tmp_path, desktops=1)[0].fingerprint


@pytest.mark.parametrize("option", ["max_steps", "desktops"])
def test_options_of_agents_need_a_task_of_agents(option: str) -> None:
    with refused(UsageError, "usage.agent"):
        resolve("fake", "fake", [tiny()], {option: 2})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("finished")).folder.path


def test_a_finished_run_is_proven_with_its_journals_and_screens(finished: Path) -> None:
    proof = verify(RunReader.open(finished))
    assert proof.verdict == "complete"
    assert "trajectories/: 15 journals agree with their records" in proof.proven


def changed_outcome(path: Path) -> None:
    journal = path / "trajectories/desktop-mini/board-1/0.jsonl"
    *rest, last = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(rest) + encode_line(decode_line(last) | {"value": 0.5}))


def a_screen(path: Path) -> Path:
    return next((path / "media").iterdir())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "trajectory.fault": changed_outcome,
    "trajectory.missing": lambda path: (path / "trajectories/desktop-mini/board-1/0.jsonl").unlink(),
    "trajectory.damaged": lambda path: (path / "trajectories/desktop-mini/board-1/0.jsonl").write_bytes(b"{}\n"),
    "screen.missing": lambda path: a_screen(path).unlink(),
    "screen.changed": lambda path: a_screen(path).write_bytes(b"other"),
}


@pytest.mark.parametrize("code", DAMAGES)
def test_damaged_journals_and_screens_are_named(finished: Path, tmp_path: Path, code: str) -> None:
    path = tmp_path / finished.name
    shutil.copytree(finished, path)
    DAMAGES[code](path)
    proof = verify(RunReader.open(path))
    assert [finding.code for finding in proof.findings if finding.severity == "damaged"] == [code]


def test_exports_name_the_journal_of_an_episode(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(finished)
    with write_csv(folder, OutputFolder(tmp_path)).open() as file:
        cells = {row["sample_id"]: row["trajectory"] for row in csv.DictReader(file)}
    assert cells["board-1"] == "trajectories/desktop-mini/board-1/0.jsonl" and len(cells) == 15


SCRIPT = """
import sys
from pathlib import Path
from tests.run.test_agent_run import plan_of
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.runner import start_run
plan, backend = plan_of(Path(sys.argv[1]))
backend._args = backend._args.__class__(delay=0.5)
start_run(plan, backend)
"""


def started(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=Path(__file__).parents[2])


def journals(folder: Path) -> Sequence[Path]:
    return list(folder.glob("*/trajectories/*/*/0.jsonl"))


def test_A1_screens_cut_while_they_were_written_are_gone_after_the_next_run(tmp_path: Path) -> None:
    path = run(tmp_path).folder.path
    torn = path / "media" / f".{'0' * 64}.png.{2**22 + 1}.tmp"  # no process has this number
    torn.write_bytes(b"torn")
    assert resume_run(RunReader.open(path), make).exit_code == 0
    assert not torn.exists()


def is_under_way(journal: bytes) -> bool:
    """Whether an episode has taken a step and has not ended."""
    return len(journal.splitlines()) > 1 and b"ended_by" not in journal


@pytest.mark.slow
def test_A1_a_killed_run_is_resumed_at_the_first_step_of_its_episodes(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").folder.path
    process = started(tmp_path / "killed")
    while not any(is_under_way(file.read_bytes()) for file in journals(tmp_path / "killed")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (path,) = (path for path in (tmp_path / "killed").iterdir() if path.is_dir())
    abandoned = [file for file in path.glob("trajectories/*/*/0.jsonl") if b"ended_by" not in file.read_bytes()]
    assert abandoned
    assert resume_run(RunReader.open(path), make).exit_code == 0
    assert stored(path) == stored(whole)
    assert all(file.with_name("0.1.jsonl").is_file() for file in abandoned)


@pytest.mark.slow
def test_the_demo_model_hits_boards_by_looking_at_them(tmp_path: Path) -> None:
    result = kvl_eval.evaluate(model="kimi-vl-nano", tasks=["desktop-mini"], output_dir=str(tmp_path))
    (row,) = result.results["rows"]
    assert row["n_ok"] == 15 and row["score"] > 0
    records = RunFolder.open(result.path).records("desktop-mini")
    hits = {record.sample_id: record.answer.startswith("1.0 ") for record in records}
    assert sum(hits[f"board-{number}"] for number in range(1, 7)) >= 2


def test_merged_shards_have_the_journals_and_screens_of_both(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").folder.path
    shards = [run(tmp_path / "shards", shard=(number, 2)).folder.path for number in (1, 2)]
    outcome, _ = merge(shards, tmp_path / "merged")
    assert outcome.exit_code == 0
    assert stored(outcome.folder.path) == stored(whole)
