"""A benchmark for which nobody published a figure of Kimi-VL: everything works without one, and none is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.describe import describe
from kvl_eval.describe_text import as_text
from kvl_eval.reports.leaderboard import leaderboard, printed_table
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.write import write_report
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.runner import start_run
from kvl_eval.sources import Source
from kvl_eval.tasks import TASKS, mathvista
from kvl_eval.tasks.base import Task

OWN = "unpublished"
OPTIONS = {"split": "mini", "limit": 4}


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    own = replace(mathvista.TASK, name=OWN, title="Unpublished", reference=None)
    monkeypatch.setitem(TASKS, OWN, own)
    return own


@pytest.fixture
def run(task: Task, tmp_path: Path) -> Path:
    """A run in Kimi-VL-Instruct's name over MathVista, which has figures, and the task without."""
    options = {**OPTIONS, "output_dir": str(tmp_path)}
    config = resolve("kimi-vl-instruct", "instruct", [mathvista.TASK, task], options)
    backend = FakeBackend(config.settings)
    plan = plan_run(config, backend)
    assert OWN in plan_text(plan)
    outcome = start_run(plan, backend)
    assert {row.task for row in outcome.results.rows} == {"mathvista", OWN}
    return outcome.folder.path


def test_only_the_published_benchmark_has_a_figure_beside_it(run: Path) -> None:
    (opened,) = open_runs([run])
    assert opened.results is not None
    figures = {(row.task, row.budget): row.reference for row in opened.results.rows}
    assert {task for task, _ in figures} == {"mathvista", OWN}
    assert all((figure is None) == (task == OWN) for (task, _), figure in figures.items()), figures


def test_reports_show_it_without_a_figure(run: Path, tmp_path: Path) -> None:
    paths = write_report([run], tmp_path / "report")
    assert {path.suffix for path in paths} >= {".md", ".html"}
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Unpublished" in text


def test_tables_of_published_figures_pass_over_it(run: Path) -> None:
    runs = open_runs([run])
    for name in ("table3", "thinking", "budget"):
        assert "Unpublished" not in printed_table(name, runs)
    assert leaderboard(runs).rows


def test_it_describes_itself(task: Task) -> None:
    description = describe(task, Source(), "mini")
    assert not description.references
    assert OWN in as_text(description)
