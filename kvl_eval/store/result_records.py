"""`results.json`: what the aggregates of a run are. Types only, as in `records.py`; shares and scores lie in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvl_eval.decode import Count, Others, omitted, unknown_fields
from kvl_eval.store.manifest import ModelFacts
from kvl_eval.store.records import SCHEMA
from kvl_eval.types import Interval, Policy, StoredView


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """Mean score of the samples that carry one label.

    Attributes:
        n:     samples, or questions where they are asked several times.
        score: their mean.
        ci95:  its 95 % interval; null where it has none.
    """

    n: Count
    score: float
    ci95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Tokens over the answers: mean, median and 95th percentile (nearest rank)."""

    mean: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Time over the answers, in seconds: in all, and mean per answer."""

    total: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Figures over questions of which all repeats were scored.

    Attributes:
        n:         repeats.
        questions: how many questions.
        mean:      over all answers.
        pass_at:   {k: expected share of questions with a right answer among k}.
        majority:  share of questions whose majority answer is right.
    """

    n: Count
    questions: Count
    mean: float
    pass_at: Mapping[str, float]
    majority: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """The published result beside a row.

    Attributes:
        system:    whose result it is.
        value:     as published, in [0, 1] or points.
        unit:      `percent` or `points`.
        source:    where it was published.
        table:     the table there.
        delta:     score minus value; null where something forbids the comparison.
        inside_ci: whether the value is within the row's interval; null likewise.
        gap_ci95:  95 % interval of the value minus the score; null likewise, and in results of earlier versions.
        note:      what forbids it, or what to know; null where there is nothing.
        others:    fields of a later version.
    """

    system: str
    value: float
    unit: str
    source: str
    table: str | None
    delta: float | None
    inside_ci: bool | None
    gap_ci95: Interval | None = omitted(None)
    note: str | None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One result: task x split x budget x policy x protocol, and the judge, if one was asked.

    Attributes:
        task:              the task's name.
        title:             its title.
        split:             the split's name; null where the manifest is lost.
        budget:            most thinking tokens; null without a limit.
        policy:            `cut` or `force`; null without a budget.
        protocol:          the protocol's name.
        label:             what views print for it.
        judge:             whose replies were used; null for none.
        thinking:          what scorers saw: the answer (`split`) or thought and answer (`raw`).
        n_planned:         answers planned.
        n_ok:              answered.
        n_failed:          failed.
        n_pending:         not answered yet.
        failed:            {reason: answers}.
        n_scored:          answers with a score.
        n_questions:       questions, where they are asked several times.
        n_unextracted:     answers from which nothing was extracted; they count as 0.
        n_followed:        answers in the form that the prompt asks for; null where the prompt is not known.
        n_followed_unread: those of them from which nothing was extracted; null likewise.
        verdicts:          {verdict: answers}.
        outcomes:          {what became of it: answers planned}: pending, failed, not_scored, correct, partial,
                           truncated, refused, no_answer or wrong, the first that applies.
        score:             the headline; null where nothing was scored.
        unit:              `percent` or `points`: how views print it.
        complete:          whether every planned answer is there and no score is missing by a fault.
        partial:           why less than the whole split was planned; null where it was whole.
        bounds:            the score if all that has none were wrong, and if it were right.
        ci95:              95 % interval; null where it has none.
        ci_method:         how that was computed, or why there is none.
        stderr:            standard error over questions.
        stderr_clustered:  standard error over clusters.
        official:          the figures as the official script prints them.
        categories:        {field: {label: row}}.
        tokens:            {thinking, answer, prompt, image: spread}.
        truncated_share:   answers whose text was cut off, of those answered.
        unclosed_share:    answers whose thought was never ended.
        forced_share:      answers whose thought the budget ended.
        thoughts:          {family of markers: answers with a thought}.
        blind:             whether images were replaced with gray ones.
        time:              seconds of all answers.
        seconds:           seconds by the clock during which an answer was under way; null where no record says.
        devices:           most devices that answered at the same time; null for a server. Device hours are
                           seconds x devices / 3600.
        repeats:           figures over repeats; null without them.
        answered_by:       {model: answers} by others than the model asked for.
        flags:             {what may have changed an answer: answers}; `kvl_eval.flags` has the words.
        shares:            {steps or replies of agents that had no effect: (how many, of how many)}.
        reference:         the published result; null where there is none.
        others:            fields of a later version.
    """

    task: str
    title: str
    split: str | None
    budget: Count | None
    policy: Policy | None
    protocol: str
    label: str
    judge: str | None = None
    thinking: StoredView
    n_planned: Count
    n_ok: Count
    n_failed: Count
    n_pending: Count
    failed: Mapping[str, Count]
    n_scored: Count
    n_questions: Count | None = omitted()
    n_unextracted: Count
    n_followed: Count | None = omitted()
    n_followed_unread: Count | None = omitted()
    verdicts: Mapping[str, Count]
    outcomes: Mapping[str, Count] = omitted(dict)
    score: float | None
    unit: str
    complete: bool
    partial: str | None
    bounds: Interval
    ci95: Interval | None
    ci_method: str | None
    stderr: float | None
    stderr_clustered: float | None
    official: Mapping[str, str]
    categories: Mapping[str, Mapping[str, CategoryRow]]
    tokens: Mapping[str, Spread]
    truncated_share: float
    unclosed_share: float
    forced_share: float
    thoughts: Mapping[str, Count] = omitted(dict)
    blind: bool
    time: Seconds
    seconds: float | None = omitted()
    devices: Count | None = omitted()
    repeats: Repeats | None
    answered_by: Mapping[str, Count] = omitted(dict)
    flags: Mapping[str, Count] = omitted(dict)
    shares: Mapping[str, tuple[Count, Count]] = omitted(dict)
    reference: PublishedRow | None = None
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """`results.json`, derived: `kvl-eval score` rebuilds it.

    Attributes:
        schema:  1.
        run_id:  the folder's name.
        created: when the run began, local time with offset.
        model:   as in the manifest.
        demo:    whether the model was a demo model.
        rows:    tasks in the plan's order.
        others:  fields of a later version.
    """

    schema: int = SCHEMA
    run_id: str = ""
    created: str | None = None
    model: ModelFacts | None = None
    demo: bool = False
    rows: tuple[ResultRow, ...]
    others: Others = unknown_fields()
