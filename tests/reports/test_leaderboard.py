"""Published tables with our columns: which result goes where, which get a rank, what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval import references
from kvl_eval.errors import UsageError
from kvl_eval.reports.leaderboard import benchmark_groups, leaderboard, our_text, printed_table, published_table
from kvl_eval.reports.runs import open_runs
from tests.refusals import refused
from tests.reports.report_folders import make_run
from tests.reports.report_rows import make_row


def cell(text: str, row: str, column: int) -> str:
    """One cell of a printed table: columns are two spaces or more apart."""
    lines = text.splitlines()
    starts = [0] + [i for i in range(2, len(lines[2])) if lines[2][i - 2 : i] == "  " and lines[2][i] != " "]
    line = next(line for line in lines if line.startswith(row))
    ends = [*starts[1:], None]
    return line[starts[column] : ends[column]].strip()


def test_table3_without_runs_is_the_published_table_with_an_empty_column() -> None:
    text = printed_table("table3", [])
    assert cell(text, "benchmark", 8) == "ours"
    assert cell(text, "MathVista", 1) == "63.8"
    assert cell(text, "BLINK", 6) == "", "printed as a dash, so no figure"
    assert cell(text, "OCRBench", 7).startswith("867")
    assert cell(text, "MathVista", 8) == ""
    assert text.count("\n") > 25


def test_the_printed_table_4_keeps_its_slip_and_says_so() -> None:
    text = printed_table("thinking", [])
    assert cell(text, "MMMU", 3).startswith("74.8 [")
    assert "Qwen2.5-VL-72B, MMMU: 74.8 shown; elsewhere 70.2" in text
    assert "GPT-4o    GPT-4o-mini" in text, "columns in printed order"


def test_a_whole_run_fills_its_row_only(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path, rows=[make_row()])])
    text = printed_table("table3", runs)
    assert cell(text, "benchmark", 8) == "ours: kimi-vl-instruct"
    assert cell(text, "MathVista", 8) == "67.9 [64.9, 70.7] -0.8 ≈"
    assert cell(text, "MathVision", 8) == ""


def test_rank_counts_published_systems_that_are_better(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path, rows=[make_row()])])
    row = next(row for row in published_table("table3", runs).rows if row.label == "MathVista")
    assert row.ours[0] is not None
    assert row.ours[0].rank == 3, "after 68.7 and 68.2"


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        pytest.param({"partial": "limit 20 of 1000"}, "partial, limit 20 of 1000", id="partial"),
        pytest.param({"complete": False, "n_scored": 990}, "incomplete, 990/1000 scored", id="incomplete"),
        pytest.param({"protocol": "vlmevalkit", "label": "vlmevalkit"}, "other protocol: vlmevalkit", id="protocol"),
    ],
)
def test_marked_results_have_no_rank(tmp_path: Path, changes: dict[str, object], mark: str) -> None:
    runs = open_runs([make_run(tmp_path, rows=[make_row(**changes)])])
    row = next(row for row in leaderboard(runs).rows if row.label == "MathVista")
    assert row.ours[0] is not None
    assert row.ours[0].marks == (mark,)
    assert row.ours[0].rank is None


@pytest.mark.parametrize("changes", [{"split": "test"}, {"budget": 4096}, {"task": "unknown-task"}])
def test_other_splits_budgets_and_tasks_do_not_enter(tmp_path: Path, changes: dict[str, object]) -> None:
    runs = open_runs([make_run(tmp_path, rows=[make_row(**changes)])])
    assert all(row.ours == (None,) for row in published_table("table3", runs).rows)


def test_budgets_enter_figure_13_at_their_own_point(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path, rows=[make_row(budget=4096, policy="cut", reference=None)])])
    filled = [row.label for row in published_table("budget", runs).rows if row.ours[0]]
    assert filled == ["MathVista, 4k"]


def test_demo_runs_stay_out_unless_asked_for_and_are_marked_then(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path, demo=True, rows=[make_row(split="mini", reference=None)])])
    text = printed_table("table3", runs)
    assert "run-a: demo model, not Kimi-VL-A3B; left out" in text
    assert cell(text, "MathVista", 8) == ""
    row = next(row for row in published_table("table3", runs, include_demo=True).rows if row.label == "MathVista")
    assert row.ours[0] is not None
    assert row.ours[0].marks == ("demo model, not Kimi-VL-A3B",)
    assert row.ours[0].rank is None


def test_the_blind_score_stands_beside_the_sighted_one(tmp_path: Path) -> None:
    sighted = make_run(tmp_path, rows=[make_row()])
    blind = make_run(tmp_path, name="run-blind", rows=[make_row(score=0.31, blind=True, reference=None)])
    table = leaderboard(open_runs([sighted, blind]))
    row = next(row for row in table.rows if row.label == "MathVista")
    assert len(row.ours) == 1, "a blind run has no column of its own"
    assert row.ours[0] is not None
    assert row.ours[0].blind == 0.31


def test_leaderboard_shows_default_figures_with_source_and_notes() -> None:
    table = leaderboard([])
    row = next(row for row in table.rows if row.label == "MathVista")
    cells = dict(zip(table.systems, row.published, strict=True))
    mini = cells["GPT-4o-mini"]
    assert mini is not None
    assert mini.score.printed == "52.5"
    assert table.sources[mini.source] == "Kimi-VL-A3B-Instruct model card (report, Table 3)"
    assert "56.7 (report, Table 4" in table.notes[mini.note - 1]
    assert [row.group for row in table.rows if row.label == "MMMU-Pro"] == ["College-level"]


def test_unknown_table() -> None:
    with refused(UsageError, "usage.table", "tabel3"):
        printed_table("tabel3", [])


def test_every_figure_of_the_leaderboards_systems_is_shown_or_said_to_be_missing() -> None:
    board = leaderboard([])
    shown = {one.score.benchmark_label for row in board.rows for one in row.published if one is not None}
    said = {line.partition(":")[0] for line in board.left_out}
    own_table = {"Needle-in-a-Haystack, text", "Needle-in-a-Haystack, video"}
    published = {one.benchmark_label for one in references.load() if one.is_default}
    assert published <= shown | said | own_table
    assert shown & said == {"OSWorld", "WindowsAgentArena"}


def test_rows_stand_under_the_heading_their_task_names() -> None:
    groups = benchmark_groups(references.load())
    assert (groups["mathvista"], groups["mmmu_pro"], groups["osworld"], groups["niah_text"]) == (
        "Math",
        "College-level",
        "Agent grounding",
        "",
    )
    headings = [row.group for row in leaderboard([]).rows]
    assert headings == sorted(headings, key=headings.index), "each heading once"


def test_a_benchmark_that_nothing_knows_has_a_row_under_other() -> None:
    stranger = replace(references.load()[0], benchmark="stranger")
    assert benchmark_groups([*references.load(), stranger])["stranger"] == "Other"


MMMU = {"task": "mmmu", "title": "MMMU", "split": "validation", "n_planned": 900, "n_ok": 900, "n_scored": 900}
READER = {"protocol": "reader", "label": "reader", "score": 0.57, "ci95": [0.54, 0.6]}
OFFICIAL = {"protocol": "official", "label": "official", "score": 0.35, "ci95": [0.32, 0.38], "reference": None}


def test_what_a_task_shows_beside_its_score_stands_in_the_cell(tmp_path: Path) -> None:
    reference = {"value": 0.57, "delta": 0.0, "inside_ci": True}
    rows = [make_row(**MMMU, **READER, reference=reference), make_row(**MMMU, **OFFICIAL)]
    rows.append(make_row(**MMMU, **{**OFFICIAL, "protocol": "vlmevalkit", "label": "vlmevalkit-rule"}))
    runs = open_runs([make_run(tmp_path, task="mmmu", rows=rows)])
    row = next(row for row in published_table("table3", runs).rows if row.label == "MMMU")
    assert our_text(row.ours[0]) == "57.0 [54.0, 60.0] +0.0 ≈ (reader; official 35.0 [32.0, 38.0])"
    assert row.ours[0] is not None and row.ours[0].rank is not None, "what stands beside takes no rank"


def test_a_mean_of_tasks_has_the_mean_of_what_stands_beside_each(tmp_path: Path) -> None:
    parts = [("mmmu-pro", 0.4, 0.2), ("mmmu-pro-vision", 0.3, 0.1)]
    rows = []
    for task, reader, official in parts:
        place = {"task": task, "title": task, "split": "test", "reference": None}
        rows.append(make_row(**{**READER, **place, "score": reader}))
        rows.append(make_row(**{**OFFICIAL, **place, "score": official}))
    runs = open_runs([make_run(tmp_path, task="mmmu-pro", rows=rows)])
    row = next(row for row in leaderboard(runs).rows if row.label == "MMMU-Pro")
    assert row.ours[0] is not None
    assert row.ours[0].row.score == pytest.approx(0.35)
    assert [(other.label, other.score) for other in row.ours[0].beside] == [("official", pytest.approx(0.15))]
