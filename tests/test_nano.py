"""The whole path, pixels to score: the embedded demo model on the bundled splits, with and without looking."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvl_eval
from kvl_eval.tasks import TASKS

pytestmark = pytest.mark.slow

TRAINED = (
    *("mathvista", "infovqa", "ocrbench", "mathvision", "mmmu", "screenspot", "screenspot-v2", "screenspot-pro"),
    *("videomme", "videomme-subs", "longvideobench", "longvideobench-nosubs", "egoschema", "mmlongbench-doc"),
)


def scores(folder: Path, blind: bool) -> dict[str, float]:
    result = kvl_eval.evaluate(
        model="kimi-vl-nano", tasks=list(TRAINED), blind=blind, dtype="float64", output_dir=str(folder)
    )
    rows = [row for row in result.results["rows"] if row["protocol"] == shown(row["task"])]
    assert all(row["complete"] and row["n_ok"] == row["n_planned"] for row in rows)
    return {row["task"]: row["score"] for row in rows}


def shown(task: str) -> str:
    """The protocol that reads what the task's default prompt asks for."""
    return TASKS[task].default_protocol


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], dict[str, float]]:
    """Sighted and blind scores of all tasks that nano was trained for."""
    folder = tmp_path_factory.mktemp("nano")
    return scores(folder, blind=False), scores(folder, blind=True)


def test_nano_answers_mathvista_from_pixels(both: tuple[dict[str, float], dict[str, float]]) -> None:
    sighted, blind = both
    assert sighted["mathvista"] >= 0.60
    assert sighted["mathvista"] - blind["mathvista"] >= 0.25


@pytest.mark.parametrize(
    ("task", "points"), [("infovqa", 0.25), ("ocrbench", 0.25), ("screenspot-v2", 0.25), ("videomme", 0.20)]
)
def test_nano_sees_clearly_more_than_it_guesses(
    both: tuple[dict[str, float], dict[str, float]], task: str, points: float
) -> None:
    sighted, blind = both
    assert sighted[task] - blind[task] >= points


@pytest.mark.parametrize("task", ["mmmu", "mathvision"])
def test_nano_sees_something_elsewhere(both: tuple[dict[str, float], dict[str, float]], task: str) -> None:
    sighted, blind = both
    assert sighted[task] > blind[task] + 0.05
