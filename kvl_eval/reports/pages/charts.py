"""Charts as inline SVG whose x positions are percentages and whose y positions are pixels.

One drawing therefore fits every width without scaling its text, prints as vectors, and takes its colors from the style
sheet. Nothing here needs a script or a style attribute. Every drawing says its numbers in an `aria-label`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from kvl_eval.types import Interval

SHAPES = ("circle", "square", "triangle", "pentagon", "bar", "cross")
"""Marks of the report's own models, in the order of their colors `s1` to `s6`."""
PATHS = {
    "square": "M-5 -5h10v10h-10z",
    "triangle": "M0 -6.5l6.2 11h-12.4z",
    "pentagon": "M0 -6.2l5.9 4.3-2.3 6.9h-7.2l-2.3 -6.9z",
    "bar": "M-2.4 -6.5h4.8v13h-4.8z",
    "cross": "M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "diamond": "M0 -6.5l5.5 6.5-5.5 6.5-5.5-6.5z",
}
SMALLEST = 1e-9


def percent(value: float) -> str:
    """`12.50%`."""
    return f"{value:.2f}%"


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high], about so many: steps of 1, 2 or 5 times a power of ten."""
    raw = max(high - low, SMALLEST) / max(1, about)
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * k for k in (1, 2, 5, 10) if base * k >= raw * 0.999)
    start = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(start, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to percent of a drawing's width (or pixels of its height), linear or by powers of two."""

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value is drawn; values outside are drawn at the nearer end."""
        low, high, at = (self._of(number) for number in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def _of(self, value: float) -> float:
        return math.log2(max(value, SMALLEST)) if self.log else value


def span(values: Iterable[float], pad: float = 0.06) -> Interval:
    """The range of values, wider by a share of itself on both sides."""
    numbers = list(values)
    low, high = min(numbers), max(numbers)
    room = max(high - low, 0.5) * pad
    return low - room, high + room


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPoint:
    """One value of a chart.

    Attributes:
        interval: drawn as a whisker; None where none is known.
        css:      the series: `s1` to `s6`, `rest`, `pub`.
        label:    what it is, in words, with its numbers.
        faint:    whether the interval is not the value's own.
    """

    value: float
    interval: Interval | None
    css: str
    shape: str
    label: str
    faint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What the drawings of one column of a table share."""

    scale: Scale
    ticks: Sequence[float] = ()
    zero: float | None = None
    height: int = 26


def mark(shape: str, x: float, y: float, css: str, title: str = "") -> str:
    """A point whose shape also says the series; published results are hollow diamonds."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    if shape == "circle":
        return f'<circle class="{css}" cx="{percent(x)}" cy="{y:.1f}" r="5">{tip}</circle>'
    hollow = " hollow" if shape == "diamond" else ""
    path = f'<path class="{css}{hollow}" d="{PATHS[shape]}">{tip}</path>'
    return f'<svg x="{percent(x)}" y="{y:.1f}" class="at">{path}</svg>'


def key(shape: str, css: str, size: int = 12) -> Markup:
    """The mark of a series, for legends and names."""
    hollow = " hollow" if shape == "diamond" else ""
    drawn = f'<circle class="dot {css}" r="5"/>'
    if shape != "circle":
        drawn = f'<path class="dot {css}{hollow}" d="{PATHS[shape]}"/>'
    box = f'class="key" width="{size}" height="{size}" viewBox="-7 -7 14 14" aria-hidden="true"'
    return Markup(f"<svg {box}>{drawn}</svg>")


def axis(plot: Plot, labels: Sequence[str] = (), height: int = 20) -> Markup:
    """A row of tick labels for the head of a column of drawings."""
    parts = []
    first = plot.ticks.index(0) if 0 in plot.ticks else 0  # narrow screens show every second one, zero among them
    for number, tick in enumerate(plot.ticks):
        text = labels[number] if labels else f"{tick:g}"
        x = plot.scale(tick)
        anchor = "start" if x < 3 else "end" if x > 97 else "middle"
        odd = " odd" if (number - first) % 2 and len(plot.ticks) > 3 else ""
        place = f'x="{percent(x)}" y="{height - 6}" text-anchor="{anchor}"'
        parts.append(f'<text class="tick{odd}" {place}>{escape(text)}</text>')
    return Markup(f'<svg class="row-axis" height="{height}" aria-hidden="true">{"".join(parts)}</svg>')


def rows_chart(plot: Plot, points: Sequence[ChartPoint], label: str, apart: float = 0.0) -> Markup:
    """One line of a chart table: whiskers first, then marks, `apart` pixels below each other."""
    middle = plot.height / 2 - apart * (len(points) - 1) / 2
    places = [middle + apart * number for number in range(len(points))]
    whiskers = "".join(_whisker(plot, point, y) for point, y in zip(points, places, strict=True))
    marks = "".join(
        mark(point.shape, plot.scale(point.value), y, f"dot {point.css}{' small' if apart else ''}", point.label)
        for point, y in zip(points, places, strict=True)
    )
    return _row(plot.height, label, _grid(plot) + whiskers + marks)


def interval_row(plot: Plot, point: ChartPoint) -> Markup:
    """One line of a dot plot or forest plot: a whisker for the interval, a mark for the value."""
    return rows_chart(plot, [point], point.label)


def fall(plot: Plot, ends: Interval, css: str, whisker: Interval | None, label: str) -> Markup:
    """One step of a waterfall: a bar between two values, an interval over it, and a line on to the next step."""
    start, end, middle = plot.scale(ends[0]), plot.scale(ends[1]), plot.height / 2
    width = max(abs(end - start), 0.4)
    place = f'x="{percent(min(start, end))}" y="{middle - 8:.1f}" width="{percent(width)}" height="16" rx="2"'
    bar = f'<rect class="fall {css}" {place}><title>{escape(label)}</title></rect>'
    line = f'<line class="link" x1="{percent(end)}" x2="{percent(end)}" y1="{middle:.1f}" y2="{plot.height}"/>'
    point = ChartPoint(value=ends[1], interval=whisker, css="ink", shape="bar", label=label)
    return _row(plot.height, label, _grid(plot) + line + bar + _whisker(plot, point, middle))


def stacked(parts: Sequence[tuple[str, float, str]], label: str, height: int = 22) -> Markup:
    """Parts of a whole on one line; `parts` are (class, number, words) and fill the line."""
    total, x, drawn = sum(number for _, number, _ in parts), 0.0, []
    for css, number, words in parts:
        width = 100 * number / total if total else 0.0
        if number:
            place = f'x="{percent(x)}" y="0" width="{percent(width)}" height="{height}"'
            drawn.append(f'<rect class="part {css}" {place}><title>{escape(words)}</title></rect>')
        x += width
    return _row(height, label, "".join(drawn), " stacked")


def two_sided(left: float, right: float, most: float, label: str, height: int = 34) -> Markup:
    """Two bars from a middle line: what speaks for one side, and for the other."""
    scale = Scale(-most, most) if most else Scale(-1, 1)
    zero, a, b = scale(0), scale(-left), scale(right)
    bars = "".join(
        f'<rect class="fall {css}" x="{percent(x)}" width="{percent(width)}" y="9" height="{height - 18}"/>'
        for css, x, width in (("only-a", a, zero - a), ("only-b", zero, b - zero))
        if width > 0
    )
    line = f'<line class="zero" x1="50%" x2="50%" y1="2" y2="{height - 2}"/>'
    return _row(height, label, bars + line)


def histogram(bins: Sequence[tuple[str, Sequence[tuple[str, int]]]], label: str, height: int = 190) -> Markup:
    """Stacked columns; `bins` are (label, [(class, number), ...])."""
    highest = max((sum(number for _, number in parts) for _, parts in bins), default=0) or 1
    ys = Scale(0, highest * 1.06, height - 26, 8)
    left, width = 7.0, 92.0 / max(1, len(bins))
    drawn = [_level(left - 0.6, 99, left - 1.4, ys(tick), f"{tick:g}") for tick in nice_ticks(0, highest, 4)]
    for place, (name, parts) in enumerate(bins):
        drawn += _columns(name, parts, ys, left + width * (place + 0.09), width * 0.82)
        middle, odd = percent(left + width * (place + 0.5)), " odd" if place % 2 else ""
        drawn.append(
            f'<text class="tick{odd}" x="{middle}" y="{height - 8}" text-anchor="middle">{escape(name)}</text>'
        )
    return _chart(height, label, "".join(drawn))


def _columns(name: str, parts: Sequence[tuple[str, int]], ys: Scale, x: float, width: float) -> Iterator[str]:
    base = 0
    for css, number in parts:
        if number:
            top, bottom = ys(base + number), ys(base)
            place = f'x="{percent(x)}" width="{percent(width)}" y="{top:.1f}" height="{bottom - top:.1f}"'
            yield f'<rect class="part {css}" {place}><title>{escape(f"{name} tokens: {number:,} {css}")}</title></rect>'
        base += number


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLine:
    """A curve: its points are (x, y, interval of y or None), by x."""

    name: str
    css: str
    shape: str
    points: Sequence[tuple[float, float, Interval | None]]
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The x axis of curves: labeled values, a name, and whether it grows by powers of two."""

    ticks: Sequence[tuple[float, str]]
    name: str = ""
    log: bool = True


def curves(lines: Sequence[DrawnLine], axis: Axis, label: str, height: int = 250) -> Markup:
    """Lines with whiskers over a shared x axis."""
    xs = [*(point[0] for line in lines for point in line.points), *(tick for tick, _ in axis.ticks)]
    values = [value for line in lines for _, y, bounds in line.points for value in (y, *(bounds or ()))]
    x = Scale(min(xs), max(xs), 14, 94, log=axis.log)
    low, high = span(values, 0.08)
    y = Scale(low, high, height - 40, 12)
    drawn = [_level(11, 98, 9.5, y(tick), f"{tick:g}") for tick in nice_ticks(low, high, 7)]
    for place, (tick, text) in enumerate(axis.ticks):
        odd = " odd" if place % 2 and len(axis.ticks) > 5 else ""
        at = f'x="{percent(x(tick))}" y="{height - 24}" text-anchor="middle"'
        drawn.append(f'<text class="tick{odd}" {at}>{escape(text)}</text>')
    if axis.name:
        drawn.append(
            f'<text class="tick name" x="54%" y="{height - 5}" text-anchor="middle">{escape(axis.name)}</text>'
        )
    for line in lines:
        drawn += _curve(line, x, y)
    return _chart(height, label, "".join(drawn))


def _curve(line: DrawnLine, x: Scale, y: Scale) -> Iterator[str]:
    dashed = " dashed" if line.dashed else ""
    for (x1, y1, _), (x2, y2, _) in pairwise(line.points):
        ends = f'x1="{percent(x(x1))}" x2="{percent(x(x2))}" y1="{y(y1):.1f}" y2="{y(y2):.1f}"'
        yield f'<line class="curve {line.css}{dashed}" {ends}/>'
    for at, value, bounds in line.points:
        if bounds is not None:
            ends = f'y1="{y(bounds[0]):.1f}" y2="{y(bounds[1]):.1f}"'
            yield f'<line class="whisker {line.css}" x1="{percent(x(at))}" x2="{percent(x(at))}" {ends}/>'
        words = f"{line.name}: {value:.1f}" + ("" if bounds is None else f" [{bounds[0]:.1f}, {bounds[1]:.1f}]")
        yield mark(line.shape, x(at), y(value), f"dot {line.css}", f"{words} at {at:,.0f}")


def sparkline(values: Sequence[float], css: str, label: str, height: int = 44) -> Markup:
    """A curve without axes."""
    low, high = span(values, 0.15)
    x, y = Scale(0, max(1, len(values) - 1), 3, 97), Scale(low, high, height - 6, 6)
    places = [(percent(x(place)), y(value)) for place, value in enumerate(values)]
    drawn = [
        f'<line class="curve {css}" x1="{x1}" x2="{x2}" y1="{y1:.1f}" y2="{y2:.1f}"/>'
        for (x1, y1), (x2, y2) in pairwise(places)
    ]
    drawn += [mark("circle", x(place), y(value), f"dot small {css}") for place, value in enumerate(values)]
    return _chart(height, label, "".join(drawn))


def _whisker(plot: Plot, point: ChartPoint, y: float) -> str:
    if point.interval is None:
        return ""
    ends = f'x1="{percent(plot.scale(point.interval[0]))}" x2="{percent(plot.scale(point.interval[1]))}"'
    return f'<line class="whisker {point.css}{" faint" if point.faint else ""}" {ends} y1="{y:g}" y2="{y:g}"/>'


def _grid(plot: Plot) -> str:
    values = [("grid", tick) for tick in plot.ticks] + ([] if plot.zero is None else [("zero", plot.zero)])
    return "".join(
        f'<line class="{css}" x1="{x}" x2="{x}" y1="0" y2="{plot.height}"/>'
        for css, x in ((css, percent(plot.scale(value))) for css, value in values)
    )


def _level(left: float, right: float, text_at: float, y: float, text: str) -> str:
    """A line of the grid with its label on the left."""
    line = f'<line class="grid" x1="{percent(left)}" x2="{percent(right)}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text class="tick" x="{percent(text_at)}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _row(height: int, label: str, drawn: str, css: str = "") -> Markup:
    return Markup(
        f'<svg class="row-chart{css}" height="{height}" role="img" aria-label="{escape(label)}">{drawn}</svg>'
    )


def _chart(height: int, label: str, drawn: str) -> Markup:
    return Markup(f'<svg class="chart" height="{height}" role="img" aria-label="{escape(label)}">{drawn}</svg>')
