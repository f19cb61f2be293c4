"""What an explanation says in sentences: the gap first, then its main cause or what makes it uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kvl_eval.explanation.document import ExplainedGap, ExplainedReference, Unexplained
from kvl_eval.explanation.units import GapPart
from kvl_eval.types import Interval, Unit

SAME = 0.01  # an interval within this of 0 on both sides means: the same
POWER = 7.85  # (1.96 + 0.84)^2: a difference is shown four times in five
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
    """`+6.4`, `-3.7`, and `0.0` for what rounds to it."""
    text = printed(value, unit)
    size = text.lstrip("-")
    return size if not size.strip("0.") else f"{'-' if value < 0 else '+'}{size}"


def interval(bounds: Interval, unit: Unit = "percent") -> str:
    """`[1.8, 11.0]`."""
    return f"[{unsigned(bounds[0], unit)}, {unsigned(bounds[1], unit)}]"


def unsigned(value: float, unit: Unit = "percent") -> str:
    """`6.4`, `-3.7`; never `-0.0`."""
    return signed(value, unit).removeprefix("+")


def p_text(p_value: float) -> str:
    """`p = 0.014`, `p < 0.001`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def published_sentence(score: float, reference: ExplainedReference, gap: ExplainedGap, n: int, unit: Unit) -> str:
    """Whether a score differs from a published result, or from a number."""
    ours = printed(score, unit)
    theirs = f"the published {reference.printed}" if reference.kind == "published" else reference.printed
    if gap.value is None or gap.ci95 is None or gap.verdict not in ("below", "above"):
        return f"{ours} and {theirs} do not differ by more than chance ({n:,} samples)."
    low, high = gap.ci95 if gap.value > 0 else (-gap.ci95[1], -gap.ci95[0])
    size = unsigned(abs(gap.value), unit)
    return f"{ours} is {size} points {gap.verdict} {theirs} {interval((low, high), unit)}: not chance alone."


def paired_sentence(names: tuple[str, str], task: str, gap: ExplainedGap, counts: tuple[int, int], unit: Unit) -> str:
    """How run B (ours) does against run A (the reference); `counts` are samples, and those whose score differs."""
    a, b = names
    n, changed = counts
    if gap.value is None or gap.ci95 is None:
        return f"{a} and {b} were not compared."
    difference, bounds = -gap.value, (-gap.ci95[1], -gap.ci95[0])
    test = "" if gap.p_value is None else f", {p_text(gap.p_value)}"
    if gap.verdict in ("below", "above"):
        word, low_high = ("better", bounds) if difference > 0 else ("worse", gap.ci95)
        size = unsigned(abs(difference), unit)
        return f"{b} is {word} than {a} on {task} by {size} points {interval(low_high, unit)} ({n:,} samples{test})."
    if max(map(abs, bounds)) <= SAME:
        return f"{a} and {b} are the same within 1 point on {task}."
    least = f"; {n:,} samples can show {printed(math.sqrt(POWER * changed) / n, unit)} or more" if changed else ""
    size = f"{signed(difference, unit)} {interval(bounds, unit)}"
    return f"No difference shown between {a} and {b} on {task}: {size}{least}."


def main_cause(gap: ExplainedGap, parts: Sequence[GapPart], other: tuple[str, float], unit: Unit) -> str | None:
    """The cause of at least half of a gap that is more than chance; None where no part is large and sure enough.

    `other` is P1 and the score under it.
    """
    if gap.value is None or gap.verdict not in ("below", "above"):
        return None
    sums: dict[str, float] = {}
    for part in parts:
        if part.ci95[0] > 0 or part.ci95[1] < 0:
            cause = CAUSE_NAMES.get(part.name, part.name)
            sums[cause] = sums.get(cause, 0.0) + part.value
    cause, value = max(sums.items(), key=lambda item: item[1] / gap.value, default=("", 0.0))
    if value / gap.value < 0.5:
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
