"""One row of `results.json`: counts over everything planned, score with interval, sub-scores, tokens, reference."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kvl_eval.families import DEMO_NOTE, is_sure
from kvl_eval.model.families import SCRIPTED, stored_family
from kvl_eval.references import MEAN_NOTE, kimi_value
from kvl_eval.scorers.aggregate import by_question
from kvl_eval.scorers.macro_mean import grouped, headline_interval, macro_stderr
from kvl_eval.scorers.statistics import interval, is_plain_mean, majority, pass_at_k, stderr, stderr_clustered
from kvl_eval.scoring.judged import FAILED_REPLY, MISSING_REPLY
from kvl_eval.scoring.outputs import SCORER_ERROR
from kvl_eval.tasks.base import Task
from kvl_eval.types import Policy, Sample, Scored, Summary, ThinkingView

SETTING = ("task", "split", "budget", "policy", "protocol", "thinking", "blind")
BROKEN = (SCORER_ERROR, MISSING_REPLY, FAILED_REPLY)  # reasons of a missing score that can be mended

Row = dict[str, Any]


@dataclass(slots=True)
class Part:
    """What is known of one task at one budget: counts over everything planned, and what was scored.

    `groups` counts the samples planned of each question that is asked several times, by (group, repeat).
    """

    budget: int | None
    policy: Policy | None
    planned: int = 0
    groups: Counter[tuple[str, int]] = field(default_factory=Counter)
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    scored: list[Scored] = field(default_factory=list)
    tokens: dict[str, array[int]] = field(
        default_factory=lambda: {name: array("q") for name in ("thinking", "answer", "prompt", "image")}
    )
    truncated: int = 0
    unclosed: int = 0
    forced: int = 0
    seconds: float = 0.0
    others: Counter[str] = field(default_factory=Counter)  # answers by models other than the one asked for


def result_row(
    manifest: Mapping[str, Any],
    task: Task,
    part: Part,
    protocol: str,
    thinking: ThinkingView,
    judge: str | None = None,
) -> Row:
    """One row of `results.json`: task x split x budget x policy x protocol, and the judge, if one was asked."""
    data = (manifest.get("data") or {}).get(task.name, {})
    settled = _settled(part)
    asked = by_question(settled)
    known = [one for one in asked if one.score.value is not None]
    summary = task.aggregate(settled, protocol) if settled else Summary(score=None)
    questions = part.planned - part.groups.total() + len(part.groups)
    if not known:
        summary = replace(summary, score=None)
    verdicts = Counter(one.score.verdict for one in part.scored)
    failed = part.failed.total()
    row = {
        "task": task.name,
        "title": task.title,
        "split": data.get("split"),
        "budget": part.budget,
        "policy": part.policy,
        "protocol": protocol,
        "label": _label(task, protocol, judge),
        "judge": judge,
        "thinking": thinking,
        "n_planned": part.planned,
        "n_ok": part.ok,
        "n_failed": failed,
        "n_pending": part.planned - part.ok - failed,
        "failed": dict(sorted(part.failed.items())),
        "n_scored": sum(one.score.value is not None for one in part.scored),
        **({"n_questions": questions} if part.groups else {}),
        "n_unextracted": verdicts["no_answer"],
        "verdicts": dict(sorted(verdicts.items())),
        "score": summary.score,
        "unit": summary.unit,
        "complete": part.ok == part.planned and not any(_is_broken(one.score.reason) for one in part.scored),
        "partial": data.get("partial"),
        **_uncertainty(summary, known, questions),
        "official": dict(summary.official),
        "categories": _categories(summary, asked),
        "tokens": {name: _spread(counted) for name, counted in part.tokens.items()},
        "truncated_share": part.truncated / part.ok if part.ok else 0.0,
        "unclosed_share": part.unclosed / part.ok if part.ok else 0.0,
        "forced_share": part.forced / part.ok if part.ok else 0.0,
        "blind": bool(manifest.get("blind")),
        "time": {"total": part.seconds, "mean": part.seconds / part.ok if part.ok else 0.0},
        "repeats": _repeats(asked),
        **({"answered_by": dict(sorted(part.others.items()))} if part.others else {}),
    }
    return {**row, "reference": _reference(task, row, manifest)}


def _settled(part: Part) -> list[Scored]:
    """What was scored, without the samples of questions whose outcome is open: not all of them scored, none wrong."""
    if not part.groups:
        return part.scored
    scored: Counter[tuple[str, int]] = Counter()
    lost: set[tuple[str, int]] = set()
    for one in part.scored:
        if one.score.value is not None:
            scored[one.sample.question_id, one.repeat] += 1
            if one.score.value < 1:
                lost.add((one.sample.question_id, one.repeat))
    return [
        one
        for one in part.scored
        if one.sample.group is None
        or (one.sample.group, one.repeat) in lost
        or scored[one.sample.group, one.repeat] == part.groups[one.sample.group, one.repeat]
    ]


def _label(task: Task, protocol: str, judge: str | None) -> str:
    chosen = task.protocols[protocol]
    return (chosen.judged if judge is not None else chosen.label) or protocol


def decisive_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of results that differ in their judge alone, the last one's: the newest judge, or none where none was asked."""
    keyed = {tuple(row.get(name) for name in SETTING): row for row in rows}
    return list(keyed.values())


def _is_broken(reason: str | None) -> bool:
    """Whether a missing score is a fault to be mended, and not the benchmark's own rule (no gold, left out)."""
    return reason is not None and reason.partition(":")[0] in BROKEN


def _cluster(sample: Sample) -> str:
    return f"cluster {sample.cluster}" if sample.cluster is not None else f"sample {sample.id}"


def _uncertainty(summary: Summary, known: Sequence[Scored], planned: int) -> Row:
    """Bounds, interval and standard errors of the score over questions that have one; of a macro mean over its groups.

    A score that is neither has no interval. Bounds of one that is no plain mean are itself once every question has a
    score, and until then nothing.
    """
    values = [one.score.value for one in known if one.score.value is not None]
    clusters = [_cluster(one.sample) for one in known]
    found = headline_interval(summary, known, clusters)
    bounds = _bounds(values, planned)
    if summary.score is not None and not (summary.over is None and is_plain_mean(summary.score, values)):
        bounds = [summary.score, summary.score] if len(values) == planned else [0.0, 1.0]
    errors = stderr(values), stderr_clustered(values, clusters)
    if summary.over is not None:
        shown, groups, shared = grouped(summary.over, known, clusters)
        weights = summary.over.weights
        errors = macro_stderr(shown, groups, weights), macro_stderr(shown, groups, weights, shared)
    return {
        "bounds": bounds,
        "ci95": None if found is None else list(found[:2]),
        "ci_method": found[2] if found else "none: no plain mean" if values else None,
        "stderr": errors[0],
        "stderr_clustered": errors[1],
    }


def _bounds(values: Sequence[float], planned: int) -> list[float]:
    """The mean over everything planned if all that has no score were wrong, and if it were right."""
    total = math.fsum(values)
    return [total / planned, min(1.0, (total + planned - len(values)) / planned)]


def _categories(summary: Summary, scored: Sequence[Scored]) -> dict[str, dict[str, Row]]:
    values: dict[tuple[str, str], tuple[list[float], list[str]]] = {}
    for one in scored:
        if one.score.value is None:
            continue
        for name, labels in one.sample.categories.items():
            for label in labels:
                found = values.setdefault((name, label), ([], []))
                found[0].append(one.score.value)
                found[1].append(_cluster(one.sample))
    return {
        name: {label: _category(cell.n, cell.score, values.get((name, label))) for label, cell in cells.items()}
        for name, cells in summary.categories.items()
    }


def _category(n: int, score: float, found: tuple[list[float], list[str]] | None) -> Row:
    ci95 = list(interval(*found)[:2]) if found is not None and len(found[0]) == n else None
    return {"n": n, "score": score, "ci95": ci95}


def _spread(counted: array[int]) -> dict[str, float]:
    """Mean, median and 95th percentile (nearest rank)."""
    if not counted:
        return {"mean": 0.0, "median": 0.0, "p95": 0.0}
    ordered = sorted(counted)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return {"mean": sum(ordered) / len(ordered), "median": float(median), "p95": float(p95)}


def _repeats(scored: Sequence[Scored]) -> Row | None:
    """Mean, pass@k and majority vote over questions of which all repeats were scored; None without repeats."""
    questions: dict[str, list[Scored]] = {}  # a protocol with draws scores repeat by repeat
    for one in scored:
        questions.setdefault(one.sample.id, []).append(one)
    groups = list(questions.values())
    most = max(map(len, groups), default=0)
    if most < 2:
        return None
    whole = [group for group in groups if len(group) == most and all(one.score.value is not None for one in group)]
    if not whole:
        return None
    right = [sum(one.score.value == 1 for one in group) for group in whole]
    ks = sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})
    voted = [majority([one.score.extracted for one in group]) for group in whole]
    votes = [0.0 if chosen is None else group[chosen].score.value for group, chosen in zip(whole, voted, strict=True)]
    return {
        "n": most,
        "questions": len(whole),
        "mean": math.fsum(one.score.value or 0.0 for group in whole for one in group) / (most * len(whole)),
        "pass_at": {str(k): math.fsum(pass_at_k(most, count, k) for count in right) / len(whole) for k in ks},
        "majority": math.fsum(vote or 0.0 for vote in votes) / len(whole),
    }


def _reference(task: Task, row: Row, manifest: Mapping[str, Any]) -> Row | None:
    """The published figure, and the distance to it unless something forbids the comparison; `note` says what."""
    model = manifest.get("model") or {}
    if not is_sure(model.get("family_rule")):
        return None
    family = stored_family(str(model.get("family", "")))
    found = kimi_value(task.reference, family.published, row["budget"])
    if found is None:
        return None
    note = _why_no_delta(task, row, manifest, bool(model.get("scripted", family is SCRIPTED)))
    low, high = row["ci95"] or (0.0, 1.0)
    comparable = note is None and row["score"] is not None
    return {
        "system": found.system,
        "value": found.value,
        "unit": found.unit,
        "source": found.source,
        "table": found.table,
        "delta": row["score"] - found.value if comparable else None,
        "inside_ci": low <= found.value <= high if comparable and row["ci95"] else None,
        "note": note,
    }


def _why_no_delta(task: Task, row: Row, manifest: Mapping[str, Any], scripted: bool) -> str | None:
    if manifest.get("demo"):
        return DEMO_NOTE
    if scripted:
        return "scripted answers"
    if row["blind"]:
        return "blind: pictures were grey"
    if row["split"] == "mini":
        return "the bundled mini split"
    if row["split"] != task.published_split:
        return f"split {row['split']}; the published figure is of {task.published_split}"
    if row["partial"]:
        return f"partial: {row['partial']}"
    declared = task.splits[row["split"]].rows if row["split"] in task.splits else None
    total = (manifest.get("data") or {}).get(row["task"], {}).get("total")
    if declared is not None and total is not None and total != declared:
        return f"{total:,} rows of data; the split has {declared:,}"
    if not row["complete"]:
        return "incomplete"
    if row["thinking"] == "raw" or row["protocol"] != task.default_protocol:
        return "other protocol"
    parts = () if task.reference is None else task.reference.mean_of
    return MEAN_NOTE + " and ".join(parts) if parts else None
