"""The document of `compare --json`: how one run differs from another."""

from __future__ import annotations

from dataclasses import dataclass

from kvl_eval.decode import Json
from kvl_eval.flip_causes import FlipCause
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
class ComparedCause:
    """Answers whose scores differ, by cause.

    Attributes:
        value:   what they add to the difference; a fraction.
        only_a:  how many of them A alone got right; `only_b` B alone.
        changed: how many there are.
    """

    cause: FlipCause
    value: float
    only_a: int
    only_b: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One task of both runs; without samples that both have scored there is no difference.

    Attributes:
        n:               questions and their repeats that both have scored.
        only_a:          answers scored in A alone; `only_b` in B alone.
        not_scored:      answers of both without a score in one of them.
        changed_samples: samples whose question, options or gold differ; left out.
        difference:      B - A.
        p_holm:          `p_value` of a test that always applies, corrected for all tasks of the comparison.
        causes:          why scores differ; over all answers they add up to the difference.
        lost:            samples that A alone got right; `gained` B alone.
        verdict:         the difference in words.
    """

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
    p_holm: float | None
    detectable: float | None = None
    causes: tuple[ComparedCause, ...]
    lost: tuple[ComparedSample, ...]
    gained: tuple[ComparedSample, ...]
    verdict: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """How one run differs from another.

    Attributes:
        settings:      what can change an answer and differs.
        circumstances: what should change no answer, and differs.
        verdict:       what the tasks say together.
    """

    settings: tuple[str, ...]
    circumstances: tuple[str, ...]
    comparisons: tuple[ComparedTask, ...]
    verdict: tuple[str, ...]
