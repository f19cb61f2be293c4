"""The document of `compare --json`: how one run differs from another."""

from __future__ import annotations

from dataclasses import dataclass

from kvl_eval.decode import Json
from kvl_eval.types import Interval, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAnswer:
    """What one side read in an answer, and made of it."""

    extracted: Json
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSample:
    """A sample that one side alone got right."""

    sample_id: str
    repeat: int
    gold: tuple[Json, ...]
    a: ComparedAnswer
    b: ComparedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSide:
    """Under which protocol and within which budget a side was scored."""

    protocol: str
    budget: int | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One task of both runs; without samples that both have scored there is no difference. Scores are fractions."""

    task: str
    title: str
    a: ComparedSide
    b: ComparedSide
    n: int
    only_a: int
    only_b: int
    not_scored: int
    changed_samples: tuple[str, ...]
    difference: float | None
    score_a: float = 0.0
    score_b: float = 0.0
    ci95: Interval = (0.0, 0.0)
    p_value: float | None = None
    detectable: float | None = None
    lost: tuple[ComparedSample, ...]
    gained: tuple[ComparedSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """How one run differs from another: settings that can change an answer, circumstances that should not, tasks."""

    settings: tuple[str, ...]
    circumstances: tuple[str, ...]
    comparisons: tuple[ComparedTask, ...]
