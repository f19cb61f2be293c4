"""Scores by the category that figures were published by: ours, how many answers they rest on, and the figures."""

from __future__ import annotations

from kvl_eval.reports.heatmap import Parts, parts_of
from tests.reports.report_rows import make_row

BIN = "haystack_tokens"


def needle_parts(**bins: dict[str, object]) -> Parts:
    """The table of a needle run that answered in `bins`."""
    parts = parts_of(make_row(task="niah-text", split="quick", categories={BIN: bins}))
    assert parts is not None
    return parts


def test_each_bin_has_its_score_interval_and_number_of_answers() -> None:
    parts = needle_parts(
        **{
            "(0,2048]": {"n": 12, "score": 0.75, "ci95": [0.4677, 0.9111]},
            "(4096,8192]": {"n": 7, "score": 1.0, "ci95": None},
        }
    )
    cells = {name: dict(zip(parts.values, texts, strict=True)) for name, texts in parts.rows}
    assert (cells["ours"]["(0,2048]"], cells["ours"]["(4096,8192]"]) == ("75.0", "100.0")
    assert cells["95% CI"]["(0,2048]"] == "[46.8, 91.1]"
    assert {name: n for name, n in cells["answers"].items() if n != "0"} == {"(0,2048]": "12", "(4096,8192]": "7"}
    assert cells["Kimi-VL-A3B-Instruct"]["(65536,131072]"] == "87.0"


def test_a_bin_without_answers_has_no_score_and_counts_none() -> None:
    parts = needle_parts()
    rows = dict(parts.rows)
    assert len(parts.values) == 7
    assert set(rows["ours"]) == set(rows["95% CI"]) == {""}
    assert set(rows["answers"]) == {"0"}


def test_a_bin_that_nobody_published_stands_behind_the_published_ones() -> None:
    parts = needle_parts(**{"(131072,262144]": {"n": 3, "score": 0.5, "ci95": None}})
    assert parts.values[-1] == "(131072,262144]"
    assert [texts[-1] for _, texts in parts.rows][2:4] == ["3", ""]


def test_a_task_with_one_published_figure_has_no_such_table() -> None:
    assert parts_of(make_row()) is None
    assert parts_of(make_row(task="a task of others")) is None
