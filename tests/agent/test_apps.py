"""Tasks in real applications: their evaluators, and, in the sandbox, what solves them and what misses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.agent.desk import EvaluatorFailed
from kvl_eval.agent.evaluators import evaluate
from kvl_eval.agent.guest import GuestOutput
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import UsageError
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.scorers.desktop_metrics import FUNCTIONS, sheet
from kvl_eval.tasks.desktop_apps import BUNDLED, TASK
from tests.refusals import refused

SALES = str(json.loads((BUNDLED / "test.jsonl").read_text().splitlines()[-1])["config"][0]["parameters"]["text"])
VECTORS: list[tuple[str, str, dict[str, Any], float]] = [
    ("exact_match", "true\n", {"expected": "true\n"}, 1),
    ("exact_match", "true", {"expected": "true\n"}, 0),
    ("check_include_exclude", "a b", {"include": ["a", "b"]}, 1),
    ("check_include_exclude", "a b", {"include": ["a", "c"]}, 0),
    ("check_include_exclude", "a b", {"include": ["a"], "exclude": ["b"]}, 0),
    ("check_include_exclude", "", {"exclude": ["b"]}, 1),
    ("file_contains", "one\ntwo\n", {"expected": ["two", "one"]}, 1),
    ("file_contains", "one\n", {"expected": ["one", "two"]}, 0),
    ("file_contains", "one\r\ntwo\r", {"expected": ["one\ntwo\n"]}, 1),
    ("file_contains", "one\r\n", {"expected": ["\r"]}, 0),
    ("compare_table", SALES, {"cells": {"A1": "Fruit", "B4": "30", "C9": ""}}, 1),
    ("compare_table", SALES, {"cells": {"B4": "31"}}, 0),
]


class StubGuest:
    """A desktop with one file, on which every command prints its own words."""

    def run(self, command: list[str]) -> GuestOutput:
        return GuestOutput(0, " ".join(command))

    def file(self, name: str) -> bytes | None:
        return b"bread" if name == "list.txt" else None


def judged(func: str, result: object, rules: object) -> float:
    evaluator: Any = {"func": func, "result": result, "expected": {"type": "rule", "rules": rules}}
    return evaluate(StubGuest(), evaluator).value  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "found", "rules", "value"), VECTORS)
def test_evaluators_give_their_values(name: str, found: str, rules: dict[str, Any], value: float) -> None:
    assert FUNCTIONS[name](found, rules) == value


def test_results_come_from_commands_and_files() -> None:
    assert judged("exact_match", {"type": "vm_command_line", "command": ["ls", "x"]}, {"expected": "ls x"}) == 1
    assert judged("file_contains", {"type": "vm_file", "path": "list.txt"}, {"expected": ["bread"]}) == 1
    assert judged("file_contains", {"type": "vm_file", "path": "gone.txt"}, {"expected": []}) == 0


@pytest.mark.parametrize(
    ("func", "result", "rules"),
    [
        ("no_such", {"type": "vm_file", "path": "list.txt"}, {}),
        ("exact_match", {"type": "no_such"}, {"expected": ""}),
        ("exact_match", {"type": "vm_file", "path": "list.txt"}, {}),
        ("file_contains", {"type": "vm_file", "path": "list.txt"}, {}),
        ("compare_table", {"type": "vm_file", "path": "list.txt"}, {"cells": {}}),
        ("exact_match", {"type": "vm_file", "path": "list.txt"}, None),
    ],
)
def test_A2_an_evaluator_that_cannot_judge_is_an_error_and_no_zero(func: str, result: object, rules: object) -> None:
    with pytest.raises(EvaluatorFailed):
        judged(func, result, rules)


def test_repeated_cells_and_rows_of_a_sheet_are_counted() -> None:
    cell = '<table:table-cell table:number-columns-repeated="2"><text:p>x</text:p></table:table-cell>'
    gap = '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    head, tail = SALES.split("<table:table-row>", 1)[0], SALES.rsplit("</table:table-row>", 1)[1]
    assert sheet(f"{head}<table:table-row>{cell}</table:table-row>{gap}{tail}") == {"A1": "x", "B1": "x"}


def test_a_drawn_desktop_cannot_play_applications(tmp_path: Path) -> None:
    with refused(UsageError, "usage.provider"):
        resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path), "provider": "drawn"})


def test_an_agent_that_nobody_knows_is_refused_as_an_agent(tmp_path: Path) -> None:
    with refused(UsageError, "usage.agent"):
        resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path), "prompt": "kimmi"})


@pytest.mark.desktop
@pytest.mark.parametrize(("agent", "value"), [("oracle", "1.0"), ("wrong", "0.0")])
def test_scripts_solve_and_miss_every_task(tmp_path: Path, agent: str, value: str) -> None:
    config = resolve("fake", "fake", [TASK], {"output_dir": str(tmp_path), "prompt": agent, "desktops": 1})
    backend = FakeBackend(config.settings)
    outcome = start_run(plan_run(config, backend), backend)
    answers = {
        record.sample_id: record.answer.partition(" ")[0] or f"{record.reason}: {record.message}"
        for record in outcome.folder.records("desktop-apps")
    }
    assert answers == dict.fromkeys(answers, value) and len(answers) == 9
