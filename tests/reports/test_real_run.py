"""Reports of a run that the real runner, scorers and store made, with the fake backend."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kvl_eval.evaluation import evaluate
from kvl_eval.reports.leaderboard import printed_table
from kvl_eval.reports.protocol_views import protocol_views
from kvl_eval.reports.runs import main_rows, open_runs
from kvl_eval.reports.table import protocol_table
from kvl_eval.reports.write import ReportForm, write_report
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from tests.reports.sample_reports import index_of, samples_of

NO_IMAGES = ReportForm(images="none")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve questions, two answers each, at two budgets, under every protocol; the first request fails."""
    done = evaluate(
        model="fake",
        tasks=["mathvista"],
        limit=12,
        repeats=2,
        think_budget=(16, 1024),
        model_args={"think": 60, "fail": "oom:1"},
        output_dir=str(tmp_path_factory.mktemp("results")),
    )
    rescore(RunReader.open(done.path), "all")
    return done.path


def test_the_report_is_written_and_names_what_is_odd(run: Path, tmp_path: Path) -> None:
    _, index = write_report([run], tmp_path / "out", NO_IMAGES)
    text = index.read_text(encoding="utf-8")
    assert re.search(r"12 of \d+ samples", text)
    assert "failed samples" in text and "oom" in index_of(index.parent)["names"]
    assert "mathvista at 1k" in text
    page = (index.parent / "task-mathvista.html").read_text(encoding="utf-8")
    assert "pass@2" in page
    assert "thought_unclosed" in index_of(index.parent)["names"]
    assert "vlmevalkit" in page


def test_the_sample_browser_holds_every_planned_answer_once(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "out", NO_IMAGES)
    assert [len(sample["replies"]) for sample in samples_of(tmp_path / "out")] == [2 * 2] * 12
    assert "r1/b1024cut" in [voice["key"] for voice in index_of(tmp_path / "out")["voices"]]


def test_protocols_in_the_terminal(run: Path) -> None:
    (opened,) = open_runs([run])
    rows = main_rows(opened)
    assert [row.budget for row in rows] == [16, 1024]
    text = protocol_table(protocol_views(opened, rows[1]))
    assert "(default)" in text.splitlines()[1]
    assert "vlmevalkit" in text


def test_scripted_answers_on_the_mini_split_enter_no_published_table(run: Path) -> None:
    table = printed_table("budget", open_runs([run]))
    assert [line.split("70.9")[1].strip() for line in table.splitlines() if line.startswith("MathVista, 4k")] == [""]


def test_results_json_is_left_as_it_was(run: Path, tmp_path: Path) -> None:
    before = (run / "results.json").read_bytes()
    write_report([run], tmp_path / "out", NO_IMAGES)
    assert (run / "results.json").read_bytes() == before
    assert json.loads(before)["rows"]
