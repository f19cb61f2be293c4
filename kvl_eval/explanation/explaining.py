"""The whole explanation of a run's score: against a published result, a number, or nothing but its own losses."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kvl_eval.explanation.aggregates import AggregateParts, aggregate_parts, rest_interval
from kvl_eval.explanation.blind import blind_observation
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of, comparing_scorer, unscored
from kvl_eval.explanation.document import (
    ConditionalLine,
    ExplainedGap,
    ExplainedReference,
    ExplainedScore,
    Explanation,
    GapVerdict,
    HowKnown,
    Unexplained,
)
from kvl_eval.explanation.flips import mean_intervals
from kvl_eval.explanation.ledger import ORDER, Floats
from kvl_eval.explanation.observations import observations
from kvl_eval.explanation.parts import parts_of
from kvl_eval.explanation.probe_parts import draws_without, measured_parts, rest_after, with_measured
from kvl_eval.explanation.probes import probe_results
from kvl_eval.explanation.reading import GUESS, Scorer
from kvl_eval.explanation.references import (
    GapTarget,
    is_number,
    known_of,
    number,
    own_target,
    published_target,
    reference_of,
    reproductions,
    setting_lines,
    system_named,
    unknowable,
    unknown_system,
)
from kvl_eval.explanation.resampling import Replicates, replicates
from kvl_eval.explanation.sentences import incomplete_sentence, main_cause, published_sentence, rest_sentence
from kvl_eval.explanation.units import GapPart
from kvl_eval.explanation.weighing import WeighedAnswers, weighed
from kvl_eval.references import MEAN_NOTE
from kvl_eval.scorers.statistics import Z95, newcombe, z_test
from kvl_eval.scoring.plan_rows import PlanRows
from kvl_eval.scoring.published import own_system, why_not_comparable
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import Unit
from kvl_eval.verdicts import LEVEL

CORRELATION = 0.8  # of errors that are shared, since the same questions were asked
FEWEST = 30  # scored answers below which no difference is claimed


def explain_run(run: RunReader, options: ExplainOptions) -> Explanation:
    """Why a run's score differs from a published result or a number, from stored answers alone.

    Raises: UsageError for unknown names and numbers out of range, UnscoredError, DataError.
    """
    return explain_case(case_of(run, options), options)


def explain_case(case: ExplainedCase, options: ExplainOptions) -> Explanation:
    """As `explain_run`, of replies that were read before."""
    target = target_of_case(case, options)
    other, evidence = comparing_scorer(case, target, options.as_)
    case.replies.prepare([case.own, *other_scorers(case, other)])
    with PlanRows(case.run.folder) as rows:
        try:
            answers = weighed(case.replies, case.own, other, rows)
        except ValueError as error:  # a damaged file: the stored result has a score
            raise unscored(case.run, case.task, case.own, case.replies) from error
        return _Assembly(case, options, target, other, answers).explanation(evidence)


def target_of_case(case: ExplainedCase, options: ExplainOptions) -> GapTarget | None:
    """What the run is compared with; None where nothing is named and nothing is published of its model."""
    if options.to is None:
        return own_target(case.task, own_system(case.run.folder.manifest), case.row.budget)
    if is_number(options.to):
        return number(options.to, _unit(case))
    system = system_named(options.to)
    if system is None:
        raise unknown_system(options.to)
    return published_target(case.task, system, case.row.budget)


def other_scorers(case: ExplainedCase, other: Scorer) -> list[Scorer]:
    """P1, then the task's other protocols in their order, without P0 and without those that need a judge."""
    task, own = case.task, case.own
    names = [name for name, protocol in task.protocols.items() if not protocol.needs_judge]
    others = [Scorer(name, own.view) for name in names if name not in (own.protocol, other.protocol)]
    return ([] if other == own else [other]) + others


def _unit(case: ExplainedCase) -> Unit:
    return "points" if case.row.unit == "points" else "percent"


@dataclass(frozen=True, slots=True)
class _Computed:
    """Score, parts and what intervals of the rest need."""

    score: float
    parts: tuple[GapPart, ...]
    draws: Replicates | None
    aggregated: AggregateParts | None


class _Assembly:
    """One explanation, put together step by step."""

    def __init__(
        self,
        case: ExplainedCase,
        options: ExplainOptions,
        target: GapTarget | None,
        other: Scorer,
        answers: WeighedAnswers,
    ) -> None:
        self.case = case
        self.options = options
        self.target = target
        self.other = other
        self.answers = answers
        self.ledger = answers.ledger
        self.unit = _unit(case)
        self.manifest = case.run.folder.manifest
        self.others = other_scorers(case, other)
        self.n_scored = int(self.ledger.scored.sum())
        self.clusters = len({unit.cluster for unit in self.ledger.units if unit.is_scored})
        self.probes, self.probe_notices = probe_results(case, other, may_add=self.is_plain)
        self.measured = measured_parts(self.probes)

    def explanation(self, as_evidence: HowKnown) -> Explanation:
        """All of it."""
        case, computed = self.case, self._computed()
        reference = self._reference()
        gap = None if reference is None else self._gap(reference, computed.score)
        parts = with_measured([self._with_command(part) for part in computed.parts], self.measured)
        rest = self._rest(gap, reference, replace(computed, parts=parts))
        known = {} if self.target is None else known_of(self.target)
        settings = setting_lines(case.task, self.manifest, case.own.protocol, known)
        system = None if reference is None else reference.system
        return Explanation(
            run=case.about_run(),
            task=case.task.name,
            split=case.row.split,
            budget=case.row.budget,
            policy=case.row.policy,
            protocol=case.own.protocol,
            as_=self.other.protocol,
            as_evidence=as_evidence,
            unit=self.unit,
            n=case.counts(self.n_scored, self.clusters),
            score=ExplainedScore(value=computed.score, ci95=case.row.ci95, method=case.row.ci_method),
            reference=reference,
            gap=gap,
            order=(*ORDER, *(part.name for part in self.measured)),
            parts=parts,
            unexplained=rest,
            overlap=self.ledger.overlap(),
            conditional=self._conditional(),
            settings=() if reference is None else settings,
            observations=(
                *observations(case.replies, self.target, reference, case.own),
                *blind_observation(case),
            ),
            reproductions=reproductions(case.task, system),
            unknowable=unknowable(settings),
            probes=self.probes,
            verdict=self._verdict(gap, reference, parts, rest, computed.score),
            commands=self._commands(parts),
            notices=self._notices(),
        )

    # -- parts --------------------------------------------------------------------------------------------------

    def _computed(self) -> _Computed:
        if self.answers.aggregate is not None:
            aggregated = aggregate_parts(self.ledger, self.answers.aggregate)
            return _Computed(aggregated.score, aggregated.parts, None, aggregated)
        draws = replicates(self.ledger)
        return _Computed(self.ledger.score, parts_of(self.ledger, draws), draws, None)

    def _with_command(self, part: GapPart) -> GapPart:
        """The part with the command that would mend it, and in how many answers any protocol finds something."""
        run = shlex.quote(str(self.case.run.folder.path))
        fix = ""
        if part.name in ("no_answer", "extraction", "judge", "draws") and self.other != self.case.own:
            fix = f"kvl-eval score {run} --protocol {self.other.protocol}"
        elif part.name in ("unclosed", "truncated"):
            fix = f"kvl-eval explain {run} --probe max-new-tokens"
        elif part.name == "missing":
            has_failed = any(facts.status == "failed" for facts in self.case.replies.facts)
            fix = f"kvl-eval resume {run}{' --rerun failed' if has_failed else ''}"
        detail = {**part.detail, "by_any": self._by_any()} if part.name == "no_answer" else part.detail
        return replace(part, fix=fix, detail=detail)

    def _by_any(self) -> int:
        """In how many answers without one under P0 at least one protocol finds one, guesses aside; no estimate."""
        nothing = self.ledger.affected("no_answer")
        wanted = {(unit.id, unit.repeat) for unit, is_in in zip(self.ledger.units, nothing, strict=True) if is_in}
        keys = [f.entry.key for f in self.case.replies.facts if (f.entry.sample_id, f.entry.repeat) in wanted]
        verdicts = [self.case.replies.verdicts(scorer) for scorer in self.others]
        made = ([by_key[key] for by_key in verdicts if key in by_key] for key in keys)
        return sum(
            any(verdict.verdict not in ("no_answer", "not_scored") and verdict.method != GUESS for verdict in of_key)
            for of_key in made
        )

    def _conditional(self) -> tuple[ConditionalLine, ...]:
        """What the score would gain under each other protocol, in the task's order."""
        if self.answers.aggregate is not None:
            return ()
        ledger, replies = self.ledger, self.case.replies
        keys = {(facts.entry.sample_id, facts.entry.repeat): facts.entry.key for facts in replies.facts}
        columns: dict[str, Floats] = {}
        counts: dict[str, int] = {}
        for scorer in self.others:
            verdicts = replies.verdicts(scorer)
            made = [verdicts.get(keys[unit.id, unit.repeat]) for unit in ledger.units]
            values = [None if verdict is None else verdict.value for verdict in made]
            scored = ledger.scored & np.array([value is not None for value in values])
            change = np.where(scored, np.array([value or 0.0 for value in values]) - ledger.y0, 0.0)
            columns[scorer.protocol] = self.n_scored * (ledger.w * change)[ledger.scored]
            counts[scorer.protocol] = int(scored.sum())
        clusters = [unit.cluster for unit in ledger.units if unit.is_scored]
        intervals = mean_intervals(columns, clusters)
        return tuple(
            ConditionalLine(
                protocol=name,
                label=self.case.task.protocols[name].label or name,
                value=math.fsum(column) / self.n_scored,
                ci95=intervals[name],
                n=counts[name],
            )
            for name, column in columns.items()
        )

    # -- the gap ------------------------------------------------------------------------------------------------

    @property
    def is_share(self) -> bool:
        """Whether the score is the share of answers that are right."""
        values = self.ledger.y0[self.ledger.scored]
        return self.is_plain and bool(np.isin(values, (0.0, 1.0)).all())

    @property
    def is_plain(self) -> bool:
        """Whether the score is the mean of the answers' scores."""
        weights = self.ledger.w[self.ledger.scored]
        return self.answers.aggregate is None and bool(np.allclose(weights, 1 / self.n_scored))

    @property
    def effect(self) -> float:
        """The design effect of the clusters, at least 1."""
        row = self.case.row
        return max(1.0, ((row.stderr_clustered or 0.0) / row.stderr) ** 2) if row.stderr else 1.0

    def _reference(self) -> ExplainedReference | None:
        if self.target is None:
            return None
        return reference_of(self.target, self.case.task, self.options.to_n, self.n_scored, is_share=self.is_share)

    def _why_not_compared(self, reference: ExplainedReference) -> str | None:
        """What forbids to compare with a published result; an explicit number is always compared."""
        if reference.kind != "published":
            return None
        why = why_not_comparable(self.case.task, self.case.row, self.manifest)
        parts = () if self.case.task.reference is None else self.case.task.reference.mean_of
        return why or (MEAN_NOTE + " and ".join(parts) if parts else None)

    def _gap(self, reference: ExplainedReference, score: float) -> ExplainedGap:
        if self._why_not_compared(reference) is not None:
            return ExplainedGap(value=None, ci95=None, p_value=None, paired=False, verdict="not-comparable")
        assert self.target is not None
        gap, step = reference.value - score, self.target.step
        errors = self._errors(reference, score)
        p_value = None if errors is None else z_test(gap, *errors)
        if self.is_share:
            counts = (reference.value, reference.n / self.effect, score, self.n_scored / self.effect, step)
            ci95, correlated = newcombe(*counts), newcombe(*counts, correlation=CORRELATION)
        elif errors is None:
            ci95 = correlated = (reference.value - 1.0, reference.value)
        else:
            printed = step**2 / 12
            half = Z95 * math.sqrt(errors[0] ** 2 + errors[1] ** 2 + printed)
            close = Z95 * math.sqrt(errors[0] ** 2 + errors[1] ** 2 - 2 * CORRELATION * errors[0] * errors[1] + printed)
            ci95, correlated = (gap - half, gap + half), (gap - close, gap + close)
        return ExplainedGap(
            value=gap,
            ci95=ci95,
            ci95_correlated=correlated,
            correlation=CORRELATION,
            p_value=p_value,
            paired=False,
            verdict=self._outcome(gap, p_value),
        )

    def _errors(self, reference: ExplainedReference, score: float) -> tuple[float, float] | None:
        """Standard errors of the reference and of the score; None where nothing is known of them."""
        if self.is_share:
            return (
                math.sqrt(reference.value * (1 - reference.value) * self.effect / max(1, reference.n)),
                math.sqrt(score * (1 - score) * self.effect / self.n_scored),
            )
        error = self.case.row.stderr_clustered
        return None if error is None else (error, error)

    def _outcome(self, gap: float, p_value: float | None) -> GapVerdict:
        if p_value is None or p_value >= LEVEL or self.clusters == 1 or self.n_scored < FEWEST:
            return "no-difference-shown"
        return "below" if gap > 0 else "above"

    def _rest(
        self, gap: ExplainedGap | None, reference: ExplainedReference | None, computed: _Computed
    ) -> Unexplained | None:
        if gap is None or gap.value is None or reference is None:
            return None
        value = gap.value - math.fsum(part.value for part in computed.parts)
        before = value + math.fsum(part.value for part in self.measured)
        errors = self._errors(reference, computed.score)
        error = 1.0 if errors is None else errors[0]
        if self.is_share:  # without the design effect: the reference's own questions
            error = math.sqrt(reference.value * (1 - reference.value) / max(1, reference.n))
        if computed.aggregated is not None:
            bounds = (before, before), rest_interval(gap.value, computed.aggregated, error)
        else:
            assert computed.draws is not None
            draws = draws_without(computed.draws, self.measured)
            bounds = (
                draws.unexplained_of_these(gap.value, self.ledger),
                draws.unexplained_of_such(gap.value, error, self.ledger),
            )
        these, such = (rest_after(interval, before, self.measured) for interval in bounds)
        return Unexplained(value=value, ci95_same_questions=these, ci95=such)

    # -- words --------------------------------------------------------------------------------------------------

    def _verdict(
        self,
        gap: ExplainedGap | None,
        reference: ExplainedReference | None,
        parts: Sequence[GapPart],
        rest: Unexplained | None,
        score: float,
    ) -> tuple[str, ...]:
        """At most three sentences."""
        if gap is None or reference is None:
            return self._incomplete()
        if gap.verdict == "not-comparable":
            return (f"Not compared: {self._why_not_compared(reference)}.", *self._incomplete())
        first = published_sentence(score, reference, gap, self.n_scored, self.unit)
        other = (self.other.protocol, self.ledger.other_score)
        cause = None if self.answers.aggregate is not None else main_cause(gap, parts, other, self.unit)
        left = rest_sentence(rest, self.unit) if rest is not None and cause is not None else None
        sentences = (first, cause, left)
        return tuple(sentence for sentence in sentences if sentence) if cause else (first, *self._incomplete())

    def _incomplete(self) -> tuple[str, ...]:
        row = self.case.row
        missing = row.n_planned - row.n_ok
        return (incomplete_sentence(missing, row.n_planned, row.bounds, self.unit),) if missing else ()

    def _commands(self, parts: Sequence[GapPart]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.fix for part in parts if part.fix))

    def _notices(self) -> tuple[str, ...]:
        note = self.target.note if self.target is not None else ""
        own = [*self.case.run.folder.notices, *self.case.replies.notices, *self.probe_notices]
        notices = [*own, *([note] if note else [])]
        return tuple(dict.fromkeys(notices))
