"""The front page: sentences, warnings, leaderboard, strips, what is kept apart. Checks F2 to F4, F6 to F8, F10, F11."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from kvl_eval.cli.report import prices_of
from kvl_eval.errors import UsageError
from kvl_eval.reports.columns import BOARDS, COLUMNS, RESULTS, Column, ModelResults, board_columns, quantity
from kvl_eval.reports.costs import Prices, tokens_of
from kvl_eval.reports.pages.apart import cards_of
from kvl_eval.reports.pages.board import Board, OurScore, board_of
from kvl_eval.reports.pages.markdown import markdown_page
from kvl_eval.reports.pages.score_book import ScoreBook
from kvl_eval.reports.pages.series import series_of
from kvl_eval.reports.pages.warning_table import KINDS, named_warnings, warning_table
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.table import final_table
from kvl_eval.reports.warnings import CODES, warnings_of
from kvl_eval.results.html import table_html
from kvl_eval.store.run_folder import RunFolder
from tests.reports.page_reports import (
    RIGHT,
    SCORES,
    WRONG,
    PageText,
    board_run,
    context,
    section,
    task_row,
    three_runs,
    write,
)
from tests.reports.report_folders import make_run


def board(*folders: Path) -> Board:
    return board_of(series_of(open_runs(folders)), ScoreBook())


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> PageText:
    folder = tmp_path_factory.mktemp("front")
    return PageText(write(folder / "out", *three_runs(folder)) / "index.html")


def test_report_f2_no_run_id_comes_before_the_leaderboard(front: PageText) -> None:
    before = front.source.partition('id="board"')[0]
    assert not re.search(r"\d{8}-\d{6}_", before)


def test_report_f3_a_head_for_each_task_that_was_run(front: PageText) -> None:
    heads = section(front.source, '<table class="board sortable" id="board">', "</thead>")
    assert len(re.findall("<th ", heads)) == len(SCORES) + 1 + 1  # no row says how long it took


def test_report_f4_one_best_cell_in_each_group_and_column(front: PageText) -> None:
    table = section(front.source, '<table class="board sortable" id="board">', "</table>")
    for group in re.findall("<tbody.*?</tbody>", table, re.DOTALL):
        rows = [re.findall("<td[^>]*>", row) for row in re.findall("<tr(?! class=.group).*?</tr>", group, re.DOTALL)]
        for column in range(len(SCORES)):
            cells = [row[column] for row in rows]
            assert sum(" best" in cell for cell in cells) == 1, (column, cells)


def test_report_f6_every_interval_contains_its_score(tmp_path: Path) -> None:
    for line in board(*three_runs(tmp_path)).ours:
        for cell in filter(None, line.cells):
            low, high = map(float, re.findall(r"[\d.]+", cell.interval))
            assert low <= cell.value <= high


def test_report_f7_blind_swept_and_partial_results_have_a_card_and_no_row(tmp_path: Path) -> None:
    sweep = [task_row("mathvista", score, budget=budget, policy="cut") for budget, score in ((1024, 0.5), (4096, 0.6))]
    runs = [
        board_run(tmp_path, "run-a", "m", {"mathvista": 0.68}),
        board_run(tmp_path, "run-b", "m", {}, more=[task_row("mathvista", 0.341, blind=True)], blind=True),
        board_run(tmp_path, "run-c", "p", {}, more=[task_row("mathvision", 0.287, n=300, partial="300 samples")]),
        board_run(tmp_path, "run-d", "t", {}, more=sweep),
    ]
    report = context(*runs)
    assert [line.series.name for line in report.board.ours] == ["m", "t"]
    assert [cell.text for cell in report.board.ours[1].cells if cell is not None] == ["60.0"]
    page = PageText(write(tmp_path / "out", *runs) / "index.html")
    cards = section(page.source, '<div class="cards">', "</section>")
    assert re.findall(r"<h3><a [^>]*>(.*?)</a>", cards) == ["Blind runs", "Thinking budgets", "Partial runs"]
    assert "33.9" in cards and "50.0 → 60.0" in cards and "28.7" in cards


def test_a_partial_sweep_is_kept_apart_once(tmp_path: Path) -> None:
    rows = [task_row("mmmu", 0.5, partial="20 samples", budget=budget, policy="cut") for budget in (1024, 4096)]
    report = context(*three_runs(tmp_path), make_run(tmp_path, name="run-p", model="part", rows=rows))
    cards = {card.title: card for card in cards_of(report.series, report.board, report.sweeps, report.book)}
    assert len(cards["Partial runs"].lines) == 1


def test_report_f8_a_score_leads_to_its_samples(tmp_path: Path) -> None:
    for line in board(*three_runs(tmp_path)).ours:
        for cell in filter(None, line.cells):
            filters = parse_qs(cell.href.partition("#")[2])
            assert filters["task"] == [cell.result.row.task]
            assert filters["run"] == [str(line.series.number)]


def test_report_f10_no_cell_is_empty(front: PageText) -> None:
    [table] = [table for table in front.tables if table[0][0] == "model"]
    assert all(cell.strip() for row in table for cell in row)
    assert "·" in table[-1]


def test_report_f11_one_list_of_warnings(tmp_path: Path) -> None:
    """Codes and their order are those of the terminal and of JSON documents."""
    runs = [
        make_run(tmp_path, n=20, failed=2, missing=3, verdicts=("no_answer", "correct")),
        make_run(tmp_path, name="run-b", model="other", demo=True),
    ]
    opened = open_runs(runs)
    codes = [warning.code for warning in warnings_of(opened)]
    assert [warning.code for warning in named_warnings(series_of(opened))] == codes
    shown = [row.code for row in warning_table(series_of(opened)).rows]
    assert shown == sorted(set(codes), key=CODES.index)
    assert set(KINDS) == set(CODES)


def test_warnings_name_models_and_say_what_they_mean(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"2026112{n}-100000_x", n=20, failed=n) for n in (1, 2)]
    table = warning_table(series_of(open_runs(runs)))
    row = next(row for row in table.rows if row.code == "failed")
    assert row.count == 2 and "2026112" not in row.where
    assert table.summary.count("·") == len(table.rows) - 1


def scored_pair(folder: Path, a: tuple[str, ...], b: tuple[str, ...], n: int = 60) -> Board:
    """Two whole results of the same samples, with these verdicts over and over."""
    folder.mkdir()
    sides = {"a": a, "b": b}
    runs = [make_run(folder, name=f"run-{name}", model=name, n=n, verdicts=sides[name]) for name in sides]
    return board(*runs)


def cells(board: Board) -> list[OurScore]:
    return [cell for line in board.ours for cell in line.cells if cell is not None]


def test_a_score_that_is_not_shown_to_differ_from_the_best_is_tied(tmp_path: Path) -> None:
    far = scored_pair(tmp_path / "far", RIGHT, WRONG)
    assert [(cell.best, cell.tied) for cell in cells(far)] == [(True, False), (False, False)]
    near = scored_pair(tmp_path / "near", (*RIGHT * 29, *WRONG), RIGHT)
    assert [(cell.best, cell.tied) for cell in cells(near)] == [(False, True), (True, False)]


def test_an_incomplete_result_takes_no_part_in_what_is_best(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, name="run-a", model="a", n=20, failed=1, verdicts=RIGHT),
        make_run(tmp_path, name="run-b", model="b", n=20, verdicts=("correct", "wrong")),
    ]
    low, high = cells(board(*runs))
    assert (low.ranked, low.best, high.best) == (False, False, True)
    assert "19 of 20" in low.note


def test_published_results_stand_under_our_heads_with_their_sources(tmp_path: Path) -> None:
    table = board(*three_runs(tmp_path))
    kimi = table.published[0]
    assert kimi.label.startswith("Kimi-VL") and kimi.family
    cell = kimi.cells[0]
    assert cell is not None and cell.text == "68.7"
    assert set(table.sources) == {cell.letter for line in table.published for cell in line.cells if cell is not None}


def test_a_split_of_its_own_has_a_column_without_published_results(tmp_path: Path) -> None:
    run = board_run(tmp_path, "run-a", "m", {}, more=[task_row("mathvista", 0.5, split="mini")])
    table = board(run)
    assert [column.label for column in table.columns] == ["MathVista mini"]
    assert table.published == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"seeds": {"seed": 1, "rule": ""}}, {"seeds": {"seed": 2, "rule": ""}}], ["m (seed 1)", "m (seed 2)"]),
        ([{}, {}], ["m (run 1)", "m (run 2)"]),
    ],
)
def test_two_runs_of_one_model_get_the_shortest_setting_that_sets_them_apart(
    tmp_path: Path, changes: list[dict[str, Any]], expected: list[str]
) -> None:
    runs = [make_run(tmp_path, name=f"run-{n}", model="m", **change) for n, change in enumerate(changes)]
    assert [model.name for model in series_of(open_runs(runs))] == expected


def test_a_blind_run_is_named_as_one(tmp_path: Path) -> None:
    rows = [task_row("mathvista", 0.3, blind=True)]
    runs = [make_run(tmp_path, model="m"), make_run(tmp_path, name="run-b", model="m", rows=rows)]
    assert [model.name for model in series_of(open_runs(runs))] == ["m", "m (blind)"]


def test_the_seventh_model_has_no_color_and_every_other_has_its_own(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"run-{n}", model=f"m{n}", n=1) for n in range(7)]
    series = series_of(open_runs(runs))
    assert [model.css for model in series] == [*(f"s{n}" for n in range(1, 7)), "rest"]
    assert len({model.shape for model in series[:6]}) == 6


def test_the_title_counts_models_and_benchmarks(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    assert context(*runs).title == "Three models on four benchmarks"
    assert context(runs[2]).title == "thinker on two benchmarks"
    assert context(*runs, title="My title").title == "My title"


def test_mean_tokens_weigh_tasks_by_their_replies() -> None:
    row = task_row("mathvista", 0.5)
    short = replace(row, n_ok=100, tokens={"answer": replace(row.tokens["answer"], mean=10.0)})
    long = replace(row, n_ok=300, tokens={"answer": replace(row.tokens["answer"], mean=50.0)})
    assert tokens_of([short, long]) == 40.0
    assert [quantity(value) for value in (None, 4850.4, 32.71, 0.042)] == ["·", "4,850", "32.7", "0.042"]


def test_a_new_column_is_one_entry_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the terminal's table, in notebooks, on the page, in Markdown and in JSON."""
    dogs = Column(
        key="dogs",
        title="dogs",
        unit="in all",
        text=lambda row: f"{row.n_ok} dogs",
        total=lambda model: 7.0,
        where=(*RESULTS, *BOARDS),
    )
    monkeypatch.setattr("kvl_eval.reports.columns.COLUMNS", (*COLUMNS, dogs))
    runs = three_runs(tmp_path)
    results = RunFolder.open(runs[0]).results()
    assert final_table(results).splitlines()[0].endswith("dogs") and "1000 dogs" in final_table(results)
    assert ">dogs</th>" in table_html(results.rows) and ">1000 dogs</td>" in table_html(results.rows)
    out = write(tmp_path / "out", *runs)
    assert PageText(out / "index.html").text.count("dogs in all") == 1
    assert json.loads((out / "data" / "board.json").read_text())["ours"][0]["dogs"] == 7.0
    text = markdown_page(context(*runs))
    assert "| dogs in all |" in text and text.count("| 7.0 |") == 3


def test_hours_are_those_of_gpus_only_where_gpus_answered() -> None:
    row = replace(task_row("mathvista", 0.5), seconds=1800.0, devices=2)
    server = replace(row, devices=None)
    models = [
        ModelResults(rows=(row, row), device="cuda"),
        ModelResults(rows=(server,), device="server"),
        ModelResults(rows=(replace(row, seconds=None),), device="cpu"),
    ]
    columns = {column.key: column for column in COLUMNS}
    assert [columns["gpu_hours"].number(model) for model in models] == [2.0, None, None]
    assert [columns["hours"].number(model) for model in models] == [None, 0.5, None]
    assert [column.key for column in board_columns("page", models[:1])] == ["tokens", "gpu_hours"]


def test_prices_add_a_cost_column() -> None:
    base = task_row("mathvista", 0.5)
    tokens = {name: replace(base.tokens["answer"], mean=mean) for name, mean in (("prompt", 800.0), ("answer", 200.0))}
    row = replace(base, n_ok=500, tokens=tokens, seconds=3600.0, devices=2)
    assert Prices(per_hour=2.5).of_thousand([row]) == pytest.approx(10.0)
    assert Prices(per_input=1.0, per_output=5.0).of_thousand([row, row]) == pytest.approx(1.8)
    assert (Prices().of_thousand([row]), Prices().words) == (None, "")
    models = [ModelResults(rows=(row,), device="cuda", prices=prices) for prices in (Prices(), Prices(per_hour=2.5))]
    keys = [[column.key for column in board_columns("page", [model])] for model in models]
    assert keys == [["tokens", "gpu_hours"], ["tokens", "gpu_hours", "cost"]]


def test_half_a_price_is_refused() -> None:
    assert prices_of(None, 1.0, 2.0) == Prices(per_input=1.0, per_output=2.0)
    for prices in ((None, 1.0, None), (None, None, 2.0), (3.0, 1.0, 2.0)):
        with pytest.raises(UsageError):
            prices_of(*prices)


def test_a_last_run_that_shares_no_task_leaves_the_pair_to_the_runs_before_it(tmp_path: Path) -> None:
    tasks = {"a": "mathvista", "b": "mathvista", "c": "mmmu"}
    pair = context(
        *(make_run(tmp_path, name=name, model=name, task=task) for name, task in tasks.items())
    ).evidence.pair
    assert pair is not None and (pair.a, pair.b) == ("a", "b")
