"""A headless Chromium, and the reports it opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvl_eval.evaluation import evaluate
from kvl_eval.reports.write import ReportForm, write_report
from tests.reports.report_folders import make_run, report_verb
from tests.reports.report_rows import HOSTILE, make_row

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two runs of 25 samples that differ on some."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [make_row(), make_row(protocol="vlmevalkit", label="vlmevalkit", score=0.7, reference=None)]
    first = make_run(folder, n=25, rows=rows)
    other = ("wrong", "correct", "no_answer", "correct", "partial")
    second = make_run(folder, name="run-b", model="kimi-vl-thinking", n=25, failed=2, missing=1, verdicts=other)
    write_report([first, second], folder / "out", ReportForm(cache_dir=folder / "cache"))
    return folder / "out"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every text of others is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    stacked, hebrew = "Z" + "\u0335\u0336" * 300, "\u05d0\u05d1\u05d2"
    text = f"{HOSTILE} {'W' * 3000} {stacked} {hebrew}"
    row = make_row(categories={text: {text: {"n": 3, "score": 0.5, "ci95": [0.1, 0.9]}}}, label=text, title=text)
    row = replace(row, official={text: text}, failed={text: 2}, n_failed=2, complete=False, partial=text)
    run = make_run(folder, name="run-x", model=text, text=text, rows=[row], failed=2, missing=1, n=8)
    write_report([run], folder / "out", ReportForm(cache_dir=folder / "cache"))
    return folder / "out"


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A report of two runs that answer at random, by other seeds, and the runs."""
    folder = tmp_path_factory.mktemp("pair")
    options: dict[str, Any] = {"model": "fake", "tasks": ["mmmu"], "limit": 30, "output_dir": str(folder)}
    runs = [evaluate(seed=seed, **options).path for seed in (1, 2)]
    assert report_verb(*map(str, runs), "--out", str(folder / "out"), "--no-pictures") == 0
    return folder / "out", runs
