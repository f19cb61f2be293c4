"""Budget curves: which results become a curve, what stands beside them, the drawing, the tables."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kvl_eval.reports.budgets import Chart, budget_charts, budgets_markdown, cells_of, header_of, picture_file
from kvl_eval.reports.curves import COLOURS, NARROW, WIDE, Canvas, chart_file, log_axis, spoken
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.write import write_report
from kvl_eval.store.result_records import ResultRow, Spread
from kvl_eval.store.run_folder import RunFolder
from tests.reports.report_folders import make_run
from tests.reports.report_rows import HOSTILE, make_row
from tests.reports.test_html import Page

THINKING = {"model": "kimi-vl-thinking", "family": "thinking"}
SCORES = {1024: 0.655, 4096: 0.7, 16384: 0.72}


def budget_rows(scores: dict[int, float | None], policy: str = "cut", **changes: Any) -> list[ResultRow]:
    """Rows of a sweep; the smaller the budget, the more thoughts it ended."""
    rows = []
    for place, (budget, score) in enumerate(scores.items()):
        ended = round(0.4 / (place + 1), 3)
        ci95 = None if score is None else [max(0.0, score - 0.03), min(1.0, score + 0.03)]
        row = make_row(budget=budget, policy=policy, score=score, ci95=ci95, reference=None, **changes)
        rows.append(
            replace(
                row,
                unclosed_share=ended if policy == "cut" else 0.0,
                forced_share=ended if policy == "force" else 0.0,
                tokens={**row.tokens, "thinking": Spread(mean=budget / 2, median=1, p95=2)},
            )
        )
    return rows


def charts(*folders: Path) -> list[Chart]:
    return budget_charts(open_runs(folders))


def sweep(folder: Path, name: str = "run-a", policy: str = "cut", **changes: Any) -> Path:
    rows = budget_rows(changes.pop("scores", SCORES), policy, **changes.pop("row", {}))
    return make_run(folder, name=name, rows=rows, **{**THINKING, **changes})


def test_only_results_within_budgets_make_a_curve(tmp_path: Path) -> None:
    assert charts(make_run(tmp_path)) == []
    [chart] = charts(sweep(tmp_path, name="run-b"))
    [curve] = chart.curves
    assert [row.budget for row in curve.rows] == [1024, 4096, 16384]
    assert (chart.name, curve.name) == ("mathvista/testmini", "kimi-vl-thinking, cut")


def test_both_policies_share_a_chart_and_tasks_and_splits_do_not(tmp_path: Path) -> None:
    found = charts(
        sweep(tmp_path, "run-a"),
        sweep(tmp_path, "run-b", policy="force"),
        sweep(tmp_path, "run-c", row={"split": "mini"}),
        sweep(tmp_path, "run-d", row={"blind": True, "complete": False, "partial": "limit 5 of 9"}),
    )
    assert [[curve.name for curve in chart.curves] for chart in found] == [
        [
            "kimi-vl-thinking, cut",
            "kimi-vl-thinking, force",
            "kimi-vl-thinking, cut, blind, partial, incomplete",
        ],
        ["kimi-vl-thinking, cut"],
    ]
    assert len({picture_file(chart) for chart in found}) == 2


def test_the_published_curve_is_figure_13_and_stands_beside_thinking_runs_alone(tmp_path: Path) -> None:
    [chart] = charts(sweep(tmp_path))
    assert [(tokens, score.printed) for tokens, score in chart.published] == [
        (1024, "66.7"),
        (2048, "69.0"),
        (4096, "70.9"),
        (8192, "70.6"),
        (16384, "71.3"),
    ]
    for number, family in enumerate(("nano", "instruct", "thinking-2506", "fake")):
        [other] = charts(sweep(tmp_path, f"run-{number}", model=family, family=family))
        assert other.published == ()
    folder = RunFolder.open(sweep(tmp_path, "run-copy"))
    model = replace(folder.manifest.model, others={"family_rule": "origin"})
    folder.save(replace(folder.manifest, model=model))
    [copy] = charts(folder.path)
    assert copy.published == (), "what says itself that it is a published model may be a fine-tune"
    [demo] = charts(sweep(tmp_path, "run-demo", demo=True))
    assert demo.published == ()
    assert demo.curves[0].name.endswith("demo")


def test_cells_say_what_a_budget_did(tmp_path: Path) -> None:
    reference = make_row(reference={"system": "x", "value": 0.709, "delta": -0.009, "inside_ci": True}).reference
    rows = budget_rows({0: 0.2, 1000: 0.7, 4096: None})
    rows[1] = replace(rows[1], reference=reference)
    rows[2] = replace(rows[2], n_ok=0, n_scored=0, verdicts={}, n_failed=1000)
    [chart] = charts(make_run(tmp_path, rows=rows, **THINKING))
    [curve] = chart.curves
    assert header_of(curve)[6:9] == ["unclosed", "forced", "thinking tokens"]
    assert [cells_of(curve, row) for row in curve.rows] == [
        ["0", "1000", "20.0", "[17.0, 23.0]", "", "", "40.0%", "0.0%", "0.0", "0.4%"],
        ["1000", "1000", "70.0", "[67.0, 73.0]", "70.9", "-0.9 ≈", "20.0%", "0.0%", "500.0", "0.4%"],
        ["4k", "0/1000", "-", "", "", "", "-", "-", "-", "-"],
    ]


def test_what_a_task_shows_beside_its_score_has_a_column(tmp_path: Path) -> None:
    place = {"task": "mmmu", "title": "MMMU", "split": "val"}
    rows = budget_rows(SCORES, protocol="reader", label="reader", **place)
    rows += budget_rows({1024: 0.5, 4096: 0.6}, protocol="official", label="official", **place)
    [chart] = charts(make_run(tmp_path, task="mmmu", rows=rows, **THINKING))
    [curve] = chart.curves
    assert header_of(curve)[-1] == "official"
    assert [cells_of(curve, row)[-1] for row in curve.rows] == ["50.0", "60.0", "-"]


def test_repeats_add_their_columns(tmp_path: Path) -> None:
    repeats = {"n": 4, "questions": 9, "mean": 0.5, "pass_at": {"1": 0.5, "4": 0.75}, "majority": 0.625}
    [chart] = charts(sweep(tmp_path, row={"repeats": repeats}))
    [curve] = chart.curves
    assert header_of(curve)[-2:] == ["pass@4", "maj@4"]
    assert cells_of(curve, curve.rows[0])[-2:] == ["75.0", "62.5"]


def test_the_axis_is_logarithmic_and_has_a_place_for_nothing() -> None:
    x = log_axis([0, 1024, 2048, 4096])
    places = [x(tokens) for tokens in (0, 1024, 2048, 4096)]
    steps = [right - left for left, right in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3)
    assert steps[0] > 0
    assert log_axis([512])(512) == 0.0
    assert log_axis([0])(0) == -1.0


SVG = "{http://www.w3.org/2000/svg}"


def points(drawn: ET.Element, name: str) -> list[tuple[float, float]]:
    """Where the markers of a curve stand."""
    [group] = [node for node in drawn.iter(f"{SVG}g") if node.get("id") == name]
    return [(float(node.get("x") or 0), float(node.get("y") or 0)) for node in group.iter(f"{SVG}use")]


def names(drawn: ET.Element) -> set[str]:
    return {node.get("id") or "" for node in drawn.iter(f"{SVG}g")}


def labels(drawn: ET.Element) -> list[str]:
    return ["".join(node.itertext()).strip() for node in drawn.iter(f"{SVG}text")]


@pytest.mark.parametrize("form", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_drawing_has_every_point_band_and_name(tmp_path: Path, form: Canvas) -> None:
    [chart] = charts(sweep(tmp_path), sweep(tmp_path, "run-b", policy="force"))
    drawn = ET.fromstring(chart_file(chart, form))
    for number in (0, 1):
        assert len(points(drawn, f"scores-{number}")) == 3
        assert len(points(drawn, f"shares-{number}")) == 3
        assert f"band-{number}" in names(drawn)
    assert len(points(drawn, "published")) == 5
    found = labels(drawn)
    assert [label for label in found if label.endswith("k")] == ["1k", "2k", "4k", "8k", "16k"]
    assert {"kimi-vl-thinking, cut", "kimi-vl-thinking, force"} <= set(found)
    assert "MathVista: score by thinking budget" in found


def test_the_picture_is_told_in_words(tmp_path: Path) -> None:
    [chart] = charts(sweep(tmp_path))
    assert "kimi-vl-thinking, cut: 65.5 at 1k, 70.0 at 4k, 72.0 at 16k." in spoken(chart)
    assert "70.6 at 8k" in spoken(chart)


def test_higher_scores_stand_higher_and_inside_the_picture(tmp_path: Path) -> None:
    [chart] = charts(sweep(tmp_path, scores={0: 0.0, 32: 0.4, 512: 1.0}, model="n", family="nano"))
    drawn = ET.fromstring(chart_file(chart))
    at = points(drawn, "scores-0")
    assert at[0][0] < at[1][0] < at[2][0]
    assert at[0][1] > at[1][1] > at[2][1]
    _, _, width, height = map(float, (drawn.get("viewBox") or "").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in at)


@pytest.mark.parametrize(
    "scores", [{1024: 0.5}, {0: 0.5}, {0: 0.0, 1: 1.0}, {64: None}, {64: None, 128: 0.3}, {64: 0.3, 128: 0.3}]
)
def test_odd_curves_are_drawn_too(tmp_path: Path, scores: dict[int, float | None]) -> None:
    [chart] = charts(sweep(tmp_path, scores=scores, model="n", family="nano"))
    text = chart_file(chart)
    assert not re.search(r"\b(nan|inf)\b", text)
    drawn = ET.fromstring(text)
    known = sum(score is not None for score in scores.values())
    assert len(points(drawn, "scores-0")) == known
    assert len(points(drawn, "shares-0")) == len(scores)


def test_many_curves_and_long_names_stay_inside(tmp_path: Path) -> None:
    runs = [sweep(tmp_path, f"run-{number}", model=f"model-{number}-" + "long" * 40) for number in range(7)]
    [chart] = charts(*runs)
    drawn = ET.fromstring(chart_file(chart, NARROW))
    shown = [label for label in labels(drawn) if label.startswith("model-")]
    assert len(shown) == 7
    assert all(len(label) <= NARROW.label for label in shown)


@pytest.mark.parametrize("form", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_name_that_just_fits_the_legend_stays_whole(tmp_path: Path, form: Canvas) -> None:
    fitting, longer = ("n" * (length - len(", cut")) for length in (form.label, form.label + 1))
    [chart] = charts(sweep(tmp_path, "run-a", model=fitting), sweep(tmp_path, "run-b", model=longer))
    legend = {label for label in labels(ET.fromstring(chart_file(chart, form))) if label.startswith("nn")}
    assert legend == {f"{fitting}, cut", f"{f'{longer}, cut'[: form.label - 1]}…"}


def test_the_same_results_give_the_same_file(tmp_path: Path) -> None:
    [chart] = charts(sweep(tmp_path))
    assert chart_file(chart) == chart_file(chart)


def test_the_file_needs_nothing_else(tmp_path: Path) -> None:
    [chart] = charts(sweep(tmp_path))
    text = chart_file(chart)
    drawn = ET.fromstring(text)
    assert drawn.tag == f"{SVG}svg"
    style = drawn.find(f"{SVG}style")
    assert style is not None and "prefers-color-scheme: dark" in (style.text or "")
    hrefs = [value for node in drawn.iter() for name, value in node.items() if name.endswith("href")]
    assert hrefs and all(value.startswith("#") for value in hrefs)
    assert not re.search(r"@import|url\((?!#)|<script|<!DOCTYPE|<metadata", text)
    stand_ins = [both[0] for both in COLOURS.values()]
    assert not [colour for colour in stand_ins if colour in text]


def test_page_and_link_are_there_only_with_budgets(tmp_path: Path) -> None:
    write_report([make_run(tmp_path)], tmp_path / "plain")
    assert not (tmp_path / "plain" / "budgets.html").exists()
    assert "budgets.html" not in (tmp_path / "plain" / "index.html").read_text()
    assert "Thinking budgets" not in (tmp_path / "plain" / "report.md").read_text()
    out = tmp_path / "out"
    write_report([sweep(tmp_path, "run-b")], out)
    for path in out.glob("*.html"):
        assert ("a", "budgets.html") in {(tag, one.get("href")) for tag, one in Page(path).elements}, path.name
    page = Page(out / "budgets.html")
    assert "1k 1000 65.5 [62.5, 68.5]" in page.text
    assert "Published: Kimi-VL-A3B-Thinking (report, Figure 13)" in page.text
    [image] = [one for tag, one in page.elements if tag == "img"]
    assert (out / image["src"]).is_file() and "72.0 at 16k" in image["alt"]
    [narrow] = [one for tag, one in page.elements if tag == "source"]
    assert (out / narrow["srcset"]).is_file() and narrow["srcset"] != image["src"]
    assert all((out / one["href"]).is_file() for tag, one in page.elements if tag == "link" and one["href"])


def test_markdown_has_tables_and_a_picture_that_exists(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([sweep(tmp_path), sweep(tmp_path, "run-b", policy="force")], out, formats=("markdown",))
    text = (out / "report.md").read_text()
    assert "### MathVista: score by thinking budget" in text
    assert "| 16k | 1000 | 72.0 | [69.0, 75.0] |" in text
    assert "**kimi-vl-thinking, force** (run-b)" in text
    assert "| 8k | 70.6 |" in text
    [picture] = re.findall(r"!\[.*\]\((.*)\)", text)
    ET.fromstring((out / picture).read_text())


def test_a_demo_is_said_to_be_one_and_gets_no_published_curve(tmp_path: Path) -> None:
    out = tmp_path / "out"
    reference = make_row(reference={"system": "x", "value": 0.7, "delta": None, "inside_ci": None}).reference
    rows = budget_rows(SCORES, split="mini")
    rows[0] = replace(rows[0], reference=reference)
    write_report([make_run(tmp_path, rows=rows, demo=True, model="nano", family="nano")], out)
    page = Page(out / "budgets.html")
    assert "No curve was published for these runs." in page.text
    assert "demo model, not Kimi-VL-A3B" in page.text
    assert "Published:" not in page.text
    assert "demo model, not Kimi-VL-A3B" in budgets_markdown(charts(tmp_path / "run-a"))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = budget_rows({64: 0.3, 128: 0.4}, title=HOSTILE, split=HOSTILE, label=HOSTILE)
    write_report(
        [make_run(tmp_path, model=HOSTILE, task=HOSTILE, rows=[replace(row, task=HOSTILE) for row in rows])], out
    )
    found = list(out.glob("budgets-*.svg"))
    assert len(found) == 2
    for picture in found:
        assert re.fullmatch(r"budgets-[a-z0-9-]+\.svg", picture.name)
        ET.fromstring(picture.read_text())
    for path in (out / "budgets.html", out / "report.md", *found):
        text = path.read_text(encoding="utf-8")
        assert not {"\x1b", "\x00", "\u202e"} & set(text), path.name
        assert "<script>alert" not in text and "<img src=x" not in text, path.name
    scripts = [one for tag, one in Page(out / "budgets.html").elements if tag == "script"]
    assert all(one.get("src") for one in scripts)
