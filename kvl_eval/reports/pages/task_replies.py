"""What became of a task's replies: bars and counts of outcomes, and how long replies are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.outcomes import (
    SIGNS,
    CountedReply,
    css_of,
    outcome_counts,
    words_of,
)
from kvl_eval.reports.pages.task_results import NamedResult
from kvl_eval.scorers.outcomes import AnswerOutcome

RepliesOfAll = Sequence[Sequence[CountedReply]]
"""The planned answers of each result, in the order of the results."""
LENGTH_CLASSES: tuple[AnswerOutcome, ...] = ("correct", "wrong", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCell:
    """How many answers of one result are in a class, and where they are listed."""

    n: int
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeLine:
    """One class of answers: its sign, its class in the style sheet, a count for each result."""

    css: str
    sign: str
    name: str
    cells: tuple[CountCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeTable:
    """A bar for each result, and the counts below."""

    bars: tuple[tuple[NamedResult, Markup], ...]
    lines: tuple[OutcomeLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthChart:
    """How long the thoughts (else the replies) of one result are."""

    named: NamedResult
    what: str
    words: str
    drawn: Markup


def outcome_table(results: Sequence[NamedResult], replies: RepliesOfAll) -> OutcomeTable:
    """Classes that no answer is in have no line."""
    counts = [outcome_counts(group) for group in replies]
    used = [outcome for outcome in SIGNS if any(count[outcome] for count in counts)]
    return OutcomeTable(
        bars=tuple((named, _bar(named.name, count)) for named, count in zip(results, counts, strict=True)),
        lines=tuple(
            OutcomeLine(
                css=css_of(outcome),
                sign=SIGNS[outcome],
                name=words_of(outcome),
                cells=tuple(
                    CountCell(n=count[outcome], link=_link(named, outcome))
                    for named, count in zip(results, counts, strict=True)
                ),
            )
            for outcome in used
        ),
    )


def _bar(name: str, counts: Mapping[AnswerOutcome, int]) -> Markup:
    parts = [(css_of(outcome), float(n), f"{words_of(outcome)}: {n:,}") for outcome, n in counts.items()]
    return charts.stacked(parts, f"{name}: " + ", ".join(words for _, n, words in parts if n))


def _link(named: NamedResult, outcome: AnswerOutcome) -> str:
    row = named.row
    budget = "" if row.budget is None else numbers.budget(row)
    return filtered_address(task=row.task, run=named.result.series.number, budget=budget, outcome=outcome)


def length_charts(results: Sequence[NamedResult], replies: RepliesOfAll) -> list[LengthChart]:
    """A histogram for each result whose replies have tokens."""
    made = (_lengths(named, group) for named, group in zip(results, replies, strict=True))
    return [chart for chart in made if chart is not None]


def _lengths(named: NamedResult, replies: Sequence[CountedReply]) -> LengthChart | None:
    has_thoughts = any(reply.thinking for reply in replies)
    what = "thought" if has_thoughts else "reply"
    sized = [
        (reply.thinking if has_thoughts else reply.answer, reply.outcome)
        for reply in replies
        if reply.outcome not in ("pending", "failed")
    ]
    if not any(size for size, _ in sized):
        return None
    bins: dict[int, dict[AnswerOutcome, int]] = {}
    for size, outcome in sized:
        counts = bins.setdefault(size.bit_length(), dict.fromkeys(LENGTH_CLASSES, 0))
        counts[_length_class(outcome)] += 1
    columns = [
        (_bin(bits), [(css_of(name), bins.get(bits, {}).get(name, 0)) for name in LENGTH_CLASSES])
        for bits in range(min(bins), max(bins) + 1)
    ]
    words = _length_words(what, sized)
    drawn = charts.histogram(columns, f"{named.name}, tokens of a {what}: {words}")
    return LengthChart(named=named, what=what, words=words, drawn=drawn)


def _length_class(outcome: AnswerOutcome) -> AnswerOutcome:
    return outcome if outcome in LENGTH_CLASSES else "wrong"


def _bin(bits: int) -> str:
    """The least size of a bin, in few characters: `0`, `512`, `2k`."""
    return numbers.budget_label((1 << bits) >> 1)


def _length_words(what: str, sized: Sequence[tuple[int, AnswerOutcome]]) -> str:
    """The median, how many were lost at the limit, and how often the longest quarter is right."""
    sizes = sorted(size for size, _ in sized)
    third = sizes[min(len(sizes) - 1, 3 * len(sizes) // 4)]
    longest = [outcome for size, outcome in sized if size > third]
    lost = sum(outcome == "truncated" for _, outcome in sized)
    plural = "thoughts" if what == "thought" else "replies"
    text = f"Half of all {plural} are shorter than {median(sizes):,.0f} tokens; {lost:,} reached a limit and were lost."
    if longest:
        right = sum(outcome == "correct" for outcome in longest)
        text += f" Beyond {third:,} tokens, {right:,} of {len(longest):,} are correct."
    return text
