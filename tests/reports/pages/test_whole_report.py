"""A whole report of real runs of scripted answers: pages, samples, Markdown, and what differs between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.audit.pair_settings import pair_settings
from kvl_eval.errors import UsageError
from kvl_eval.reports.write import ReportForm, write_report
from tests.reports.page_reports import PageText, context, task_row
from tests.reports.report_folders import make_run


def test_settings_that_differ_are_read_for_every_pair(pair: tuple[Path, list[Path]]) -> None:
    [found] = pair_settings(pair[1])
    assert (found.a, found.b, found.problem) == (0, 1, "")
    assert any("seed 1 → 2" in text for text in found.settings)


def test_runs_without_a_task_in_common_say_so(tmp_path: Path) -> None:
    runs = [make_run(tmp_path), make_run(tmp_path, name="run-b", task="mmmu")]
    assert [found.problem for found in pair_settings(runs)] == ["the runs have no task in common"]


def test_a_report_of_real_runs_has_all_its_pages(pair: tuple[Path, list[Path]], tmp_path: Path) -> None:
    runs = pair[1]
    written = write_report(runs, tmp_path / "out", ReportForm(images="none"), pair_settings(runs))
    assert [path.name for path in written] == ["report.md", "index.html"]
    names = {path.name for path in (tmp_path / "out").glob("*.html")}
    assert {
        "compare.html",
        "index.html",
        "samples.html",
        "published.html",
        "provenance.html",
        "task-mmmu.html",
    } <= names
    menu = PageText(tmp_path / "out" / "index.html").attributes("a", "href")
    assert "samples.html" in menu
    assert (tmp_path / "out" / "data" / "index.js").is_file()


def test_partial_runs_are_kept_apart_and_are_still_compared(tmp_path: Path) -> None:
    rows = [task_row("mathvista", 0.5, n=10, partial="10 samples")]
    report = context(*(make_run(tmp_path, name=f"run-{name}", model=name, rows=rows) for name in "ab"))
    assert report.board.columns == ()
    assert report.evidence.pair is not None and len(report.evidence.pair.gaps) == 1
    assert report.title == "Two models on MathVista"


def test_the_file_alone_links_to_no_page(tmp_path: Path) -> None:
    [path] = write_report([make_run(tmp_path)], tmp_path / "out", ReportForm(formats=("markdown",)))
    assert ".html" not in path.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "index.html").exists()


def test_without_a_run_the_command_is_refused() -> None:
    with pytest.raises(UsageError):
        write_report([])
