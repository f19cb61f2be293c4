"""A task's page: dots, protocols, outcomes, sub-scores, lengths. Checks T1 to T3 and T5."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvl_eval.reports.pages.outcomes import SIGNS, outcome_counts, reply_outcome
from kvl_eval.reports.pages.task import TaskPage, task_page
from kvl_eval.scorers.outcomes import OUTCOMES
from kvl_eval.tasks import TASKS
from tests.reports.page_reports import PageText, context, sweep_run, task_row, write
from tests.reports.report_folders import make_run

PART = {"n": 60, "score": 0.6, "ci95": [0.5, 0.7]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("task")
    other = ("wrong", "correct", "no_answer", "correct", "partial")
    return [
        make_run(folder, n=25),
        make_run(folder, name="run-b", model="other", n=25, failed=2, missing=1, verdicts=other),
    ]


@pytest.fixture(scope="module")
def page(runs: list[Path]) -> TaskPage:
    return task_page(context(*runs), "mathvista")


def test_report_t1_one_table_for_each_category_field(tmp_path: Path) -> None:
    fields = {f"field {n}": {"x": PART, "few": {**PART, "n": 12}} for n in range(9)}
    runs = [
        make_run(tmp_path, name=f"run-{n}", model=f"m{n}", rows=[task_row("mathvista", 0.5, categories=fields)])
        for n in range(3)
    ]
    source = PageText(write(tmp_path / "out", *runs) / "task-mathvista.html").source
    assert source.count('<table class="sortable sub-scores">') == 9
    page = task_page(context(*runs), "mathvista")
    assert [(row.label, row.few) for row in page.views[0].subs[0].rows] == [("x", False), ("few", True)]


def test_report_t2_dots_are_sorted_and_inside_their_intervals(page: TaskPage) -> None:
    rows = page.dots.rows
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)
    assert sum(row.ours for row in rows) == 2 and page.dots.has_published
    for row in rows:
        x1, x2 = (float(re.findall(rf'{name}="([\d.]+)%"', row.drawn)[-1]) for name in ("x1", "x2"))
        at = float((re.findall(r'cx="([\d.]+)%"', row.drawn) or re.findall(r'<svg x="([\d.]+)%"', row.drawn))[0])
        assert x1 <= at <= x2


def test_report_t3_outcomes_sum_to_what_was_planned(page: TaskPage) -> None:
    for place, (named, drawn) in enumerate(page.views[0].outcomes.bars):
        assert sum(line.cells[place].n for line in page.views[0].outcomes.lines) == named.row.n_planned
        widths = [float(width) for width in re.findall(r'width="([\d.]+)%"', drawn)]
        assert sum(widths) == pytest.approx(100, abs=0.1)
    names = {line.name for line in page.views[0].outcomes.lines}
    assert {"correct", "partial", "wrong", "no answer", "failed", "pending"} <= names


def test_report_t4_counts_lead_to_samples_of_their_outcome(page: TaskPage) -> None:
    links = [cell.link for line in page.views[0].outcomes.lines for cell in line.cells]
    assert all("task=mathvista" in link and "outcome=" in link for link in links)


def test_report_t5_a_protocol_without_a_result_says_why(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=[task_row("mmvet", 0.5)])
    lines = task_page(context(run), "mmvet").views[0].protocols
    waiting = [line for line in lines if line.chip == "needs a judge"]
    assert waiting and all(cell.why and not cell.score for line in waiting for cell in line.cells)


def test_verdicts_that_differ_from_the_default_protocol_are_counted(page: TaskPage) -> None:
    lines = {line.name: line for line in page.views[0].protocols}
    assert lines["official-rule"].chip == "default" or lines["official"].chip == "default"
    other = lines["vlmevalkit"].cells
    assert all(cell.flips > 0 and "protocol=vlmevalkit" in cell.link for cell in other)


def test_a_reply_is_in_the_first_class_that_applies(runs: list[Path]) -> None:
    report = context(*runs)
    model = report.series[1]
    record = next(iter(model.run.folder.records("mathvista")))
    assert reply_outcome(None, None) == "pending"
    assert reply_outcome(record, None) == "not_scored"
    assert set(SIGNS) == set(OUTCOMES) and len(set(SIGNS.values())) == len(OUTCOMES)
    result = task_page(report, "mathvista").views[0].results[1].result
    counts = outcome_counts(report.book.replies(result))
    assert (counts["failed"], counts["pending"]) == (2, 1)


def test_the_leader_is_compared_with_the_next_ones(page: TaskPage) -> None:
    assert "leads these runs at" in page.lead and "kimi-vl-instruct" in page.lead


def test_lengths_say_median_and_what_the_longest_quarter_gets_right(page: TaskPage) -> None:
    [chart, _] = page.views[0].lengths
    assert chart.what == "thought"
    assert re.match(r"Half of all thoughts are shorter than \d+ tokens; 0 reached a limit", chart.words)


def test_a_task_that_was_swept_has_a_view_for_each_budget(tmp_path: Path) -> None:
    sweep = sweep_run(tmp_path, "run-b", "thinker", {1024: ("correct", "wrong"), 4096: ("correct",)})
    page = task_page(context(make_run(tmp_path), sweep), "mathvista")
    assert [view.label for view in page.views] == ["4k", "1k"]
    assert [[named.row.budget for named in view.results] for view in page.views] == [[None, 4096], [None, 1024]]


def test_every_protocol_has_a_short_line() -> None:
    for task in TASKS.values():
        lines = {name: protocol.line(name) for name, protocol in task.protocols.items()}
        assert all(0 < len(text) <= 60 for text in lines.values()), (task.name, lines)
