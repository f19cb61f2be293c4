"""Draws a heat map with matplotlib, as an SVG file for light and dark pages: the fuller, the higher."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from kvl_eval.reports.curves import SETTINGS, WIDE, Canvas, colour_of, themed
from kvl_eval.reports.heatmap import Heatmap
from kvl_eval.reports.numbers import budget_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES, HEAD_INCHES = 0.3, 1.5
FAINT, SPAN = 0.06, 0.44  # opacity of 0 percent, and what 100 percent adds: letters stay readable on both pages
LETTER = 0.62 / 72  # inches that a letter of one point is wide


def heatmap_file(heatmap: Heatmap, form: Canvas = WIDE) -> str:
    """The map as the text of an SVG file that needs nothing else."""
    import matplotlib

    drawn = io.StringIO()
    with matplotlib.rc_context({**SETTINGS, "font.size": form.text}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that matplotlib's own font lacks; the reader's has them
        _draw(heatmap, form).savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return themed(drawn.getvalue())


def _draw(heatmap: Heatmap, form: Canvas) -> Figure:
    from matplotlib.figure import Figure

    height = HEAD_INCHES + ROW_INCHES * len(heatmap.rows)
    figure = Figure(figsize=(form.width, height), facecolor=colour_of("paper"), layout="constrained")
    figure.suptitle(f"score by {heatmap.down} and {heatmap.across}, %", color=colour_of("ink"), fontsize=form.text)
    axes = figure.subplots()
    axes.set_facecolor("none")
    _cells(axes, heatmap, _letters(heatmap, form))
    axes.set_xlim(0, len(heatmap.columns))
    axes.set_ylim(len(heatmap.rows), 0)
    _axis_labels(axes, heatmap, form)
    return figure


def _letters(heatmap: Heatmap, form: Canvas) -> float:
    """Points of the text in a cell; 0 where it would not fit."""
    room = 0.85 * (form.width - 1.0) / max(1, len(heatmap.columns))
    longest = max(len(heatmap.text(row, column)) for row, column in heatmap.cells)
    points = min(form.text, room / (LETTER * longest))
    return points if points >= 5 else 0.0


def _cells(axes: Axes, heatmap: Heatmap, points: float) -> None:
    from matplotlib.patches import Rectangle

    for y, row in enumerate(heatmap.rows):
        for x, column in enumerate(heatmap.columns):
            value = heatmap.cells.get((row, column))
            if value is None:
                continue
            place = (x + 0.02, y + 0.02)
            axes.add_patch(Rectangle(place, 0.96, 0.96, color=colour_of("c0"), alpha=FAINT + SPAN * value, linewidth=0))
            if points:
                text = heatmap.text(row, column)
                axes.text(x + 0.5, y + 0.52, text, ha="center", va="center", color=colour_of("ink"), fontsize=points)


def _axis_labels(axes: Axes, heatmap: Heatmap, form: Canvas) -> None:
    room = 72 * (form.width - 1.0) / max(1, len(heatmap.columns))  # points of a column
    names = [budget_label(int(name)) if name.isdecimal() else name for name in heatmap.columns]
    turned = len(names) > 8
    size = min(form.text, 0.8 * room) if turned else form.text
    places = [x + 0.5 for x in range(len(names))]
    axes.set_xticks(places, names, rotation=90 if turned else 0, fontsize=size)
    axes.set_yticks([y + 0.5 for y in range(len(heatmap.rows))], list(heatmap.rows))
    axes.set_xlabel(heatmap.across, color=colour_of("ink"))
    axes.set_ylabel(heatmap.down, color=colour_of("ink"))
    axes.tick_params(colors=colour_of("ink"), which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
