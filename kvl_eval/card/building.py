"""A task of a run as a result card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from kvl_eval import __version__
from kvl_eval.card.document import CardData, CardModel, Certainty, ResultCard, digest_of
from kvl_eval.card.packing import CardAnswer, packed, question_digest, recomputed
from kvl_eval.explanation.case import ExplainedCase, ExplainOptions, case_of
from kvl_eval.explanation.sentences import incomplete_sentence, interval, printed, unsigned
from kvl_eval.references import MAXIMUM
from kvl_eval.scoring.published import is_scripted
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.result_records import PublishedRow
from kvl_eval.types import Interval, Unit

EQUAL = 1e-9  # by which a recomputed score or bound may differ


def card_of(run: RunReader, task: str, protocol: str | None = None, budget: int | None = None) -> ResultCard:
    """The card of one task of a run. Raises: as `case_of`."""
    case = case_of(run, ExplainOptions(task=task, protocol=protocol, budget=budget))
    row, manifest = case.row, run.folder.manifest
    answers = packed(list(_answers(case)))
    data = manifest.data.get(case.task.name)
    prompt = manifest.prompt.get(case.task.name)
    unit: Unit = "points" if row.unit == "points" else "percent"
    score = row.score or 0.0
    made = recomputed(answers)
    is_mean = made is not None and row.ci95 is not None and same_result(score, row.ci95, made.score, made.ci95)
    certainty: Certainty = "recomputed" if is_mean else "stated"
    card = ResultCard(
        task=case.task.name,
        title=case.task.title,
        split=row.split,
        budget=row.budget,
        policy=row.policy,
        protocol=row.protocol,
        label=row.label,
        judge=row.judge,
        score=score,
        unit=unit,
        ci95=row.ci95,
        ci_method=row.ci_method,
        certainty=certainty,
        n=row.n_scored,
        n_planned=row.n_planned,
        n_failed=row.n_failed,
        n_pending=row.n_pending,
        n_unextracted=row.n_unextracted,
        prompt="" if prompt is None else prompt.name,
        settings=_settings(case),
        model=CardModel(
            name=manifest.model.name,
            family=manifest.model.family,
            dtype=manifest.model.dtype,
            device=manifest.model.device,
            demo=manifest.demo,
            scripted=is_scripted(manifest),
            fingerprint=manifest.config_fingerprint,
        ),
        data=CardData(
            source=None if data is None else data.source,
            revision=None if data is None else data.revision,
            version=None if data is None else data.version,
            fingerprint=None if data is None else data.fingerprint,
            partial=row.partial,
        ),
        verdict=tuple(_verdict(case, unit)),
        harness=manifest.code.version,
        commit=manifest.code.commit,
        written_by=__version__,
        run_id=run.folder.run_id,
        created=manifest.created,
        run_sha256=manifest.sha256,
        answers=answers,
    )
    return replace(card, sha256=digest_of(card))


def same_result(score: float, ci95: Interval, other: float, other_ci95: Interval) -> bool:
    """Whether two scores and their intervals are the same."""
    pairs = ((score, other), *zip(ci95, other_ci95, strict=True))
    return all(math.isclose(ours, theirs, abs_tol=EQUAL) for ours, theirs in pairs)


def _answers(case: ExplainedCase) -> Iterator[CardAnswer]:
    verdicts = case.replies.verdicts(case.own)
    for facts in case.replies.facts:
        entry, made = facts.entry, verdicts.get(facts.entry.key)
        code = made.verdict if made is not None and facts.status == "ok" else facts.status
        yield CardAnswer(
            digest=question_digest(entry.task, entry.split, entry.sample_id, entry.sample.gold),
            code="not_scored" if code == "ok" else code,
            score=None if made is None else made.value,
            cluster=facts.cluster,
            label=facts.stratum,
        )


def _settings(case: ExplainedCase) -> dict[str, str]:
    manifest = case.run.folder.manifest
    generation = manifest.generation.get(case.task.name)
    if generation is None:
        return {}
    repeats = manifest.identity.get("repeats")
    settings = {"temperature": f"{float(generation.temperature):g}", "top p": f"{float(generation.top_p):g}"}
    settings |= {"most new tokens": f"{generation.limit:,}", "seed": str(manifest.seeds.seed)}
    if isinstance(repeats, int) and repeats > 1:
        settings["repeats"] = str(repeats)
    if manifest.blind:
        settings["images"] = "replaced with gray"
    return settings


def _verdict(case: ExplainedCase, unit: Unit) -> Iterator[str]:
    """What the result says beside the published one, and what its missing answers leave open."""
    row = case.row
    if row.reference is None:
        yield "No published result to compare with."
    else:
        yield _published(row.score or 0.0, row.reference, row.n_scored, unit)
    if missing := row.n_failed + row.n_pending:
        yield incomplete_sentence(missing, row.n_planned, row.bounds, unit)


def _published(score: float, reference: PublishedRow, n: int, unit: Unit) -> str:
    ours, largest = printed(score, unit), MAXIMUM[unit]
    value = reference.value if reference.value <= 1 else reference.value / largest
    theirs = f"the published {printed(value, unit)} of {reference.system}"
    if reference.note is not None or reference.gap_ci95 is None:
        return f"Not compared with {theirs}: {reference.note or 'no interval is known'}."
    low, high = reference.gap_ci95
    if low <= 0 <= high:
        return f"{ours} and {theirs} do not differ by more than chance ({n:,} samples)."
    gap = value - score
    bounds = (low, high) if gap > 0 else (-high, -low)
    word = "below" if gap > 0 else "above"
    return f"{ours} is {unsigned(abs(gap), unit)} points {word} {theirs} {interval(bounds, unit)}: not chance alone."
