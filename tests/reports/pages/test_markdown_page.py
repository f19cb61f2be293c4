"""The short Markdown file. Checks M1 to M3."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from kvl_eval.reports.pages.markdown import code_span, markdown_page
from tests.reports.page_reports import board_run, context, sweep_run, three_runs
from tests.reports.report_folders import make_run
from tests.reports.report_rows import HOSTILE

FOURTEEN = (
    *("mathvista", "mathvision", "mmmu", "mmstar", "infovqa", "ocrbench", "screenspot-v2", "mmlongbench-doc"),
    *("ai2d", "blink", "realworldqa", "vstar", "mmvet", "tomato"),
)


def tables(text: str) -> list[list[int]]:
    """Cells of each row of each table, as a CommonMark parser with tables sees them."""
    found: list[list[int]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append(0)
        elif token.type in ("td_open", "th_open"):
            found[-1][-1] += 1
    return found


@pytest.mark.parametrize("n", [1, 5, 40])
def test_report_m1_m2_the_file_is_short_and_begins_with_scores(tmp_path: Path, n: int) -> None:
    scores = {task: 0.5 + place / 100 for place, task in enumerate(FOURTEEN)}
    runs = [board_run(tmp_path, f"run-{place}", f"model-{place}", scores) for place in range(n)]
    lines = markdown_page(context(*runs)).splitlines()
    assert len(lines) <= 150
    assert next(place for place, line in enumerate(lines) if line.startswith("| ")) < 20


def test_report_m3_every_row_of_a_table_has_as_many_cells(tmp_path: Path) -> None:
    sweep = {1024: ("correct", "wrong"), 4096: ("correct", "correct", "wrong")}
    runs = [*three_runs(tmp_path), sweep_run(tmp_path, "run-d", "a | b", sweep)]
    found = tables(markdown_page(context(*runs)))
    assert len(found) == 4
    assert all(len(set(rows)) == 1 for rows in found)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, model=HOSTILE, command=["kvl-eval", "run", "--model", HOSTILE])
    text = markdown_page(context(run))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html and "<img" not in html and 'href="javascript' not in html


@pytest.mark.parametrize(
    ("text", "expected"),
    [("my-vlm", "`my-vlm`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a|b", "`a\\|b`"), ("a\nb", "`a b`")],
)
def test_foreign_text_is_a_code_span(text: str, expected: str) -> None:
    assert code_span(text) == expected
