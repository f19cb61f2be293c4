"""Drawings as text: positions, whiskers, words, and nothing that the policy forbids."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.charts import SHAPES, Axis, ChartPoint, DrawnLine, Plot, Scale


def values(drawing: str, name: str) -> list[float]:
    """Every value of an attribute in percent or pixels."""
    return [float(value) for value in re.findall(rf'\b{name}="(-?[\d.]+)%?"', drawing)]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    ticks = charts.nice_ticks(low, low + width)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) + 1e-9 for tick in ticks)
    assert 1 <= len(ticks) <= 11


@pytest.mark.parametrize("shape", [*SHAPES, "diamond"])
def test_the_whisker_of_a_row_contains_its_mark(shape: str) -> None:
    point = ChartPoint(value=70, interval=(65, 72), css="s1", shape=shape, label="m: 70.0 [65.0, 72.0]")
    drawing = charts.interval_row(Plot(scale=Scale(50, 90), ticks=(60, 80)), point)
    assert (values(drawing, "x1")[-1], values(drawing, "x2")[-1]) == (37.5, 55.0)
    assert (values(drawing, "cx") or values(drawing, "x"))[0] == 50.0
    assert 'aria-label="m: 70.0 [65.0, 72.0]"' in drawing


def test_parts_of_a_whole_fill_the_line() -> None:
    drawing = charts.stacked([("correct", 3, "3 correct"), ("none", 0, ""), ("wrong", 1, "1 wrong")], "words")
    assert values(drawing, "width") == [75.0, 25.0]
    assert values(charts.stacked([("correct", 0, "")], "nothing"), "width") == []


def test_a_curve_has_a_mark_for_each_point_and_a_whisker_for_each_interval() -> None:
    lines = [
        DrawnLine(name="m", css="s1", shape="circle", points=[(1024, 50, (48, 52)), (2048, 60, (58, 62))]),
        DrawnLine(name="p", css="pub", shape="diamond", points=[(1024, 51, None), (2048, 61, None)], dashed=True),
    ]
    drawing = charts.curves(lines, Axis(ticks=[(1024, "1k"), (2048, "2k")]), "words")
    assert (drawing.count("dot s1"), drawing.count("whisker s1")) == (2, 2)
    assert (drawing.count("dot pub"), drawing.count("whisker pub"), drawing.count("curve pub dashed")) == (2, 0, 1)


def test_foreign_text_in_a_drawing_stays_text() -> None:
    point = ChartPoint(value=1, interval=None, css="s1", shape="bar", label='"><script>alert(1)</script>')
    drawings = [
        charts.interval_row(Plot(scale=Scale(0, 2)), point),
        charts.stacked([("wrong", 1, point.label)], point.label),
        charts.histogram([(point.label, [("wrong", 1)])], point.label),
        charts.sparkline([1.0, 2.0], "s1", point.label),
        charts.two_sided(1, 2, 2, point.label),
    ]
    assert all("<script" not in drawing and " style=" not in drawing for drawing in drawings)


def test_values_outside_a_scale_are_drawn_at_its_ends_and_one_value_in_the_middle() -> None:
    assert (Scale(0, 10)(-5), Scale(0, 10)(20), Scale(3, 3)(3)) == (0.0, 100.0, 50.0)
    assert charts.sparkline([0.5], "s1", "one value").count("<circle") == 1
