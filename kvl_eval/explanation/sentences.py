"""What an explanation says in sentences: the gap first, then its main cause or what makes it uncertain."""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.explanation.document import ExplainedGap, ExplainedReference, Unexplained
from kvl_eval.explanation.units import GapPart
from kvl_eval.types import Interval, Unit
from kvl_eval.verdicts import signed as signed_points

CAUSE_NAMES = {
    "no_answer": "extraction",
    "extraction": "extraction",
    "judge": "the judge",
    "draws": "random guesses",
    "missing": "failed samples",
    "unclosed": "thoughts that were never closed",
    "truncated": "truncated replies",
    "prompt": "the prompt",
    "images": "the images",
    "generation": "generation settings",
    "engine": "the engine",
    "answers": "other answers",
}


def printed(value: float, unit: Unit = "percent") -> str:
    """`57.0` percent, or `867` points."""
    return f"{1000 * value:.0f}" if unit == "points" else f"{100 * value:.1f}"


def signed(value: float, unit: Unit = "percent") -> str:
    """`+6.4`, `−3.7`, and `0.0` for what rounds to it."""
    return signed_points(value, unit == "points")


def interval(bounds: Interval, unit: Unit = "percent") -> str:
    """`[1.8, 11.0]`."""
    return f"[{unsigned(bounds[0], unit)}, {unsigned(bounds[1], unit)}]"


def unsigned(value: float, unit: Unit = "percent") -> str:
    """`6.4`, `−3.7`; never `−0.0`."""
    return signed(value, unit).removeprefix("+")


def published_sentence(score: float, reference: ExplainedReference, gap: ExplainedGap, n: int, unit: Unit) -> str:
    """Whether a score differs from a published result, or from a number."""
    ours = printed(score, unit)
    theirs = f"the published {reference.printed}" if reference.kind == "published" else reference.printed
    if gap.value is None or gap.ci95 is None or gap.verdict not in ("below", "above"):
        return f"{ours} and {theirs} do not differ by more than chance ({n:,} samples)."
    low, high = gap.ci95 if gap.value > 0 else (-gap.ci95[1], -gap.ci95[0])
    size = unsigned(abs(gap.value), unit)
    return f"{ours} is {size} points {gap.verdict} {theirs} {interval((low, high), unit)}: not chance alone."


def main_cause(gap: ExplainedGap, parts: Sequence[GapPart], other: tuple[str, float], unit: Unit) -> str | None:
    """The cause of at least half of a gap that is more than chance; None where no part is large and sure enough.

    `other` is P1 and the score under it.
    """
    whole = gap.value
    if whole is None or gap.verdict not in ("below", "above"):
        return None
    sums: dict[str, float] = {}
    for part in parts:
        if part.ci95[0] > 0 or part.ci95[1] < 0:
            cause = CAUSE_NAMES.get(part.name, part.name)
            sums[cause] = sums.get(cause, 0.0) + part.value
    cause, value = max(sums.items(), key=lambda item: item[1] / whole, default=("", 0.0))
    if value / whole < 0.5:
        return None
    if cause == "extraction" and not gap.paired:
        return f"Most of the gap is extraction: under `{other[0]}` the score is {printed(other[1], unit)}."
    return f"Most of the gap is {cause}."


def rest_sentence(rest: Unexplained, unit: Unit) -> str | None:
    """What is left of a gap, where that may be nothing."""
    low, high = rest.ci95_same_questions
    if low <= 0 <= high and low < high:
        return f"What stays unexplained, {unsigned(rest.value, unit)}, may be nothing."
    return None


def incomplete_sentence(missing: int, planned: int, bounds: Interval, unit: Unit) -> str:
    """Between which scores a run with missing samples could end."""
    low, high = (printed(bound, unit) for bound in bounds)
    return f"{missing:,} of {planned:,} failed or are pending: the score could be between {low} and {high}."
