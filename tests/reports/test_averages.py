"""MMMU-Pro's figure is the mean of its two sets: one cell, and no comparison of either set alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.references import MEAN_NOTE
from kvl_eval.reports.leaderboard import published_table
from kvl_eval.reports.runs import open_runs
from kvl_eval.store.result_records import ResultRow
from tests.reports.report_folders import make_run
from tests.reports.report_rows import make_row


def half(task: str, score: float, note: str | None = None, **changes: Any) -> ResultRow:
    note = note or f"{MEAN_NOTE}mmmu-pro and mmmu-pro-vision"
    return make_row(
        task=task,
        split="test",
        score=score,
        protocol="reader",
        ci95=[score - 0.03, score + 0.03],
        reference={"value": 0.687, "delta": None, "inside_ci": None, "note": note},
        **changes,
    )


def our_cell(folder: Path, rows: list[ResultRow]) -> Any:
    runs = open_runs([make_run(folder, rows=rows)])
    (row,) = [row for row in published_table("2506", runs).rows if row.label == "MMMU-Pro"]
    return row.ours[0]


def test_the_mean_of_both_sets_is_compared(tmp_path: Path) -> None:
    cell = our_cell(tmp_path, [half("mmmu-pro", 0.40), half("mmmu-pro-vision", 0.34)])
    assert cell.row.score == pytest.approx(0.37)
    assert cell.row.ci95 == pytest.approx([0.37 - 0.03 / 2**0.5, 0.37 + 0.03 / 2**0.5])
    assert cell.row.n_scored == 2000
    assert cell.marks == () and cell.rank is not None
    assert cell.row.reference.delta == pytest.approx(0.37 - cell.row.reference.value)


def test_one_set_alone_is_not(tmp_path: Path) -> None:
    cell = our_cell(tmp_path, [half("mmmu-pro", 0.40)])
    assert cell.marks == ("the published result is the mean of mmmu-pro and mmmu-pro-vision",)
    assert (cell.rank, cell.row.score) == (None, 0.40)


def test_what_forbids_one_set_forbids_the_mean(tmp_path: Path) -> None:
    cell = our_cell(tmp_path, [half("mmmu-pro", 0.40), half("mmmu-pro-vision", 0.34, partial="limit 5 of 1730")])
    assert cell.marks == ("partial, limit 5 of 1730",) and cell.rank is None
    cell = our_cell(tmp_path / "other", [half("mmmu-pro", 0.40, "scripted answers"), half("mmmu-pro-vision", 0.34)])
    assert cell.marks == ("scripted answers",) and cell.row.reference.delta is None


def test_half_a_score_is_none(tmp_path: Path) -> None:
    cell = our_cell(tmp_path, [half("mmmu-pro", 0.40), replace(half("mmmu-pro-vision", 0.34), score=None)])
    assert cell.row.score is None and cell.rank is None
