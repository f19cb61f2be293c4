"""What the parts of a gap are computed from: one `AnswerUnit` for each planned answer; and what a part is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count, Json
from kvl_eval.types import FinishReason, Interval, Verdict

Basis = Literal["exact", "estimate", "measured", "bounds"]
UnitStatus = Literal["ok", "failed", "pending"]
THIN = 5  # scored answers below which a stratum is merged with others


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerUnit:
    """One planned answer, at one budget and policy, under two protocols.

    P0 is the protocol whose score is explained, P1 the one that answers are read with in order to compare.

    Attributes:
        id:      of the sample.
        repeat:  from 0.
        cluster: what answers that depend on each other share.
        stratum: answers of one stratum are taken as equally hard.
        status:  `ok`, `failed` or `pending`.
        reason:  of a failure.
        finish:  how the reply ended.
        closed:  whether its thought was closed; None without one.
        tokens:  of thought and answer.
        is_loop: whether a reply that was truncated ends in a loop.
        v0:      verdict under P0; `y0` its score, None where it was not scored; `read0` what was extracted.
        v1:      verdict under P1; `y1` its score.
        drawn:   whether P1's verdict is a random guess.
        judged:  whether a judge decided in one of the two.
        options: of a choice question; 0 for others.
        weight:  in the score: over the scored answers they add up to 1.
        share:   in the score if every planned answer were scored: over all they add up to 1.
    """

    id: str
    repeat: int = 0
    cluster: str
    stratum: str = ""
    status: UnitStatus = "ok"
    reason: str | None = None
    finish: FinishReason = "stop"
    closed: bool | None = None
    tokens: int = 0
    is_loop: bool = False
    v0: Verdict | None = None
    y0: float | None = None
    read0: str | None = None
    v1: Verdict | None = None
    y1: float | None = None
    drawn: bool = False
    judged: bool = False
    options: int = 0
    weight: float = 0.0
    share: float = 0.0

    @property
    def is_scored(self) -> bool:
        """Whether the answer counts in the score."""
        return self.status == "ok" and self.y0 is not None

    @property
    def is_missing(self) -> bool:
        """Whether no reply was obtained."""
        return self.status != "ok"

    @property
    def before(self) -> float:
        """The score under P0; 0 where there is none."""
        return self.y0 or 0.0

    @property
    def after(self) -> float:
        """The score under P1, or under P0 where P1 gives none."""
        return self.before if self.y1 is None else self.y1

    @property
    def is_unclosed(self) -> bool:
        """Whether the thought was never closed and the reply is not right."""
        return self.is_scored and self.closed is False and self.after < 1

    @property
    def is_truncated(self) -> bool:
        """Whether the reply ended at a limit, outside a thought, and is not right."""
        ended = self.finish in ("length", "budget") and self.closed is not False
        return self.is_scored and ended and self.after < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPart:
    """A named share of a gap. Fractions; positive where the reference is above us and this accounts for it.

    Attributes:
        name:       `no_answer`, `extraction`, ...
        basis:      `exact`, `estimate`, `measured`, or `bounds` where nothing more is known.
        n:          answers that it is about.
        value:      what it accounts for.
        ci95:       95 % interval.
        bounds:     what it can be at the least and at the most; null for exact parts without.
        detail:     counts and rates, by part.
        assumption: what an estimate takes for granted; empty for exact parts.
        samples:    ids of the samples.
        fix:        the command that would test or mend it.
    """

    name: str
    basis: Basis
    n: Count
    value: float
    ci95: Interval
    bounds: Interval | None = None
    detail: Mapping[str, Json]
    assumption: str = ""
    samples: tuple[str, ...] = ()
    fix: str = ""


def plain_weights(scored: Sequence[bool]) -> list[tuple[float, float]]:
    """(weight, share) of each answer where the score is the mean over scored answers."""
    n = sum(scored)
    return [(1 / n if is_scored else 0.0, 1 / len(scored)) for is_scored in scored]


def group_weights(
    scored: Sequence[bool], groups: Sequence[str], of_group: Mapping[str, float]
) -> list[tuple[float, float]]:
    """(weight, share) of each answer where the score is a weighted mean of group means.

    Answers of a group without a weight have none.
    """
    planned = Counter(groups)
    answered = Counter(group for group, is_scored in zip(groups, scored, strict=True) if is_scored)
    return [
        (of_group.get(group, 0.0) / answered[group] if is_scored else 0.0, of_group.get(group, 0.0) / planned[group])
        for group, is_scored in zip(groups, scored, strict=True)
    ]


def merged_strata(units: Sequence[AnswerUnit]) -> list[int]:
    """A number for each unit's stratum; those with fewer than five scored answers are merged.

    Where the merged ones have fewer than five together, the smallest other stratum joins them.
    """
    scored: Counter[str] = Counter({unit.stratum: 0 for unit in units})
    scored.update(unit.stratum for unit in units if unit.is_scored)
    thin = {name for name, n in scored.items() if n < THIN}
    others = sorted((n, name) for name, n in scored.items() if name not in thin)
    if thin and others and sum(scored[name] for name in thin) < THIN:
        thin.add(others[0][1])
    numbers = {name: number for number, name in enumerate(sorted(scored.keys() - thin), 1)}
    return [numbers.get(unit.stratum, 0) for unit in units]
