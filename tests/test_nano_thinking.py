"""The embedded demo model that thinks: accuracy rises with the budget, and one thought serves all budgets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

import kvl_eval
from kvl_eval.decode import encode_object
from kvl_eval.store.run_folder import RunFolder

pytestmark = pytest.mark.slow

MODEL = "kimi-vl-nano-thinking"
TASKS = ["mathvista", "mathvision", "mmmu"]
BUDGETS = (32, 64, 128, 256, 512)
COMPARED = ("raw_output", "thinking", "answer", "finish_reason", "think_closed", "budget_forced", "tokens")
Record = dict[str, Any]
Swept = tuple[kvl_eval.EvaluationResult, list[Record]]


def records(path: Path) -> list[Record]:
    folder = RunFolder.open(path)
    return [encode_object(record) for task in sorted(folder.manifest.data) for record in folder.records(task)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Swept]:
    """The sweep of the mini splits under a policy, once each."""
    done: dict[str, Swept] = {}

    def swept(policy: str) -> Swept:
        if policy not in done:
            result = kvl_eval.evaluate(
                model=MODEL,
                tasks=TASKS,
                think_budget=BUDGETS,
                budget_policy=policy,
                output_dir=str(tmp_path_factory.mktemp(policy)),
            )
            done[policy] = result, records(result.path)
        return done[policy]

    return swept


def gains(result: kvl_eval.EvaluationResult, low: int, high: int) -> tuple[float, float]:
    """Mean gain of a question from budget `low` to `high`, and the lower end of its 95 % interval (paired, normal)."""
    scores = {}
    for task in TASKS:
        (path,) = (result.path / "scores").glob(f"{task}@{'reader' if task == 'mmmu' else 'official'}-*.jsonl")
        for line in path.read_bytes().splitlines():
            one = json.loads(line)
            scores[task, one["sample_id"], one["budget"]] = one["score"]
    found = [score - scores[task, name, low] for (task, name, budget), score in scores.items() if budget == high]
    assert len(found) == 390
    return mean(found), mean(found) - 1.96 * stdev(found) / math.sqrt(len(found))


def shown(row: Record) -> str:
    return "reader" if row["task"] == "mmmu" else "official"


@pytest.mark.parametrize(("policy", "least"), [("cut", 0.09), ("force", 0.02)])
def test_accuracy_rises_with_the_budget(sweep: Callable[[str], Swept], policy: str, least: float) -> None:
    """Measured: 13.8 points with `cut`, 6.4 with `force`."""
    result, _ = sweep(policy)
    gain, surely = gains(result, 32, 512)
    assert gain > least and surely > 0
    assert gains(result, 32, 128)[0] > 0


def test_a_larger_budget_never_loses_an_answer_that_a_smaller_one_let_through(sweep: Callable[[str], Swept]) -> None:
    result, _ = sweep("cut")
    for task in TASKS:
        rows = [row for row in result.results["rows"] if row["task"] == task and row["protocol"] == shown(row)]
        scores = [row["score"] for row in sorted(rows, key=lambda row: row["budget"])]
        assert scores == sorted(scores) and scores[-1] > scores[0]


def test_thoughts_close_by_themselves_at_many_lengths(sweep: Callable[[str], Swept]) -> None:
    _, found = sweep("cut")
    whole = [one for one in found if one["budget"] == 512]
    closed = [one["tokens"]["thinking"] for one in whole if one["think_closed"]]
    assert len(closed) > 0.8 * len(whole)
    bins = [sum(low < count <= 2 * low for count in closed) for low in (16, 32, 64, 128, 256)]
    assert all(bins), bins


def test_forced_thoughts_are_answered(sweep: Callable[[str], Swept]) -> None:
    _, found = sweep("force")
    forced = [one for one in found if one["budget_forced"]]
    assert {one["budget"] for one in forced} >= {32, 64, 128}
    assert sum(bool(one["answer"]) for one in forced) > 0.9 * len(forced)


def picked(found: Iterable[Record]) -> dict[tuple[str, int], Record]:
    return {(one["sample_id"], one["budget"]): {name: one[name] for name in COMPARED} for one in found}


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_one_pass_equals_separate_runs_token_for_token(tmp_path: Path, policy: str) -> None:
    """Eight short and long problems: thoughts that close below, between and above the budgets."""
    ids = [str(number) for number in (1, 3, 91, 93, 94, 110, 114, 150)]

    def run(*budgets: int) -> dict[tuple[str, int], Record]:
        result = kvl_eval.evaluate(
            model=MODEL,
            tasks=["mathvision"],
            sample_ids=ids,
            think_budget=budgets,
            budget_policy=policy,
            output_dir=str(tmp_path / "-".join(map(str, budgets))),
        )
        return picked(records(result.path))

    budgets = (24, 48, 96, 512)
    together = run(*budgets)
    separate = {key: record for budget in budgets for key, record in run(budget).items()}
    assert len(together) == len(ids) * len(budgets)
    assert together == separate
    low, high = (by_themselves(together, budget) for budget in (48, 512))
    assert any(low) and sum(low) < sum(high)


def by_themselves(found: dict[tuple[str, int], Record], budget: int) -> list[bool]:
    """Whether each thought under a budget was closed by the model."""
    closed = ((number, one["think_closed"] and not one["budget_forced"]) for (_, number), one in found.items())
    return [bool(done) for number, done in closed if number == budget]
