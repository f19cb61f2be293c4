"""Cases met in the field, scored as `kvl-eval score --predictions` scores them: `golden/answers/cases.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import KvlEvalError
from kvl_eval.scoring.predictions import score_predictions
from kvl_eval.tasks import get_task
from kvl_eval.tasks.base import Task
from tests.golden import rows

VERDICTS = ("correct", "wrong", "no_answer", "not_scored", "partial")


def cases(shared: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, case in enumerate(rows(shared / "answers" / "cases.jsonl")):
        if case.get("response") is not None and case["expected"]["verdict"] in (*VERDICTS, "refused"):
            yield case.get("id", f"case-p-{index:03d}"), case


def task_of(case: dict[str, Any], folder: Path) -> Task:
    if not case["task"].startswith("file:"):
        return get_task(case["task"])
    path = folder / "own.jsonl"
    path.write_text(json.dumps(case["row"]) + "\n", encoding="utf-8")
    return get_task(f"file:{path}")


def numbers(value: Any) -> Any:
    """`{"nan": true}` as NaN, wherever it stands."""
    if isinstance(value, dict):
        return float("nan") if value == {"nan": True} else {name: numbers(item) for name, item in value.items()}
    return [numbers(item) for item in value] if isinstance(value, list) else value


def fault(case: dict[str, Any], folder: Path) -> str | None:
    """What is not as expected; None where all is."""
    expected = case["expected"]
    line = {"row": numbers(case["row"]), "response": case["response"]}
    try:
        found = score_predictions(task_of(case, folder), [("case", line)], protocol=case["protocol"]).first.rows[0]
    except KvlEvalError as error:
        return None if expected["verdict"] == "refused" else f"refused: {error}"
    if found["verdict"] != expected["verdict"]:
        return f"{found['verdict']} for {expected['verdict']}, read {found['extracted']!r}"
    has_value = expected["verdict"] in ("no_answer", "not_scored") and found["extracted"] is not None
    return f"read {found['extracted']!r}" if has_value else None


@pytest.mark.shared
def test_every_case_is_scored_as_expected(shared: Path, tmp_path: Path) -> None:
    faults = {name: found for name, case in cases(shared) if (found := fault(case, tmp_path))}
    assert faults == {}
