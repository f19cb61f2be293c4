"""Draws a chart of scores against thinking budgets as SVG: no script, no library, colours from `assets/curves.css`.

Two panels share a logarithmic axis of budgets: above, scores with their interval bands and the published curve; below,
the share of outputs whose thought the budget ended. Curves differ in marker and dash as well as in colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from kvl_eval.reports import figures
from kvl_eval.reports.budgets import Chart, Curve, capped_share
from kvl_eval.reports.figures import Row, budget_label

WIDTH, LEFT, RIGHT = 640.0, 62.0, 22.0
TOP, SCORES, GAP, SHARES, BOTTOM = 24.0, 240.0, 36.0, 76.0, 44.0
LEGEND_LINE = 22.0
STYLES = 5  # looks of our curves; a sixth curve looks like the first
LABEL = 70  # characters of a curve's name in a legend
NARROWEST = 40.0  # between two labels of the axis of budgets
CSS = Path(__file__).resolve().parent / "assets" / "curves.css"

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class _Panel:
    """Where a panel stands and what its axis shows: `low` to `high` are fractions."""

    top: float
    height: float
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - (value - self.low) / (self.high - self.low))


def chart_svg(chart: Chart) -> str:
    """The chart as an `svg` element for a page that links `assets/curves.css`."""
    return ET.tostring(_draw(chart), encoding="unicode")


def chart_file(chart: Chart) -> str:
    """The chart as an SVG file of its own: styles, title and legend inside, light and dark."""
    drawn = _draw(chart)
    drawn.set("xmlns", "http://www.w3.org/2000/svg")
    names = [(style_of(number), curve.name) for number, curve in enumerate(chart.curves)]
    names += [("published", chart.source)] if chart.published else []
    above = LEGEND_LINE * (len(names) + 1) + 8
    height = _height() + above
    drawn.set("viewBox", f"0 {-above:.0f} {WIDTH:.0f} {height:.0f}")
    drawn.set("width", f"{WIDTH:.0f}")
    drawn.set("height", f"{height:.0f}")
    style = ET.Element("style")
    style.text = CSS.read_text(encoding="utf-8")
    paper = ET.Element("rect", {"class": "paper", "x": "0", "y": f"{-above:.0f}", "width": "100%", "height": "100%"})
    drawn[:0] = [style, paper]
    _text(drawn, 12, -above + 20, f"{chart.title}: score by thinking budget", "head")
    for number, (look, name) in enumerate(names):
        _legend_line(drawn, look, name, -above + LEGEND_LINE * (number + 2))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(drawn, encoding="unicode") + "\n"


def swatch_svg(look: str) -> str:
    """A short piece of a curve for a legend; `look` comes from `style_of`, or is `published`."""
    drawn = ET.Element("svg", {"class": "curve swatch", "viewBox": "0 0 44 16", "aria-hidden": "true"})
    _swatch(drawn, look, 2, 8)
    return ET.tostring(drawn, encoding="unicode")


def style_of(number: int) -> str:
    """The look of the chart's n-th curve."""
    return f"c{number % STYLES}"


def _legend_line(drawn: ET.Element, look: str, name: str, y: float) -> None:
    _swatch(drawn, look, 12, y - 5)
    _text(drawn, 62, y, name if len(name) <= LABEL else name[: LABEL - 1] + "…")


def _swatch(drawn: ET.Element, look: str, x: float, y: float) -> None:
    group = _add(drawn, "g", look)
    _add(group, "path", "line", d=f"M{x:.1f} {y:.1f}h40")
    _marker(group, look, x + 20, y)


# -- the drawing ------------------------------------------------------------------------------------------------


def _height() -> float:
    return TOP + SCORES + GAP + SHARES + BOTTOM


def _draw(chart: Chart) -> ET.Element:
    drawn = ET.Element("svg", {"class": "curve", "viewBox": f"0 0 {WIDTH:.0f} {_height():.0f}", "role": "img"})
    drawn.set("aria-labelledby", f"curve-{chart.key}-title curve-{chart.key}-desc")
    _add(drawn, "title", id=f"curve-{chart.key}-title").text = f"{chart.title}: score by thinking budget"
    _add(drawn, "desc", id=f"curve-{chart.key}-desc").text = _spoken(chart)
    budgets = sorted({int(row["budget"]) for row in _rows(chart)} | {tokens for tokens, _ in chart.published})
    x = log_axis(budgets)
    scores = _Panel(TOP, SCORES, *_score_range(chart))
    shares = _Panel(TOP + SCORES + GAP, SHARES, 0.0, 1.0)
    _grid(drawn, scores, _steps(scores), "score, %")
    _grid(drawn, shares, (0.0, 0.5, 1.0), "thoughts ended by the budget, %")
    _budget_axis(drawn, budgets, x)
    for number, curve in enumerate(chart.curves):
        _band(_add(drawn, "g", style_of(number)), curve, x, scores)
    if chart.published:
        points = [
            (x(tokens), scores.y(score.value), f"published, {budget_label(tokens)}: {score.printed}")
            for tokens, score in chart.published
        ]
        _line(drawn, "published", points)
    for number, curve in enumerate(chart.curves):
        _line(drawn, style_of(number), _score_points(curve, x, scores))
        _line(drawn, style_of(number), _share_points(curve, x, shares))
    return drawn


def _rows(chart: Chart) -> Iterable[Row]:
    return (row for curve in chart.curves for row in curve.rows)


def _spoken(chart: Chart) -> str:
    """What the picture shows, in words."""
    told = []
    for curve in chart.curves:
        points = ", ".join(f"{figures.headline(row)} at {budget_label(int(row['budget']))}" for row in curve.rows)
        told.append(f"{curve.name}: {points}.")
    if chart.published:
        points = ", ".join(f"{score.printed} at {budget_label(tokens)}" for tokens, score in chart.published)
        told.append(f"Published: {points}.")
    return " ".join([*told, "The tables below hold all values."])


def log_axis(budgets: Sequence[int]) -> Scale:
    """Tokens -> x on a logarithmic axis over `budgets`; 0 has no logarithm and stands an octave left of the rest."""
    positive = [tokens for tokens in budgets if tokens > 0]
    low = math.log2(min(positive, default=1))
    high = math.log2(max(positive, default=1))
    low -= 1.0 if 0 in budgets and positive else 0.0
    if high - low < 1e-9:
        return lambda tokens: (LEFT + WIDTH - RIGHT) / 2

    def x(tokens: float) -> float:
        place = (math.log2(tokens) - low) / (high - low) if tokens > 0 else 0.0
        return LEFT + 14 + place * (WIDTH - RIGHT - LEFT - 28)

    return x


def _score_range(chart: Chart) -> tuple[float, float]:
    """Whole tens of percent around every score, interval and published figure, at least twenty apart."""
    values = [score.value for _, score in chart.published]
    for row in _rows(chart):
        values += [*(row.get("ci95") or ()), *([row["score"]] if row.get("score") is not None else [])]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = math.floor(low * 10 + 1e-9), math.ceil(high * 10 - 1e-9)
    while high - low < 2:
        low, high = max(0, low - 1), min(10, high + 1)
    return low / 10, high / 10


def _steps(panel: _Panel) -> list[float]:
    tens = round((panel.high - panel.low) * 10)
    first = round(panel.low * 10)
    step = 1 if tens <= 5 else 2
    return [tenth / 10 for tenth in range(first + first % step, first + tens + 1, step)]


def _grid(drawn: ET.Element, panel: _Panel, steps: Iterable[float], label: str) -> None:
    for value in steps:
        y = panel.y(value)
        _add(drawn, "path", "rule", d=f"M{LEFT:.1f} {y:.1f}H{WIDTH - RIGHT:.1f}")
        _text(drawn, LEFT - 8, y + 5, f"{100 * value:.0f}", "end")
    _text(drawn, LEFT + 2, panel.top - 5, label, "what")


def _budget_axis(drawn: ET.Element, budgets: Sequence[int], x: Scale) -> None:
    floor = TOP + SCORES + GAP + SHARES
    last = -math.inf
    for tokens in budgets:
        at = x(tokens)
        _add(drawn, "path", "tick", d=f"M{at:.1f} {floor:.1f}v5")
        if at - last >= NARROWEST:
            _text(drawn, at, floor + 21, budget_label(tokens), "middle")
            last = at
    _text(drawn, (LEFT + WIDTH - RIGHT) / 2, floor + 39, "thinking budget in tokens, logarithmic", "middle what")


def _band(group: ET.Element, curve: Curve, x: Scale, panel: _Panel) -> None:
    """The intervals as an area, and as whiskers, which alone are seen where a curve has one point."""
    ends = [(x(row["budget"]), *(panel.y(bound) for bound in row["ci95"])) for row in curve.rows if row.get("ci95")]
    if len(ends) > 1:
        there = [f"{at:.1f} {low:.1f}" for at, low, _ in ends]
        back = [f"{at:.1f} {high:.1f}" for at, _, high in reversed(ends)]
        _add(group, "path", "band", d="M" + "L".join([*there, *back]) + "z")
    for at, low, high in ends:
        _add(group, "path", "whisker", d=f"M{at - 4:.1f} {low:.1f}h8m-4 0V{high:.1f}m-4 0h8")


def _score_points(curve: Curve, x: Scale, panel: _Panel) -> list[tuple[float, float, str]]:
    return [
        (x(row["budget"]), panel.y(row["score"]), _point_name(curve, row, figures.headline(row), figures.interval(row)))
        for row in curve.rows
        if row.get("score") is not None
    ]


def _share_points(curve: Curve, x: Scale, panel: _Panel) -> list[tuple[float, float, str]]:
    shares = [(row, capped_share(row)) for row in curve.rows if row.get("n_ok")]
    return [
        (x(row["budget"]), panel.y(share), _point_name(curve, row, figures.share(share, 1), "ended by the budget"))
        for row, share in shares
        if share is not None
    ]


def _point_name(curve: Curve, row: Row, *texts: str) -> str:
    return f"{curve.name}, {budget_label(int(row['budget']))}: {' '.join(text for text in texts if text)}"


def _line(drawn: ET.Element, look: str, points: Sequence[tuple[float, float, str]]) -> None:
    group = _add(drawn, "g", look)
    if len(points) > 1:
        _add(group, "path", "line", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points))
    for x, y, name in points:
        _add(_marker(group, look, x, y), "title").text = name


def _marker(group: ET.Element, look: str, x: float, y: float) -> ET.Element:
    """Each look has a marker of its own, so that curves can be told apart without colour."""
    shapes = {
        "c0": f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
        "c1": f"M{x - 4.5:.1f} {y - 4.5:.1f}h9v9h-9z",
        "c2": f"M{x:.1f} {y - 6:.1f}l6 10.5h-12z",
        "c3": f"M{x:.1f} {y + 6:.1f}l6-10.5h-12z",
        "c4": f"M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10",
        "published": f"M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8-8z",
    }
    return _add(group, "path", "marker", d=shapes[look])


def _add(parent: ET.Element, tag: str, look: str = "", **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {**({"class": look} if look else {}), **attributes})


def _text(parent: ET.Element, x: float, y: float, text: str, look: str = "") -> None:
    _add(parent, "text", look, x=f"{x:.1f}", y=f"{y:.1f}").text = text
