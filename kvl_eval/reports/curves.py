"""Draws a chart of scores against thinking budgets with matplotlib, as an SVG file for light and dark pages.

Two panels share a logarithmic axis of budgets: above, scores with their interval bands and the published curve; below,
the share of outputs whose thought the budget ended. Curves differ in marker and dash as well as in colour. Text stays
text; colours are variables of a style sheet inside the file, which follows the reader's colour scheme.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvl_eval.reports import numbers
from kvl_eval.reports.budgets import Chart, Curve, budget_of, capped_share
from kvl_eval.reports.numbers import budget_label
from kvl_eval.store.result_records import ResultRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# name: (stand-in that matplotlib draws with and is replaced, light, dark)
COLOURS = {
    "paper": ("#fefef0", "#ffffff", "#14171b"),
    "ink": ("#010101", "#16191d", "#e7eaee"),
    "rule": ("#d0d0d1", "#d5dbe1", "#353d46"),
    "published": ("#a34701", "#a34700", "#ff9d57"),
    "c0": ("#0b5fb1", "#0b5fb0", "#7db9f7"),
    "c1": ("#87309c", "#87309b", "#e0a0f0"),
    "c2": ("#17692e", "#17692f", "#74d08c"),
    "c3": ("#8a5a01", "#8a5a00", "#e5bf5c"),
    "c4": ("#a3211c", "#a3211b", "#ff9188"),
}
LOOKS: tuple[tuple[str, str, Any], ...] = (  # colour, marker, dashes; a sixth curve looks like the first
    ("c0", "o", "-"),
    ("c1", "s", (0, (6, 2.5))),
    ("c2", "^", (0, (2, 2))),
    ("c3", "v", (0, (8, 2.5, 2, 2.5))),
    ("c4", "X", (0, (4, 4))),
)
UNMEASURED: Any = (0, (3, 1.5))  # dashes
PUBLISHED: tuple[str, str, Any] = ("published", "D", (0, (1, 2.5)))
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kvl-eval",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "axes.unicode_minus": False,
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size of a drawing in inches, of its text in points, and how much it holds."""

    width: float
    height: float
    text: float
    label: int  # characters of a curve's name in the legend
    ticks: float  # least distance of two labels on the axis of budgets, as a share of it


WIDE = Canvas(width=7.6, height=4.6, text=10.0, label=80, ticks=0.06)
NARROW = Canvas(width=3.6, height=4.4, text=9.0, label=44, ticks=0.14)


def chart_file(chart: Chart, form: Canvas = WIDE) -> str:
    """The chart as the text of an SVG file that needs nothing else: styles, title and legend inside."""
    import matplotlib

    drawn = io.StringIO()
    with matplotlib.rc_context({**SETTINGS, "font.size": form.text}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that matplotlib's own font lacks; the reader's has them
        _draw(chart, form).savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return themed(drawn.getvalue())


def spoken(chart: Chart) -> str:
    """What the picture shows, in words."""
    sentences = [f"{chart.title}: score by thinking budget."]
    for curve in chart.curves:
        points = ", ".join(f"{numbers.headline(row)} at {budget_label(budget_of(row))}" for row in curve.rows)
        sentences.append(f"{curve.name}: {points}.")
    if chart.published:
        points = ", ".join(f"{score.printed} at {budget_label(tokens)}" for tokens, score in chart.published)
        sentences.append(f"Published: {points}.")
    return " ".join([*sentences, "The tables below list all values."])


def themed(svg: str) -> str:
    """The drawing with variables for colours and their values for both schemes."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for name, (stand_in, _, _) in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    light, dark = ("; ".join(f"--{name}: {both[which]}" for name, both in COLOURS.items()) for which in (1, 2))
    style = f"<style>:root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}</style>"
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    text = svg[start:end] + style + svg[end:]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text.replace("'DejaVu Sans'", FONTS)


# -- the drawing ------------------------------------------------------------------------------------------------


def colour_of(name: str) -> str:
    return COLOURS[name][0]


def _draw(chart: Chart, form: Canvas) -> Figure:
    from matplotlib.figure import Figure

    named = [curve.name for curve in chart.curves] + ([chart.source] if chart.published else [])
    legend = 1.7 * form.text / 72 * (len(named) + 1.2)
    figure = Figure(figsize=(form.width, form.height + legend), facecolor=colour_of("paper"), layout="constrained")
    figure.suptitle(f"{chart.title}: score by thinking budget", color=colour_of("ink"), fontsize=form.text * 1.15)
    scores, shares = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    budgets = sorted({budget_of(row) for row in _rows(chart)} | {tokens for tokens, _ in chart.published})
    x = log_axis(budgets)
    _prepare(scores, "score, %", _score_range(chart))
    _prepare(shares, "ended by\nbudget, %", (0.0, 1.0))
    _budget_axis(shares, budgets, x, form)
    if chart.published:
        points = [(x(tokens), score.value) for tokens, score in chart.published]
        _line(scores, PUBLISHED, points, "published")
    for number, curve in enumerate(chart.curves):
        look = look_of(number, curve)
        _band(scores, look, curve, x, f"band-{number}")
        points = [(x(budget_of(row)), row.score) for row in curve.rows if row.score is not None]
        _line(scores, look, points, f"scores-{number}")
        capped = [(x(budget_of(row)), capped_share(row)) for row in curve.rows if row.n_ok]
        _line(shares, look, capped, f"shares-{number}")
    _legend(figure, chart, named, form)
    return figure


def _rows(chart: Chart) -> Iterable[ResultRow]:
    return (row for curve in chart.curves for row in curve.rows)


def log_axis(budgets: Sequence[int]) -> Callable[[float], float]:
    """Tokens -> octaves above the least of `budgets`; 0, which has no logarithm, stands an octave below it."""
    least = math.log2(min((tokens for tokens in budgets if tokens > 0), default=1))
    return lambda tokens: math.log2(tokens) - least if tokens > 0 else -1.0


def _score_range(chart: Chart) -> tuple[float, float]:
    """Whole tens of percent around every score, interval and published result, at least twenty apart."""
    values = [score.value for _, score in chart.published]
    for row in _rows(chart):
        values += [*(row.ci95 or ()), *([] if row.score is None else [row.score])]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = math.floor(low * 10 + 1e-9), math.ceil(high * 10 - 1e-9)
    while high - low < 2:
        low, high = max(0, low - 1), min(10, high + 1)
    return low / 10, high / 10


def _prepare(axes: Axes, label: str, span: tuple[float, float]) -> None:
    """Empty axes of percent over `span`, with quiet rules."""
    from matplotlib.ticker import MultipleLocator, PercentFormatter

    low, high = span
    axes.set_facecolor("none")
    axes.set_ylim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    axes.set_ylabel(label, color=colour_of("ink"))
    axes.yaxis.set_major_locator(
        MultipleLocator(0.5 if high - low == 1 and low == 0 else 0.1 if high - low <= 0.5 else 0.2)
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    axes.grid(axis="y", color=colour_of("rule"), linewidth=0.8)
    axes.tick_params(colors=colour_of("ink"), which="both")
    for side, spine in axes.spines.items():
        spine.set_color(colour_of("rule"))
        spine.set_visible(side == "bottom")


def _budget_axis(axes: Axes, budgets: Sequence[int], x: Callable[[float], float], form: Canvas) -> None:
    places = [x(tokens) for tokens in budgets]
    width = max(places[-1] - places[0], 1e-9) if places else 1.0
    labels, last = [], -math.inf
    for tokens, place in zip(budgets, places, strict=True):
        fits = (place - last) / width >= form.ticks
        labels.append(budget_label(tokens) if fits else "")
        last = place if fits else last
    axes.set_xticks(places, labels)
    margin = 0.06 * width if len(set(places)) > 1 else 1.0
    axes.set_xlim(min(places, default=0.0) - margin, max(places, default=0.0) + margin)
    axes.set_xlabel("thinking budget in tokens, logarithmic", color=colour_of("ink"))


def look_of(number: int, curve: Curve) -> tuple[str, str, Any]:
    """Colour, marker and dashes of a curve; one whose thoughts were not measured has short dashes."""
    colour, marker, dashes = LOOKS[number % len(LOOKS)]
    return colour, marker, UNMEASURED if curve.is_approximate else dashes


def _line(axes: Axes, look: tuple[str, str, Any], points: Sequence[tuple[float, float]], name: str) -> None:
    colour, marker, dashes = look
    hollow = look is PUBLISHED
    axes.plot(
        [at for at, _ in points],
        [value for _, value in points],
        color=colour_of(colour),
        linestyle=dashes,
        linewidth=1.8,
        marker=marker,
        markersize=6.5,
        markerfacecolor=colour_of("paper" if hollow else colour),
        markeredgecolor=colour_of(colour if hollow else "paper"),
        clip_on=False,
        gid=name,
    )


def _band(axes: Axes, look: tuple[str, str, Any], curve: Curve, x: Callable[[float], float], name: str) -> None:
    """The intervals as an area, and as whiskers, which alone are seen where a curve has one point."""
    ends = [(x(budget_of(row)), *row.ci95) for row in curve.rows if row.ci95 is not None]
    if not ends:
        return
    places, low, high = (list(values) for values in zip(*ends, strict=True))
    colour = colour_of(look[0])
    axes.fill_between(places, low, high, color=colour, alpha=0.14, linewidth=0, gid=name)
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    reach = [b - a for a, b in zip(low, middle, strict=True)]
    axes.errorbar(places, middle, yerr=reach, fmt="none", ecolor=colour, elinewidth=0.9, capsize=3, alpha=0.6)


def _legend(figure: Figure, chart: Chart, named: Sequence[str], form: Canvas) -> None:
    from matplotlib.lines import Line2D

    looks = [look_of(number, curve) for number, curve in enumerate(chart.curves)]
    looks += [PUBLISHED] if chart.published else []
    handles = []
    for (colour, marker, dashes), name in zip(looks, named, strict=True):
        label = name if len(name) <= form.label else f"{name[: form.label - 1]}…"
        line = Line2D([], [], color=colour_of(colour), linestyle=dashes, linewidth=1.8, marker=marker, label=label)
        line.set_markerfacecolor(colour_of("paper" if colour == "published" else colour))
        handles.append(line)
    figure.legend(
        handles=handles, loc="outside lower left", frameon=False, labelcolor=colour_of("ink"), fontsize=form.text
    )
