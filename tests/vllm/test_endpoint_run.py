"""`--model endpoint` over genuine vLLM: whole runs on the mini splits give what the bundled engine gives.

Answers are compared where the model is sure of every token: another order of sums may turn a near-tie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from tests.vllm.conftest import Server
from tests.vllm.margins import Margins

pytestmark = pytest.mark.vllm
TASKS = ["mathvista", "screenspot-v2"]
LIMIT = 16


def run(folder: Path, model: str, **options: Any) -> kvl_eval.EvaluationResult:
    found = kvl_eval.evaluate(model, TASKS, limit=LIMIT, split="mini", max_new_tokens=64, output_dir=folder, **options)
    assert found.exit_code == 0, found.message
    return found


def answers(result: kvl_eval.EvaluationResult) -> dict[tuple[str, str], str]:
    return {(task, record.sample_id): record.answer for task in TASKS for record in result.folder.records(task)}


def test_runs_through_vllm_answer_sample_by_sample_as_the_bundled_engine(server: Server, tmp_path: Path) -> None:
    bundled = run(tmp_path / "bundled", "kimi-vl-nano")
    served = run(tmp_path / "served", "endpoint", base_url=server.url, served_model="nano")
    margins = Margins("kimi-vl-nano")
    records = [(task, record) for task in TASKS for record in bundled.folder.records(task)]
    sure = {(task, record.sample_id) for task, record in records if margins.sure(task, record)}
    ours, theirs = answers(bundled), answers(served)
    assert len(sure) > len(ours) * 3 / 4 and len(ours) == LIMIT * len(TASKS)
    assert {key: theirs[key] for key in sure} == {key: ours[key] for key in sure}
    if ours == theirs:
        scores = [[row["score"] for row in result.results["rows"]] for result in (bundled, served)]
        assert scores[0] == scores[1]
    tokens = [
        {record.sample_id: record.tokens.prompt for record in result.folder.records("mathvista")}
        for result in (bundled, served)
    ]
    assert tokens[0] == tokens[1]
