"""The page of thinking budgets. Checks B1 to B4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.paired import paired_test
from kvl_eval.reports.costs import Prices
from kvl_eval.reports.pages.budgets import budget_page
from kvl_eval.reports.pages.context import context_of
from kvl_eval.reports.pages.sweeps import published_curve
from kvl_eval.reports.runs import open_runs
from kvl_eval.scorers.statistics import holm
from tests.reports.page_reports import RIGHT, WRONG, PageText, context, sweep_run, task_row, write
from tests.reports.report_folders import make_run

SHARES = {1024: 12, 2048: 30, 4096: 45, 8192: 46, 16384: 47}  # of 60 samples, right ones


def verdicts(right: int, n: int = 60) -> tuple[str, ...]:
    return (*RIGHT * right, *WRONG * (n - right))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    return sweep_run(folder, "run-a", "thinker", {budget: verdicts(right) for budget, right in SHARES.items()})


def test_report_b1_the_published_curve_is_drawn_whoever_was_swept(sweep: Path) -> None:
    page = budget_page(context(sweep))
    assert page is not None
    [panel] = page.panels
    assert (panel.score.count("dot pub hollow"), panel.score.count("curve pub dashed")) == (5, 4)
    assert "Kimi-VL-A3B-Thinking" in page.published
    assert "pub" not in panel.cost


@pytest.mark.parametrize("task", ["mathvista", "mathvision", "mmmu"])
def test_report_b1_three_tasks_have_a_published_curve_of_five_budgets(task: str) -> None:
    assert [budget for budget, _ in published_curve(task_row(task, 0.5))] == [1024, 2048, 4096, 8192, 16384]


def test_report_b2_every_mark_of_ours_has_a_whisker(sweep: Path) -> None:
    page = budget_page(context(sweep))
    assert page is not None
    for drawing in (page.panels[0].score, page.panels[0].cost):
        assert drawing.count("dot s1") == drawing.count("whisker s1") == len(SHARES)


def test_report_b3_the_budget_named_is_the_smallest_that_no_larger_one_beats(sweep: Path, tmp_path: Path) -> None:
    report = context(sweep)
    [found] = report.sweeps
    lines = [report.book.lines(found.series.run, row) for row in found.rows]
    expected = None
    for place in range(len(lines)):
        tests = [test for larger in lines[place + 1 :] if (test := paired_test(lines[place], larger, frozenset()))]
        corrected = holm([test.p_value for test in tests])
        if not any(test.difference > 0 and p < 0.05 for test, p in zip(tests, corrected, strict=True)):
            expected = sorted(SHARES)[place]
            break
    assert found.pays is not None and found.pays.budget == expected == 4096
    stored = json.loads((write(tmp_path / "out", sweep) / "data" / "sweeps.json").read_text())
    assert stored["sweeps"][0]["pays_up_to"] == expected
    page = budget_page(report)
    assert page is not None
    assert page.sentences[0][2].startswith("Beyond 4k nothing measurable is gained: 4k to 16k brings +3.3 ")


def test_a_sweep_that_gains_at_every_step_still_pays(tmp_path: Path) -> None:
    run = sweep_run(tmp_path, "run-a", "thinker", {1024: verdicts(10), 4096: verdicts(30), 16384: verdicts(50)})
    page = budget_page(context(run))
    assert page is not None
    assert page.sentences[0][0] == "pays"
    assert page.sentences[0][2].startswith("Still paying at 16k: 4k to 16k brings +33.3 ")


def test_report_b4_without_prices_there_is_no_currency_sign(sweep: Path, tmp_path: Path) -> None:
    text = PageText(write(tmp_path / "out", sweep) / "budgets.html").text
    assert not set(text) & set("$€£¥")


def test_with_prices_score_is_drawn_against_dollars(sweep: Path) -> None:
    page = budget_page(context_of(open_runs([sweep]), prices=Prices(per_input=1.0, per_output=4.0)))
    assert page is not None
    assert "dollars per 1,000 samples" in page.panels[0].cost and ">$" in page.panels[0].cost
    costs = [float(point.cost.replace(",", "")) for point in page.points]
    assert costs == sorted(costs) and costs[0] > 0


def test_without_any_thought_one_sentence_says_so_and_nothing_is_drawn(tmp_path: Path) -> None:
    rows = [task_row("mathvista", 0.5, budget=budget, policy="cut") for budget in (1024, 4096)]
    run = make_run(tmp_path, rows=rows)
    page = budget_page(context(run))
    assert page is not None and page.silent and page.panels == ()
    assert "No reply contains a thought" in PageText(write(tmp_path / "out", run) / "budgets.html").text


def test_a_report_without_a_sweep_has_no_such_page(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert budget_page(context(run)) is None
    assert "budgets.html" not in PageText(write(tmp_path / "out", run) / "index.html").attributes("a", "href")
