"""The exports in the tools they are made for: inspect_ai and lm-evaluation-harness read them whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.exports import export_run
from kvl_eval.reports.runs import is_default_protocol
from kvl_eval.store.run_folder import RunFolder
from tests.exports.conftest import HOSTILE

pytestmark = pytest.mark.interop
READER = Path(__file__).with_name("genuine.py")
PYTHON = os.environ.get("KVL_EVAL_INTEROP", sys.executable)  # one that has the extra `interop`


def read(kind: str, folder: Path, home: Path) -> Any:
    """What the genuine package makes of the files in `folder`."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HF_DATASETS_CACHE": str(home / "datasets")}
    done = subprocess.run(
        [PYTHON, str(READER), kind, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, **offline, "HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def official(folder: RunFolder) -> dict[int | None, dict[str, Any]]:
    return {row.budget: row for row in folder.results().rows if row.protocol == "official"}


def test_inspect_ai_reads_a_sweep(sweep: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(sweep)
    export_run(folder, "inspect", tmp_path / "logs")
    logs = read("inspect", tmp_path / "logs", tmp_path)
    assert sorted(log["task"] for log in logs) == ["mathvista-mini-1024-cut", "mathvista-mini-16-cut"]
    for log in logs:
        budget = int(log["task"].split("-")[2])
        row = official(folder)[budget]
        assert log["listed"] == log["task"]
        assert log["status"] == "success"
        assert log["total"] == 12
        assert log["scores"]["official"] == pytest.approx(row.score)
        assert {"official", "vlmevalkit"} <= log["scores"].keys()
        assert len(log["samples"]) == log["summaries"] == 12
        assert sum(sample["error"] is not None for sample in log["samples"]) == row.n_failed > 0
        values = [sample["values"]["official"] for sample in log["samples"] if not sample["error"]]
        assert sum(values) / len(values) == pytest.approx(row.score)
        assert sorted({sample["epoch"] for sample in log["samples"]}) == [1, 2]
        assert any(sample["reasoning"] for sample in log["samples"])


def test_inspect_ai_reads_hostile_answers_of_an_unfinished_run(hostile: Path, tmp_path: Path) -> None:
    export_run(RunFolder.open(hostile), "inspect", tmp_path / "logs")
    logs = {log["task"]: log for log in read("inspect", tmp_path / "logs", tmp_path)}
    assert {name: (log["status"], len(log["samples"]), log["total"]) for name, log in logs.items()} == {
        "infovqa-mini": ("cancelled", 5, 8),
        "screenspot-mini": ("success", 8, 8),
    }
    answers = {sample["answer"] for log in logs.values() for sample in log["samples"]}
    assert answers == {HOSTILE}
    assert {sample["id"] for sample in logs["screenspot-mini"]["samples"]} == {
        entry.sample_id for entry in RunFolder.open(hostile).plan("screenspot")
    }


@pytest.mark.parametrize("run", ["sweep", "hostile"])
def test_lm_evaluation_harness_reads_results_and_samples(
    run: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = RunFolder.open(request.getfixturevalue(run))
    export_run(folder, "lm-eval", tmp_path / "out")
    found = read("lm-eval", tmp_path / "out", tmp_path)
    rows = [row for row in folder.results().rows if is_default_protocol(row)]
    assert found["samples"].keys() == found["results"].keys()
    assert len(found["results"]) == len(rows)
    for row in rows:
        budget = "" if row.budget is None else f"-{row.budget}-{row.policy}"
        name = f"{row.task}-{row.split}{budget}"
        assert found["results"][name][f"score,{row.protocol}"] == pytest.approx(row.score)
        assert name in found["table"]
        values = [line["score"] for line in found["samples"][name]]
        assert sum(values) / len(values) == pytest.approx(row.score)
        answers = sum(len(line["resps"][0]) for line in found["samples"][name])
        assert answers == row.n_ok


def test_inspect_ai_and_lm_eval_read_a_judges_scores(judged: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(judged)
    rows = {row.judge: row for row in folder.results().rows if row.task == "mathvista"}
    export_run(folder, "inspect", tmp_path / "logs")
    log = next(log for log in read("inspect", tmp_path / "logs", tmp_path) if log["task"].startswith("mathvista"))
    assert log["scores"]["official+umpire"] == pytest.approx(rows["umpire"].score)
    assert log["scores"]["official"] == pytest.approx(rows[None].score)
    export_run(folder, "lm-eval", tmp_path / "lm", "official+umpire")
    found = read("lm-eval", tmp_path / "lm", tmp_path)
    assert found["results"]["mathvista-mini"]["score,official+umpire"] == pytest.approx(rows["umpire"].score)
