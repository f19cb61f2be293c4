"""One row of `results.json`: counts over everything planned, score with interval, sub-scores, tokens, reference."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvl_eval.flags import in_order
from kvl_eval.scorers.aggregate import by_question
from kvl_eval.scorers.macro_mean import grouped, headline_interval, macro_stderr
from kvl_eval.scorers.outcomes import OUTCOMES
from kvl_eval.scorers.statistics import interval, is_plain_mean, majority, pass_at_k, stderr, stderr_clustered
from kvl_eval.scoring.judged import FAILED_REPLY, MISSING_REPLY
from kvl_eval.scoring.outputs import SCORER_ERROR
from kvl_eval.scoring.published import published_row
from kvl_eval.scoring.tally import Tally
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.result_records import CategoryRow, Repeats, ResultRow, Seconds, Spread
from kvl_eval.tasks.base import Task, answer_form
from kvl_eval.types import Sample, Scored, ScoreView, Summary, stored_view

if TYPE_CHECKING:
    from kvl_eval.scorers.answers.forms import AnswerForm

BROKEN = (SCORER_ERROR, MISSING_REPLY, FAILED_REPLY)  # reasons of a missing score that can be mended


@dataclass(frozen=True, slots=True)
class _Uncertainty:
    """How sure a score is; fields as in `ResultRow`."""

    bounds: tuple[float, float]
    ci95: tuple[float, float] | None
    ci_method: str | None
    stderr: float | None
    stderr_clustered: float | None


def result_row(
    tally: Tally, manifest: Manifest, task: Task, protocol: str, view: ScoreView, judge: str | None = None
) -> ResultRow:
    """One row of `results.json`: task x split x budget x policy x protocol, and the judge, if one was asked."""
    data = manifest.data.get(task.name)
    asked, known, summary = _summed(tally, task, protocol)
    questions = tally.planned - tally.groups.total() + len(tally.groups)
    verdicts = Counter(scored.score.verdict for scored in tally.scored)
    failed, answered = tally.failed.total(), max(1, tally.ok)
    about = _uncertainty(summary, known, questions)
    form = asked_form(manifest, task)
    row = ResultRow(
        task=task.name,
        title=task.title,
        split=None if data is None else data.split,
        budget=tally.budget,
        policy=tally.policy,
        protocol=protocol,
        label=result_label(task, protocol, judge),
        judge=judge,
        thinking=stored_view(view),
        n_planned=tally.planned,
        n_ok=tally.ok,
        n_failed=failed,
        n_pending=tally.planned - tally.ok - failed,
        failed=dict(sorted(tally.failed.items())),
        n_scored=sum(scored.score.value is not None for scored in tally.scored),
        n_questions=questions if tally.groups else None,
        n_unextracted=verdicts["no_answer"],
        n_followed=None if form is None else tally.followed,
        n_followed_unread=None if form is None else tally.followed_unread,
        verdicts=dict(sorted(verdicts.items())),
        outcomes={name: tally.outcomes[name] for name in OUTCOMES if tally.outcomes[name]},
        score=summary.score,
        unit=summary.unit,
        complete=tally.ok == tally.planned and not any(_is_broken(scored.score.reason) for scored in tally.scored),
        partial=None if data is None else data.partial,
        bounds=about.bounds,
        ci95=about.ci95,
        ci_method=about.ci_method,
        stderr=about.stderr,
        stderr_clustered=about.stderr_clustered,
        official=dict(summary.official),
        categories=_categories(summary, asked),
        tokens={name: _spread(counts) for name, counts in tally.tokens.items()},
        truncated_share=tally.truncated / answered,
        unclosed_share=tally.unclosed / answered,
        forced_share=tally.forced / answered,
        thoughts=dict(sorted(tally.thoughts.items())),
        blind=manifest.blind,
        time=Seconds(total=tally.seconds, mean=tally.seconds / answered),
        seconds=tally.busy.seconds,
        devices=tally.busy.devices,
        repeats=_repeats(asked),
        answered_by=dict(sorted(tally.models.items())),
        flags={flag: tally.flags[flag] for flag in in_order(tally.flags)},
    )
    return replace(row, shares=dict(summary.shares), reference=published_row(task, row, manifest))


def _summed(tally: Tally, task: Task, protocol: str) -> tuple[list[Scored], list[Scored], Summary]:
    """The questions that are settled, those of them that have a value, and what they come to."""
    settled = _settled(tally)
    asked = by_question(settled)
    known = [scored for scored in asked if scored.score.value is not None]
    summary = task.aggregate(settled, protocol) if settled else Summary(score=None)
    return asked, known, summary if known else replace(summary, score=None)


def asked_form(manifest: Manifest, task: Task) -> AnswerForm | None:
    """The form of an answer that a run's prompt asks for; None where the prompt is not known."""
    if manifest.config.get("prompt_text"):
        return "free"
    prompt = manifest.prompt.get(task.name)
    return answer_form(task.prompts[prompt.name]) if prompt is not None and prompt.name in task.prompts else None


def decisive_rows(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Of results that differ in their judge alone, the last one's: the newest judge, or none where none was asked."""
    keyed = {(row.task, row.split, row.budget, row.policy, row.protocol, row.thinking, row.blind): row for row in rows}
    return list(keyed.values())


def _settled(tally: Tally) -> list[Scored]:
    """What was scored, without the samples of questions whose outcome is open: not all of them scored, none wrong."""
    if not tally.groups:
        return tally.scored
    times: Counter[tuple[str, int]] = Counter()
    lost: set[tuple[str, int]] = set()
    for scored in tally.scored:
        if scored.score.value is not None:
            times[scored.sample.question_id, scored.repeat] += 1
            if scored.score.value < 1:
                lost.add((scored.sample.question_id, scored.repeat))
    return [
        scored
        for scored in tally.scored
        if scored.sample.group is None
        or (question := (scored.sample.group, scored.repeat)) in lost
        or times[question] == tally.groups[question]
    ]


def result_label(task: Task, protocol: str, judge: str | None) -> str:
    """What views print for a protocol of a task, with or without a judge."""
    rule = task.protocols[protocol]
    return (rule.judged if judge is not None else rule.label) or protocol


def _is_broken(reason: str | None) -> bool:
    """Whether a missing score is a fault to be mended, and not the benchmark's own rule (no gold, left out)."""
    return reason is not None and reason.partition(":")[0] in BROKEN


def _cluster(sample: Sample) -> str:
    return f"cluster {sample.cluster}" if sample.cluster is not None else f"sample {sample.id}"


def _uncertainty(summary: Summary, known: Sequence[Scored], planned: int) -> _Uncertainty:
    """Bounds, interval and standard errors of the score over questions that have one; of a macro mean over its groups.

    Any other score has no interval. Bounds of one other than a plain mean are itself once every question has a
    score, and until then nothing.
    """
    values = [scored.score.value for scored in known if scored.score.value is not None]
    clusters = [_cluster(scored.sample) for scored in known]
    headline = headline_interval(summary, known, clusters)
    bounds = _bounds(values, planned)
    if summary.score is not None and not (summary.over is None and is_plain_mean(summary.score, values)):
        bounds = (summary.score, summary.score) if len(values) == planned else (0.0, 1.0)
    errors = stderr(values), stderr_clustered(values, clusters)
    if summary.over is not None:
        points, groups, shared = grouped(summary.over, known, clusters)
        weights = summary.over.weights
        errors = macro_stderr(points, groups, weights), macro_stderr(points, groups, weights, shared)
    return _Uncertainty(
        bounds=bounds,
        ci95=None if headline is None else headline[:2],
        ci_method=headline[2] if headline else "none: no plain mean" if values else None,
        stderr=errors[0],
        stderr_clustered=errors[1],
    )


def _bounds(values: Sequence[float], planned: int) -> tuple[float, float]:
    """The mean over everything planned if all that has no score were wrong, and if it were right."""
    total = math.fsum(values)
    return total / planned, min(1.0, (total + planned - len(values)) / planned)


def _categories(summary: Summary, asked: Sequence[Scored]) -> dict[str, dict[str, CategoryRow]]:
    values: dict[tuple[str, str], tuple[list[float], list[str]]] = {}
    for scored in asked:
        if scored.score.value is None:
            continue
        for name, labels in scored.sample.categories.items():
            for label in labels:
                cell = values.setdefault((name, label), ([], []))
                cell[0].append(scored.score.value)
                cell[1].append(_cluster(scored.sample))
    return {
        name: {label: _category(cell.n, cell.score, values.get((name, label))) for label, cell in cells.items()}
        for name, cells in summary.categories.items()
    }


def _category(n: int, score: float, cell: tuple[list[float], list[str]] | None) -> CategoryRow:
    ci95 = interval(*cell)[:2] if cell is not None and len(cell[0]) == n else None
    return CategoryRow(n=n, score=score, ci95=ci95)


def _spread(counts: array[int]) -> Spread:
    """Mean, median and 95th percentile (nearest rank)."""
    if not counts:
        return Spread(mean=0.0, median=0.0, p95=0.0)
    ordered = sorted(counts)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return Spread(mean=sum(ordered) / len(ordered), median=float(median), p95=float(p95))


def _repeats(asked: Iterable[Scored]) -> Repeats | None:
    """Mean, pass@k and majority vote over questions of which all repeats were scored; None without repeats."""
    questions: dict[str, list[Scored]] = {}  # a protocol with draws scores repeat by repeat
    for scored in asked:
        questions.setdefault(scored.sample.id, []).append(scored)
    groups = list(questions.values())
    most = max(map(len, groups), default=0)
    if most < 2:
        return None
    whole = [
        group for group in groups if len(group) == most and all(scored.score.value is not None for scored in group)
    ]
    if not whole:
        return None
    right = [sum(scored.score.value == 1 for scored in group) for group in whole]
    ks = sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})
    winners = [majority([scored.score.extracted for scored in group]) for group in whole]
    votes = [0.0 if best is None else group[best].score.value for group, best in zip(whole, winners, strict=True)]
    return Repeats(
        n=most,
        questions=len(whole),
        mean=math.fsum(scored.score.value or 0.0 for group in whole for scored in group) / (most * len(whole)),
        pass_at={str(k): math.fsum(pass_at_k(most, count, k) for count in right) / len(whole) for k in ks},
        majority=math.fsum(vote or 0.0 for vote in votes) / len(whole),
    )
