"""The Markdown report: tables hold together, foreign text is escaped, marks are present."""

from __future__ import annotations

import re
from pathlib import Path

from kvl_eval.reports.markdown import escape, markdown
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.task_view import task_sections
from tests.reports.report_folders import make_run
from tests.reports.report_rows import HOSTILE, make_row


def report(folder: Path) -> str:
    runs = open_runs([folder])
    return markdown(runs, task_sections(runs))


def test_report_reads_from_warnings_to_sub_scores(tmp_path: Path) -> None:
    text = report(make_run(tmp_path, rows=[make_row()]))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Results of kimi-vl-instruct",
        "## Results",
        "## Comparison with published results",
        "## mathvista/testmini: kimi-vl-instruct",
    ]
    assert "| **67.9** | [64.9, 70.7] | 68.7 | -0.8 ≈ | 0.4% | official-rule |" in text
    assert "| geometry problem solving | 208 | 62.5 | [55.8, 68.8] |" in text
    assert "| figure question answering | 12 (few) | 75.0 |" in text


def test_warnings_come_first(tmp_path: Path) -> None:
    text = report(make_run(tmp_path, n=10, missing=2, failed=1, code={"version": "0.1.0", "dirty": True}))
    assert text.index("Read this first") < text.index("## Results")
    assert "> - mathvista: run not finished: 2 of 10 samples pending; the score lies between" in text
    assert "> - mathvista: incomplete: 1 failed of 10 (oom 1)" in text
    assert "uncommitted changes" in text


def test_hostile_text_makes_no_markup_and_no_new_cells(tmp_path: Path) -> None:
    rows = [make_row(categories={HOSTILE: {HOSTILE: {"n": 3, "score": 0.5, "ci95": None}}}, label=HOSTILE)]
    text = report(make_run(tmp_path, model=HOSTILE, text=HOSTILE, rows=rows))
    assert "<script>" not in text
    assert re.search(r"(?<!\\)\]\(", text) is None, "a link"
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert not any(line.startswith("# heading") for line in text.splitlines())
    for table in text.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("| ")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1, lines


def test_escape() -> None:
    assert escape("a|b <i> *c* [d](e)\nf") == "a\\|b &lt;i&gt; \\*c\\* \\[d\\](e) f"
    assert escape("# not a heading") == "\\# not a heading"
    assert escape("official-rule 95 %") == "official-rule 95 %"


def test_what_a_task_shows_beside_its_score_follows_it(tmp_path: Path) -> None:
    place = {"task": "mmmu", "title": "MMMU", "split": "val", "reference": None}
    rows = [
        make_row(**place, protocol=name, label=name, score=score, ci95=[0.3, 0.6])
        for name, score in (("official", 0.35), ("reader", 0.57), ("lmms-eval", 0.5))
    ]
    results = report(make_run(tmp_path, task="mmmu", rows=rows)).partition("## Results")[2].partition("\n## ")[0]
    lines = [line for line in results.splitlines() if "mmmu/val" in line]
    assert [line.rpartition("| ")[2] for line in lines] == ["reader |", "official |"]
    section = report(tmp_path / "run-a").partition("## mmmu/val")[2]
    assert "Also scored under official 35.0 \\[30.0, 60.0\\]" in section
