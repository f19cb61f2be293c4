"""What `explain` finds out, as an object and as JSON. Scores, gaps and parts are fractions, as in every document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kvl_eval.decode import Count, Json, encode_object, named
from kvl_eval.explanation.probe_document import ProbeResult
from kvl_eval.explanation.units import GapPart
from kvl_eval.types import Interval, Policy, Unit

GapVerdict = Literal["below", "above", "no-difference-shown", "not-comparable"]
HowKnown = Literal["option", "read", "inferred", "split", "assumed", "default", "pairs", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRun:
    """The run.

    Attributes:
        id:          the folder's name.
        path:        the folder.
        model:       as the user named it.
        demo:        whether a demo model answered.
        scripted:    whether the answers are scripted.
        fingerprint: hash of what can change an answer.
    """

    id: str
    path: str
    model: str
    demo: bool
    scripted: bool
    fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCounts:
    """Answers: planned, answered, failed and pending; with a score; and clusters of those that depend on each other."""

    planned: Count
    ok: Count
    failed: Count
    pending: Count
    scored: Count
    clusters: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedScore:
    """The score under P0, its 95 % interval and the method that gave it; null where it has none."""

    value: float
    ci95: Interval | None
    method: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedReference:
    """What the run is compared with.

    Attributes:
        kind:       `number`, `published` or `run`.
        value:      as a fraction.
        ci95:       95 % interval of a share of n questions; null for other scores, and for a run.
        printed:    as it was printed, in the task's unit.
        system:     whose result it is, or the run's id; null for a number.
        table:      where it was published; null likewise.
        source:     likewise.
        n:          questions behind it.
        n_evidence: `option`, `split` (the published size), `assumed` (as many as ours) or `pairs`.
        feasible:   whether it can be a share of n questions; null where that cannot be said.
        protocol:   that it was scored with, where it was read or inferred; null where that is not known.
        others:     what was printed elsewhere for it.
    """

    kind: Literal["number", "published", "run"]
    value: float
    ci95: Interval | None = None
    printed: str
    system: str | None = None
    table: str | None = None
    source: str | None = None
    n: Count
    n_evidence: HowKnown
    feasible: bool | None = None
    protocol: str | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedGap:
    """The reference minus the score.

    Attributes:
        value:           null where the two are not comparable, like all of the others.
        ci95:            95 % interval, for independent errors or, where paired, of the paired difference.
        ci95_correlated: the same for errors with that correlation; null where paired.
        correlation:     0.8; null where paired.
        p_value:         two-sided.
        paired:          whether both answered the same questions.
        verdict:         whether the score is below or above the reference.
    """

    value: float | None
    ci95: Interval | None
    ci95_correlated: Interval | None = None
    correlation: float | None = None
    p_value: float | None
    paired: bool
    verdict: GapVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """What the parts leave of the gap.

    Attributes:
        ci95_same_questions: interval if the reference was made with the same questions: only estimates vary.
        ci95:                interval as a sample of questions.
    """

    value: float
    ci95_same_questions: Interval
    ci95: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalLine:
    """What the score would gain under another protocol; not part of the sum."""

    protocol: str
    label: str
    value: float
    ci95: Interval
    n: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingLine:
    """A setting of ours beside what is known of the reference's; `differs` is null where that is unknown."""

    name: str
    ours: str
    reference: str | None
    evidence: HowKnown
    differs: bool | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A fact about the answers, without points."""

    name: str
    text: str
    values: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Another result of the same system on the same benchmark, by other hands."""

    value: float
    printed: str
    source: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that views print.

    Attributes:
        run:           what is explained.
        task, split, budget, policy: of the score.
        protocol:      P0, whose score is explained.
        as_:           P1, which the answers are read with in order to compare; `as` in JSON.
        as_evidence:   how P1 was chosen: `option`, `read` of the reference, or `default`.
        unit:          how views print scores.
        n:             counts of answers.
        score, reference, gap: ours, theirs and the distance; null without a reference.
        order:         of the parts.
        parts:         those that are about at least one answer.
        unexplained:   what they leave; null without a gap.
        overlap:       answers that fit two parts.
        conditional:   other protocols.
        settings:      that could explain the rest.
        observations:  facts about the answers.
        reproductions: of the reference.
        unknowable:    what stored answers cannot show.
        probes:        runs that asked again with one setting changed.
        verdict:       sentences.
        commands:      what to do next.
        notices:       what readers found odd.
    """

    schema: int = 1
    kind: Literal["explain"] = "explain"
    run: ExplainedRun
    task: str
    split: str | None
    budget: Count | None
    policy: Policy | None
    protocol: str
    as_: str = named("as")
    as_evidence: HowKnown
    unit: Unit
    n: ExplainedCounts
    score: ExplainedScore
    reference: ExplainedReference | None
    gap: ExplainedGap | None
    order: tuple[str, ...]
    parts: tuple[GapPart, ...]
    unexplained: Unexplained | None
    overlap: Mapping[str, Count]
    conditional: tuple[ConditionalLine, ...] = ()
    settings: tuple[SettingLine, ...] = ()
    observations: tuple[Observation, ...] = ()
    reproductions: tuple[Reproduction, ...] = ()
    unknowable: tuple[str, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    verdict: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """The document of `kvl-eval explain --json`."""
        return encode_object(self)

    def __str__(self) -> str:
        """The text of `kvl-eval explain`."""
        from kvl_eval.explanation.text import as_text

        return as_text(self)
