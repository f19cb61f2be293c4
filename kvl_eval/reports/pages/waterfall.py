"""Where the points between a score and its reference go, one line a step: ours, the parts, the rest, the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.sentences import interval, printed, signed, unsigned
from kvl_eval.explanation.text import known_by, label
from kvl_eval.explanation.units import GapPart
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.charts import ChartPoint, Plot, Scale
from kvl_eval.types import Interval
from kvl_eval.verdicts import p_text

HEIGHT = 46  # pixels of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallStep:
    """One line of the waterfall.

    Attributes:
        css:    `total`, `pub`, `open`, or nothing for a part.
        name:   of the step; `link` leads to its samples, `n` says how many.
        value:  in percent, or points of 1,000, not rounded; None where only bounds are known.
        points: the same as text; `interval` and `bounds` stand beside it.
        basis:  how it is known, in one word; `how` in a sentence.
    """

    css: str = ""
    name: str
    link: str = ""
    n: str = ""
    value: float | None
    points: str
    interval: str = ""
    bounds: str = ""
    drawn: Markup
    basis: str = ""
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionMark:
    """How a run is named and drawn.

    Attributes:
        others: whether the report has other runs or explains other results.
        names:  {run id: what the report calls it}.
    """

    run: int
    name: str
    css: str
    shape: str
    number: int
    others: bool
    names: Mapping[str, str] = field(default_factory=dict)


def _scaled(explanation: Explanation, value: float) -> float:
    """A fraction as it is printed: in percent, or points of 1,000."""
    return value * (1000 if explanation.unit == "points" else 100)


def _bounds(explanation: Explanation, bounds: Interval | None, start: float = 0.0) -> Interval | None:
    if bounds is None:
        return None
    return _scaled(explanation, start + bounds[0]), _scaled(explanation, start + bounds[1])


def waterfall_plot(explanation: Explanation) -> Plot:
    """The scale of all steps."""
    ends = [explanation.score.value, *(explanation.score.ci95 or ())]
    at = explanation.score.value
    for part in explanation.parts:
        ends += [at + part.value, at + part.ci95[0], at + part.ci95[1]]
        at += part.value
    if explanation.reference is not None and explanation.unexplained is not None:
        reference = explanation.reference
        ends += [reference.value, *(reference.ci95 or ())]
        ends += [at + bound for bound in explanation.unexplained.ci95_same_questions]
    low, high = charts.span([_scaled(explanation, end) for end in ends], 0.04)
    return Plot(scale=Scale(low, high, 2, 98), ticks=charts.nice_ticks(low, high, 5), height=HEIGHT)


def waterfall(
    explanation: Explanation, mark: SectionMark, plot: Plot, tags: Mapping[str, str]
) -> Iterator[WaterfallStep]:
    """Ours, the parts in order, the rest, the reference."""
    yield _own(explanation, mark, plot)
    at = explanation.score.value
    for part in explanation.parts:
        link = filtered_address(task=explanation.task, run=mark.run, part=tags[part.name])
        yield _part(explanation, part, at, link, plot)
        at += part.value
    if explanation.unexplained is not None:
        yield _rest(explanation, at, plot)
        yield _reference(explanation, mark, plot)


def _own(explanation: Explanation, mark: SectionMark, plot: Plot) -> WaterfallStep:
    unit, score, n = explanation.unit, explanation.score, explanation.n
    text = "" if score.ci95 is None else interval(score.ci95, unit)
    words = f"{mark.name}, this run: {printed(score.value, unit)} {text}"
    bounds = _bounds(explanation, score.ci95)
    value = _scaled(explanation, score.value)
    point = ChartPoint(value=value, interval=bounds, css=mark.css, shape=mark.shape, label=words)
    return WaterfallStep(
        css="total",
        name=f"{mark.name}, this run",
        value=value,
        points=printed(score.value, unit),
        interval=text,
        drawn=charts.interval_row(plot, point),
        how=f"{n.scored:,} samples, {explanation.protocol}",
    )


def _part(explanation: Explanation, part: GapPart, at: float, link: str, plot: Plot) -> WaterfallStep:
    unit, gap = explanation.unit, explanation.gap
    name = label(part, paired=gap is not None and gap.paired)
    is_known = part.basis != "bounds"
    points = signed(part.value, unit) if is_known else "?"
    words = f"{name}: {points} {interval(part.ci95, unit)}"
    ends = (_scaled(explanation, at), _scaled(explanation, at + part.value))
    css = "up" if part.value >= 0 else "down"
    how = known_by(part, explanation)
    return WaterfallStep(
        name=name[:1].upper() + name[1:],
        link=link,
        n=f"{part.n:,} {'sample' if part.n == 1 else 'samples'}",
        value=_scaled(explanation, part.value) if is_known else None,
        points=points,
        interval=interval(part.ci95, unit) if is_known else "",
        bounds="" if part.bounds is None else interval(part.bounds, unit),
        drawn=charts.fall(plot, ends, css, _bounds(explanation, part.ci95, at), words),
        basis=part.basis,
        how=how.partition(": ")[2] or how,
    )


def _rest(explanation: Explanation, at: float, plot: Plot) -> WaterfallStep:
    rest, unit, gap = explanation.unexplained, explanation.unit, explanation.gap
    assert rest is not None
    is_paired = gap is not None and gap.paired
    value, same, such = signed(rest.value, unit), rest.ci95_same_questions, rest.ci95
    ends = (_scaled(explanation, at), _scaled(explanation, at + rest.value))
    low, high = same
    how = f"What the parts leave, on these questions; as a sample of questions {interval(such, unit)}."
    if is_paired:
        how = "Every changed score belongs to one of the parts."
    elif low <= 0 <= high:
        how += " The interval holds 0: this may be nothing."
    return WaterfallStep(
        css="open",
        name="Unexplained",
        value=_scaled(explanation, rest.value),
        points=value,
        interval="" if is_paired else interval(same, unit),
        drawn=charts.fall(
            plot, ends, "open", None if is_paired else _bounds(explanation, same, at), f"unexplained: {value}"
        ),
        how=how,
    )


def reference_name(explanation: Explanation, mark: SectionMark) -> str:
    """`Kimi-VL-A3B-Instruct, published`, `other-vlm, the other run`, or that it is a number."""
    reference = explanation.reference
    if reference is None or reference.system is None:
        return "the reference, a number"
    if reference.kind == "published":
        return f"{reference.system}, published"
    return f"{mark.names.get(reference.system, reference.system)}, the other run"


def _reference(explanation: Explanation, mark: SectionMark, plot: Plot) -> WaterfallStep:
    reference, unit = explanation.reference, explanation.unit
    assert reference is not None
    name = reference_name(explanation, mark)
    text = "" if reference.ci95 is None else interval(reference.ci95, unit)
    value = _scaled(explanation, reference.value)
    words = f"{name}: {reference.printed} {text}"
    bounds = _bounds(explanation, reference.ci95)
    point = ChartPoint(value=value, interval=bounds, css="pub", shape="diamond", label=words)
    known = {"option": "as given", "split": "of the published split", "assumed": "assumed", "pairs": "in common"}
    how = [f"{reference.n:,} samples, {known.get(reference.n_evidence, reference.n_evidence)}"]
    how += [f"scored with {reference.protocol}"] if explanation.as_evidence == "read" and reference.protocol else []
    how += [reference.source] if reference.source and reference.kind == "published" else []
    how += [f"elsewhere {other}" for other in reference.others]
    gap = explanation.gap
    if gap is not None and gap.ci95 is not None and gap.value is not None:
        test = "" if gap.p_value is None else f", {p_text(gap.p_value)}"
        how.append(f"gap {unsigned(gap.value, unit)} {interval(gap.ci95, unit)}{test}")
    return WaterfallStep(
        css="pub",
        name=name[:1].upper() + name[1:] if reference.kind == "number" else name,
        value=value,
        points=reference.printed,
        interval=text,
        drawn=charts.interval_row(plot, point),
        how="; ".join(how),
    )


def strip_of_results(explanation: Explanation, mark: SectionMark, plot: Plot) -> Markup:
    """Other results of the reference's system, with ours and the reference among them."""
    reference = explanation.reference
    if reference is None or not explanation.reproductions:
        return Markup("")
    values = [_scaled(explanation, result.value) for result in explanation.reproductions]
    ours, theirs = _scaled(explanation, explanation.score.value), _scaled(explanation, reference.value)
    low, high = charts.span([*values, ours, theirs, plot.scale.low, plot.scale.high], 0.02)
    points = [
        *(
            ChartPoint(
                value=value, interval=None, css="rest", shape="circle", label=f"{result.printed}: {result.source}"
            )
            for value, result in zip(values, explanation.reproductions, strict=True)
        ),
        ChartPoint(value=theirs, interval=None, css="pub", shape="diamond", label=f"reference {reference.printed}"),
        ChartPoint(value=ours, interval=None, css=mark.css, shape=mark.shape, label=f"{mark.name}, this run"),
    ]
    words = ", ".join(point.label for point in points)
    return charts.rows_chart(Plot(scale=Scale(low, high, 2, 98), height=26), points, words)
