"""Means over scored samples, overall and by category."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from kvl_eval.types import CategoryScore, Scored, Summary


def mean(scored: Sequence[Scored]) -> float | None:
    """Mean value of the samples that have one; None where there is none. Not-scored samples are outside."""
    values = [one.score.value for one in scored if one.score.value is not None]
    return math.fsum(values) / len(values) if values else None


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


def summarise(scored: Sequence[Scored], official: Mapping[str, str] | None = None, unit: str = "percent") -> Summary:
    """The ordinary result of a task: mean over scored samples, and means by category."""
    return Summary(score=mean(scored), unit=unit, official=official or {}, categories=by_category(scored))
