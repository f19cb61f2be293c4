"""A comparison as text: settings, then a block for each task; percent with one decimal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvl_eval.audit.compare import ComparedSetting, RunComparison, TaskComparison
from kvl_eval.decode import Json
from kvl_eval.paired import ChangedSample, PairCounts, PairedScores, SideScore
from kvl_eval.reports.numbers import plain
from kvl_eval.verdicts import p_text

SHOWN = 20  # changed samples in each direction


def as_text(comparison: RunComparison) -> str:
    """Both runs, what differs between them, and each task."""
    runs = (comparison.a, comparison.b)
    lines = [f"{name}  {run.run}  ({plain(run.model or 'None')})" for name, run in zip("AB", runs, strict=True)]
    lines += _block("settings that can change an answer", comparison.settings)
    lines += _block("circumstances", comparison.circumstances)
    for task in comparison.comparisons:
        lines += ["", *_task(task)]
    lines += [line for text in comparison.verdict for line in ("", f"verdict: {text}")]
    paths = dict.fromkeys(run.path for run in runs)
    return "\n".join([*lines, "", f"to see each sample: kvl-eval report {' '.join(map(plain, paths))}"])


def _block(title: str, lines: Iterable[str]) -> list[str]:
    texts = [f"  {plain(line)}" for line in lines]
    return [f"{title}:", *texts] if texts else [f"{title}: none differ"]


def _task(task: TaskComparison) -> list[str]:
    counts, scores = task.pairs.counts, task.pairs.scores
    sides = " versus ".join(map(_setting, (task.a, task.b)))
    lines = [f"{plain(task.task)}  {sides}", f"  same samples        {counts.n}{_left_out(counts)}"]
    lines += [f"  flags               {difference.as_text()}" for difference in task.flags]
    if scores is None:
        return [*lines, "  nothing to compare: no sample is scored in both runs"]
    lines += _scores(scores, counts)
    lines[-1] += f"; {len(task.pairs.gained)} gained, {len(task.pairs.lost)} lost"
    if scores.difference.p_value is not None and counts.n_clusters < counts.n:
        lines.append("  note                p assumes independent answers; the interval does not")
    if len(counts.scorer_versions) > 1:
        lines.append(f"  note                scored by kvl-eval {' and '.join(counts.scorer_versions)}")
    return [*lines, *_changed("only B right", task.pairs.gained), *_changed("only A right", task.pairs.lost)]


def _scores(scores: PairedScores, counts: PairCounts) -> list[str]:
    found = scores.difference
    low, high = (_points(bound) for bound in found.ci95)
    test = "" if found.p_value is None else f", exact McNemar {p_text(found.p_value)}"
    return [
        f"  score               {100 * scores.score_a:.1f} → {100 * scores.score_b:.1f}",
        f"  difference B - A    {_points(found.mean)} [{low}, {high}] ({found.method}){test}",
        f"  minimum detectable difference  {_detectable(found.detectable, counts.n)}",
        f"  changed answers     {scores.n_higher} better, {scores.n_lower} worse",
    ]


def _setting(side: ComparedSetting) -> str:
    budget = "" if side.budget is None else f" at {side.budget} ({side.policy})"
    return f"{side.protocol}{budget}"


def _left_out(counts: PairCounts) -> str:
    parts = [
        f"left out: {number} {text}"
        for number, text in (
            (counts.only_a, "scored only in A"),
            (counts.only_b, "scored only in B"),
            (counts.not_scored, "without a score"),
            (len(counts.changed_samples), "with a changed question or gold answer"),
        )
        if number
    ]
    repeated = [f"{counts.n_samples} questions"] if counts.n_samples != counts.n else []
    return f" ({', '.join([*repeated, *parts])})" if parts or repeated else ""


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _detectable(detectable: float | None, n: int) -> str:
    if detectable is None:
        return "unknown: all samples have the same score" if n > 1 else "unknown: one sample has no spread"
    return f"{100 * detectable:.1f} (power 80%, level 5%)"


def _changed(title: str, samples: Sequence[ChangedSample]) -> list[str]:
    if not samples:
        return []
    lines = [f"  {title} ({len(samples)}):"]
    for sample in samples[:SHOWN]:
        repeat = f" repeat {sample.repeat}" if sample.repeat else ""
        readings = " → ".join(map(_side_score, (sample.a, sample.b)))
        lines.append(f"    {plain(sample.sample_id)}{repeat}: {readings}, gold {_cut(list(sample.gold))}")
    if len(samples) > SHOWN:
        lines.append(f"    and {len(samples) - SHOWN} more; --json lists all")
    return lines


def _side_score(side: SideScore) -> str:
    return f"nothing ({side.reason})" if side.extracted is None else _cut(side.extracted)


def _cut(value: Json) -> str:
    text = plain(value if isinstance(value, str) else repr(value))
    return repr(text[:60]) + ("..." if len(text) > 60 else "") if isinstance(value, str) else text[:80]
