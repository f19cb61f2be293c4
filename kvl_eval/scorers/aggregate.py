"""Means over scored samples, overall and by category."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kvl_eval.types import CategoryScore, GroupMean, Scored, Summary, Unit


def mean(scored: Sequence[Scored]) -> float | None:
    """Mean value of the samples that have one; None where there is none. Not-scored samples are outside."""
    values = [one.score.value for one in scored if one.score.value is not None]
    return math.fsum(values) / len(values) if values else None


def plain_sum(values: Iterable[float]) -> float:
    """The sum as Python 3.11 and the scripts of its time add: from left to right, each step rounded.

    From 3.12 on the built-in `sum` makes up for the rounding: the last digit of a figure would depend on the Python.
    """
    total = 0.0
    for value in values:
        total += value
    return total


def by_category(scored: Sequence[Scored]) -> dict[str, dict[str, CategoryScore]]:
    """{field: {value: mean and count}} over multi-label categories, in order of first appearance."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in scored:
        if one.score.value is None:
            continue
        for field, labels in one.sample.categories.items():
            for label in labels:
                values[field][label].append(one.score.value)
    return {
        field: {
            label: CategoryScore(n=len(found), score=math.fsum(found) / len(found)) for label, found in labels.items()
        }
        for field, labels in values.items()
    }


def by_question(scored: Sequence[Scored]) -> list[Scored]:
    """One entry for each question and repeat: of one asked several times (`Sample.group`) the worst of its scores.

    So it is right only if each time is, and wrong once one time is; what was extracted is a list. It stands where the
    first of its samples stood, carries the question's name as id, and the labels of the sample of that name.
    """
    if all(one.sample.group is None for one in scored):
        return list(scored)
    groups: dict[tuple[str, int], list[Scored]] = {}
    for one in scored:
        groups.setdefault((one.sample.question_id, one.repeat), []).append(one)
    return [found[0] if found[0].sample.group is None else _folded(found) for found in groups.values()]


def _folded(asked: Sequence[Scored]) -> Scored:
    first = next((one for one in asked if one.sample.id == one.sample.group), asked[0])
    worst = min(asked, key=_worth)
    score = replace(worst.score, extracted=[one.score.extracted for one in asked])
    return Scored(sample=replace(first.sample, id=first.sample.question_id), score=score, repeat=first.repeat)


def _worth(one: Scored) -> float:
    """Wrong before unknown before right."""
    value = one.score.value
    return 0.5 if value is None else value


def summarise(scored: Sequence[Scored], official: Mapping[str, str] | None = None, unit: Unit = "percent") -> Summary:
    """The ordinary result of a task: mean over scored samples, and means by category."""
    return Summary(score=mean(scored), unit=unit, official=official or {}, categories=by_category(scored))


def mean_of_groups(summary: Summary, field: str, weights: Mapping[str, float] | None = None) -> Summary:
    """The same with another headline: the mean of the means of the category `field`, equal ones unless weighted.

    Weights name existing groups and add up to 1; a group without one is left out. Without any group the summary
    stays what it is.
    """
    groups = summary.categories.get(field, {})
    if not groups:
        return summary
    chosen = {name: 1 / len(groups) for name in groups} if weights is None else dict(weights)
    score = math.fsum(weight * groups[name].score for name, weight in chosen.items())
    return replace(summary, score=score, over=GroupMean(field=field, weights=chosen))
