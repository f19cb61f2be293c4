"""How a task's score is made of its answers: their weights, or the task's own aggregation where they have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from kvl_eval.explanation.aggregates import Aggregate
from kvl_eval.explanation.ledger import Floats, Ledger, Mask
from kvl_eval.explanation.reading import AnswerFacts, AnswerVerdict, Scorer, TaskReplies
from kvl_eval.explanation.units import AnswerUnit, group_weights, plain_weights
from kvl_eval.scorers.statistics import is_plain_mean
from kvl_eval.scoring.plan_rows import PlanRows
from kvl_eval.types import GroupMean, Sample, Score, Scored, Unit


@dataclass(frozen=True, slots=True)
class WeighedAnswers:
    """The answers of a task with their weights in its score.

    Attributes:
        ledger:    of them.
        unit:      how views print the score.
        aggregate: the score as the task makes it, where it is not a weighted mean; else None.
    """

    ledger: Ledger
    unit: Unit
    aggregate: Aggregate | None


def weighed(replies: TaskReplies, own: Scorer, other: Scorer, rows: PlanRows) -> WeighedAnswers:
    """The answers under P0 (`own`) and P1 (`other`). Raises: ValueError, if none is scored."""
    units = replies.units(own, other)
    before = scored_answers(replies, own, rows)
    summary = replies.task.aggregate(list(before.values()), own.protocol)
    values = [unit.before for unit in units if unit.is_scored]
    has_groups = any(scored.sample.group is not None for scored in before.values())
    if values and not has_groups and summary.over is None and is_plain_mean(summary.score, values):
        return WeighedAnswers(Ledger(_plain(units)), summary.unit, None)
    if values and not has_groups and summary.over is not None:
        grouped = _grouped(units, replies.facts, summary.over)
        if grouped is not None:
            return WeighedAnswers(Ledger(grouped), summary.unit, None)
    ledger = Ledger(_plain(units))
    after = scored_answers(replies, other, rows)
    return WeighedAnswers(ledger, summary.unit, _aggregate(ledger, replies, own, (before, after)))


def scored_answers(replies: TaskReplies, scorer: Scorer, rows: PlanRows) -> dict[tuple[str, int], Scored]:
    """{(sample, repeat): the answer as `Task.aggregate` takes it}; rows are read when asked for."""
    verdicts = replies.verdicts(scorer)
    return {
        (facts.entry.sample_id, facts.entry.repeat): Scored(
            sample=_sample(facts, rows), score=_score(verdicts[facts.entry.key]), repeat=facts.entry.repeat
        )
        for facts in replies.facts
        if facts.entry.key in verdicts
    }


def _sample(facts: AnswerFacts, rows: PlanRows) -> Sample:
    planned = facts.entry.sample
    return Sample(
        id=facts.entry.sample_id,
        question=planned.question,
        row=cast("Mapping[str, object]", rows.row(planned.offset)),
        choices=planned.choices,
        answers=planned.gold,
        categories=planned.categories,
        cluster=planned.cluster,
        group=planned.group,
    )


def _score(made: AnswerVerdict) -> Score:
    return Score(
        value=made.value,
        verdict=made.verdict,
        extracted=made.extracted,
        method=made.method,
        reason=made.reason,
        detail=made.detail,
    )


def _plain(units: Sequence[AnswerUnit]) -> list[AnswerUnit]:
    counted = [unit for unit in units if unit.is_scored or unit.is_missing]
    weights = plain_weights([unit.is_scored for unit in counted])
    return [replace(unit, weight=weight, share=share) for unit, (weight, share) in zip(counted, weights, strict=True)]


def _grouped(units: Sequence[AnswerUnit], facts: Sequence[AnswerFacts], over: GroupMean) -> list[AnswerUnit] | None:
    """The answers with the weights of a mean of group means; None where one belongs to several groups."""
    labels = [answer.entry.sample.categories.get(over.field, ()) for answer in facts]
    if any(len(label) > 1 for label in labels):
        return None
    counted = [
        replace(unit, stratum=label[0] if label else "")
        for unit, label in zip(units, labels, strict=True)
        if unit.is_scored or unit.is_missing
    ]
    weights = group_weights([unit.is_scored for unit in counted], [unit.stratum for unit in counted], over.weights)
    return [replace(unit, weight=weight, share=share) for unit, (weight, share) in zip(counted, weights, strict=True)]


def _aggregate(
    ledger: Ledger,
    replies: TaskReplies,
    own: Scorer,
    scored: tuple[Mapping[tuple[str, int], Scored], Mapping[tuple[str, int], Scored]],
) -> Aggregate:
    """The task's aggregation of the ledger's answers, some of them with other scores."""
    before, after = scored
    keys = [(unit.id, unit.repeat) for unit in ledger.units]

    def score(values: Floats, present: Mask) -> float:
        chosen = [
            _with_value(before.get(key), after.get(key), float(value))
            for key, value, is_present in zip(keys, values, present, strict=True)
            if is_present
        ]
        made = [answer for answer in chosen if answer is not None]
        return replies.task.aggregate(made, own.protocol).score or 0.0

    return score


def _with_value(before: Scored | None, after: Scored | None, value: float) -> Scored | None:
    """The answer as the protocol scored it that gives this value, or with this value; None where there is none."""
    for scored in (before, after):
        if scored is not None and scored.score.value == value:
            return scored
    if before is None:
        return None
    forced = Score.of(value, before.score.extracted, before.score.method, **before.score.detail)
    return replace(before, score=forced)
