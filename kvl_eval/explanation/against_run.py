"""Why a run's score differs from another run's: paired, on the samples that both have scored."""

from __future__ import annotations

import math
import shlex

from kvl_eval.errors import UsageError
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of, comparing_scorer, scorer
from kvl_eval.explanation.document import (
    ExplainedGap,
    ExplainedReference,
    ExplainedScore,
    Explanation,
    GapVerdict,
    SettingLine,
    Unexplained,
)
from kvl_eval.explanation.flips import CAUSES, PairedRuns, cause_parts, pair_runs
from kvl_eval.explanation.observations import observations
from kvl_eval.explanation.probes import probe_results
from kvl_eval.explanation.reading import BudgetKey, Scorer, TaskReplies, budgets_of
from kvl_eval.explanation.references import own_settings
from kvl_eval.explanation.sentences import main_cause, printed
from kvl_eval.explanation.units import GapPart
from kvl_eval.paired import paired_p_value
from kvl_eval.printable import how_many
from kvl_eval.scorers.statistics import PairedDifference, interval, paired_difference
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import Unit
from kvl_eval.verdicts import LEVEL, Gap, verdict

FEWEST = 30  # pairs below which no difference is claimed


def explain_against(run: RunReader, other: RunReader, options: ExplainOptions) -> Explanation:
    """Why `run` differs from `other`, the reference.

    Raises: UsageError `explain.no_overlap` for runs without common samples, and as `explain_run`.
    """
    case = case_of(run, options)
    return explain_pair(case, their_replies(case, other), options.as_)


def explain_pair(case: ExplainedCase, theirs: TaskReplies, as_: str | None = None) -> Explanation:
    """As `explain_against`, of replies that were read before; `theirs` are the reference's."""
    other = theirs.run
    reading, as_evidence = comparing_scorer(case, None, as_)
    own = _shared(case, other)
    pairs = pair_runs(case.replies, theirs, own, reading._replace(judge=None))
    if not pairs.answers:
        raise _no_overlap(case, other)
    ours = [answer.ours for answer in pairs.answers]
    reference = [answer.theirs for answer in pairs.answers]
    clusters = [answer.cluster for answer in pairs.answers]
    difference = paired_difference(ours, reference, clusters)
    unit: Unit = "points" if case.row.unit == "points" else "percent"
    parts = cause_parts(pairs)
    p_value = paired_p_value(list(zip(ours, reference, strict=True)), clusters)
    gap = _gap(difference, p_value, len(set(clusters)))
    rest = difference.mean - math.fsum(part.value for part in parts)
    low, high, method = interval(ours, clusters)
    probes, odd = probe_results(case, reading, may_add=False)
    score = math.fsum(ours) / len(ours)
    return Explanation(
        run=case.about_run(),
        task=case.task.name,
        split=case.row.split,
        budget=case.row.budget,
        policy=case.row.policy,
        protocol=own.protocol,
        as_=reading.protocol,
        as_evidence=as_evidence,
        unit=unit,
        n=case.counts(len(pairs.answers), len(set(clusters))),
        score=ExplainedScore(value=score, ci95=(low, high), method=method),
        reference=ExplainedReference(
            kind="run",
            value=math.fsum(reference) / len(reference),
            printed=printed(math.fsum(reference) / len(reference), unit),
            system=other.folder.run_id,
            source=str(other.folder.path),
            n=len(pairs.answers),
            n_evidence="pairs",
            protocol=own.protocol,
        ),
        gap=gap,
        order=CAUSES,
        parts=parts,
        unexplained=Unexplained(value=rest, ci95_same_questions=(rest, rest), ci95=(rest, rest)),
        overlap={},
        settings=_settings(case, other),
        observations=observations(case.replies, None, None, own),
        probes=probes,
        verdict=_verdict(case, other, gap, pairs, parts),
        commands=(_compare(case, other),),
        notices=(*_notices(case, theirs, pairs), *odd),
    )


def their_replies(case: ExplainedCase, other: RunReader, known: TaskReplies | None = None) -> TaskReplies:
    """The reference's replies at the same budget, or at its only one. Raises: UsageError `explain.no_overlap`.

    `known` are replies of the reference that were read before.
    """
    if known is not None and known.budget == case.replies.budget:
        return known
    if case.task.name not in other.task_names:
        raise _no_overlap(case, other)
    plan = list(other.folder.plan(case.task.name))
    planned = budgets_of(plan)
    budget = case.replies.budget
    if budget not in planned:
        budget = planned[0] if len(planned) == 1 else BudgetKey()
    return TaskReplies(other, case.task, budget, plan)


def _shared(case: ExplainedCase, other: RunReader) -> Scorer:
    """P0 for both runs: with a judge only where both asked it."""
    theirs = scorer(other, case.task, case.own.protocol, case.own.view)
    return case.own if theirs.judge == case.own.judge else case.own._replace(judge=None)


def _no_overlap(case: ExplainedCase, other: RunReader) -> UsageError:
    data = other.folder.manifest.data
    splits = ", ".join(f"{name} / {about.split}" for name, about in data.items()) or "unknown"
    return UsageError(
        "explain.no_overlap",
        "the runs have no scored sample in common",
        where=str(other.folder.path),
        why=f"{case.task.name} / {case.row.split} versus {splits}",
        fix="use a run of the same task and split",
    )


def _gap(difference: PairedDifference, p_value: float, clusters: int) -> ExplainedGap:
    word: GapVerdict = "no-difference-shown"
    if p_value < LEVEL and difference.mean and difference.n >= FEWEST and clusters > 1:
        word = "below" if difference.mean > 0 else "above"
    return ExplainedGap(value=difference.mean, ci95=difference.ci95, p_value=p_value, paired=True, verdict=word)


def _names(case: ExplainedCase, other: RunReader) -> tuple[str, str]:
    """Of the reference and of ours: the models, or the runs where one model made both."""
    theirs, ours = other.folder.manifest.model.name, case.run.folder.manifest.model.name
    return (theirs, ours) if theirs != ours else (f"{theirs} ({other.folder.run_id})", f"{ours} (this run)")


def _verdict(
    case: ExplainedCase, other: RunReader, gap: ExplainedGap, pairs: PairedRuns, parts: tuple[GapPart, ...]
) -> tuple[str, ...]:
    assert gap.value is not None and gap.ci95 is not None and gap.p_value is not None
    changed = sum(answer.cause != "" for answer in pairs.answers)
    unit: Unit = "points" if case.row.unit == "points" else "percent"
    difference = Gap(
        task=case.task.title,
        n=len(pairs.answers),
        difference=-gap.value,
        ci95=(-gap.ci95[1], -gap.ci95[0]),
        p_value=gap.p_value if gap.verdict in ("below", "above") else 1.0,
        changed=changed / len(pairs.answers),
        points=unit == "points",
    )
    first = " ".join(verdict(difference, _names(case, other)))
    cause = main_cause(gap, parts, ("", 0.0), unit)
    return (first, cause) if cause else (first,)


def _settings(case: ExplainedCase, other: RunReader) -> tuple[SettingLine, ...]:
    """Settings of both runs, as far as they differ."""
    protocol = case.own.protocol
    ours = own_settings(case.task, case.run.folder.manifest, protocol)
    theirs = own_settings(case.task, other.folder.manifest, protocol)
    return tuple(
        SettingLine(name=name, ours=ours.get(name, ""), reference=theirs.get(name), evidence="read", differs=True)
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name)
    )


def _compare(case: ExplainedCase, other: RunReader) -> str:
    paths = (shlex.quote(str(run.folder.path)) for run in (other, case.run))
    return f"kvl-eval compare {' '.join(paths)} --task {case.task.name}"


def _notices(case: ExplainedCase, theirs: TaskReplies, pairs: PairedRuns) -> tuple[str, ...]:
    left_out = [
        f"left out: {how_many(count, 'sample')} {why}"
        for count, why in (
            (pairs.changed, "whose question, options or gold answer changed"),
            (pairs.failed, "that failed or are pending on either side"),
            (pairs.unpaired, "that only one of the runs has"),
        )
        if count
    ]
    notices = [*case.run.folder.notices, *theirs.run.folder.notices, *case.replies.notices, *theirs.notices, *left_out]
    return tuple(dict.fromkeys(notices))
