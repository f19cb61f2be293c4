"""What a reader must know before reading a score: the box on top of a report, and how runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kvl_eval.reports import figures
from kvl_eval.reports.figures import Row
from kvl_eval.reports.runs import Run, is_default_protocol, main_rows, scores_of, task_names
from kvl_eval.reports.table import grouped, row_notes

# Fields of run.json that differ between any two runs and say nothing about their answers.
FEW = 3  # results that each get a line of their own
LISTED = 5  # of those that share one
PASSING = ("run_id", "created", "finished", "status", "sha256", "plan_sha256", "counts", "resumes", "command", "pid")


def cautions(runs: Sequence[Run]) -> list[str]:
    """One sentence for each thing that sets these results apart from whole, clean, comparable ones."""
    found: list[str] = []
    for run in runs:
        prefix = f"{run.run_id}: " if len(runs) > 1 else ""
        found += [prefix + text for text in (*_of_run(run), *_of_rows(run))]
    return list(dict.fromkeys([*found, *_mixed(runs)]))


def _of_run(run: Run) -> Iterator[str]:
    if run.demo:
        yield f"{figures.DEMO}: these scores show the harness at work and compare with nothing published"
    if run.folder.status != "finished":
        yield f"the run is {figures.plain(run.folder.status)}: scores are those so far"
    code = run.legacy_manifest.get("code") or {}
    if code.get("dirty"):
        yield f"run from a checkout with uncommitted changes (commit {figures.plain(code.get('commit'))[:10]})"
    versions = {_version(resume.get("code")) for resume in run.legacy_manifest.get("resumes") or []} - {
        _version(code),
        None,
    }
    if versions:
        yield f"resumed with other code: {_version(code)} → {', '.join(sorted(map(str, versions)))}"
    yield from _of_shards(shards(run))
    for notice in run.folder.notices:
        yield figures.plain(notice)


def _of_shards(merged: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """That a run was joined from shards, and what sets them apart."""
    if not merged:
        return
    yield f"joined from {len(merged)} runs: shards {', '.join(one['shard'] for one in merged)}"
    for name, what in (("device", "devices"), ("code", "code")):
        values = list(dict.fromkeys(one[name] for one in merged))
        if len(values) > 1:
            yield f"its shards ran with different {what}: {', '.join(values)}"
    lacking = [f"{one['shard']} ({one['lacking']})" for one in merged if one["lacking"] != "0"]
    if lacking:
        yield f"shards that were joined unfinished, with samples they lack: {', '.join(lacking)}"


def shards(run: Run) -> list[dict[str, str]]:
    """Where the parts of a merged run come from, as texts; none for any other run."""
    merged = run.legacy_manifest.get("merged")
    return [_shard(one) for one in merged if isinstance(one, Mapping)] if isinstance(merged, list) else []


def _shard(one: Mapping[str, Any]) -> dict[str, str]:
    known = {name: figures.plain(one.get(name) or "unknown") for name in ("shard", "run_id", "created", "finished")}
    return {
        **known,
        "device": figures.plain(one.get("device") or "unknown"),
        "code": figures.plain(_version(one.get("code")) or "unknown"),
        "resumes": str(len(one.get("resumes") or ())),
        "lacking": figures.plain(one.get("lacking") or 0),
    }


def _version(code: Any) -> str | None:
    return f"{code.get('version')} {str(code.get('commit') or '')[:10]}".strip() if isinstance(code, Mapping) else None


def _of_rows(run: Run) -> Iterator[str]:
    rows = main_rows(run)
    yield from grouped((_name(row), text) for row in rows for text in (*row_notes(row), *_of_protocol(row)))
    silent = [(_name(row), row.get("verdicts", {}).get("no_answer", 0), row.get("n_scored", 0)) for row in rows]
    yield from _shares(silent, "nothing could be extracted from {} answers ({})", "nothing could be extracted")
    for limit in ("their budget", "the token limit"):
        cut = [(_name(row), _truncated(row), row.get("n_ok", 0)) for row in rows if _limit(row) == limit]
        yield from _shares(cut, f"{{}} outputs ({{}}) hit {limit}", f"outputs hit {limit}")


def _of_protocol(row: Row) -> Iterator[str]:
    if not is_default_protocol(row):
        yield f"scored with {figures.protocol_name(row)}, which is not this task's default protocol"


def _truncated(row: Row) -> int:
    return round(float(row.get("truncated_share") or 0.0) * int(row.get("n_ok", 0)))


def _limit(row: Row) -> str:
    return "their budget" if row.get("budget") is not None else "the token limit"


def _shares(counts: Sequence[tuple[str, int, int]], one: str, many: str) -> list[str]:
    """A line for each result of which too large a share is concerned; a single line where they are many."""
    found = [
        (name, f"{part} of {whole}", figures.share(part, whole))
        for name, part, whole in counts
        if whole and part / whole > figures.MANY
    ]
    if len(found) <= FEW:
        return grouped((name, one.format(count, share)) for name, count, share in found)
    listed = [f"{name} {count} ({share})" for name, count, share in found[:LISTED]]
    rest = [f"and {len(found) - LISTED} more; the table has all"] if len(found) > LISTED else []
    return [f"{many}: {', '.join([*listed, *rest])}"]


def _name(row: Row) -> str:
    return f"{figures.task_name(row)}{_at_budget(row)}"


def _at_budget(row: Row) -> str:
    return "" if row.get("budget") is None else f" at {figures.budget(row)}"


def _mixed(runs: Sequence[Run]) -> Iterator[str]:
    """Differences that make columns of one report unlike each other."""
    versions = {str((run.legacy_manifest.get("code") or {}).get("version")) for run in runs}
    if len(versions) > 1:
        yield f"these runs come from different versions of kvl-eval: {', '.join(sorted(map(figures.plain, versions)))}"
    for task in task_names(runs):
        ours = [run for run in runs if any(row["task"] == task for row in run.rows)]
        name = figures.plain(task)
        for field, what in (("data", "data"), ("prompt", "prompts"), ("generation", "generation settings")):
            values = {json.dumps((run.legacy_manifest.get(field) or {}).get(task), sort_keys=True) for run in ours}
            if len(values) > 1:
                yield f"{name}: these runs used different {what}; see provenance"
        scorers = {version for run in ours if (version := _scorer_version(run, task))}
        if len(scorers) > 1:
            yield f"{name}: scored by different scorer versions: {', '.join(sorted(scorers))}"


def _scorer_version(run: Run, task: str) -> str | None:
    row = next(row for row in main_rows(run) if row["task"] == task)
    line = next(iter(run.folder.legacy_scores(task, scores_of(row))), None)
    return figures.plain(line.get("scorer_version")) if line else None


def flatten(manifest: Mapping[str, Any]) -> dict[str, str]:
    """run.json as {dotted name: text}; lists stay on one line."""
    flat: dict[str, str] = {}
    for key, value in manifest.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{figures.plain(key)}.{name}": text for name, text in flatten(value).items()}
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[figures.plain(key)] = figures.plain(text)
    return flat


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Settings whose value is not the same in all runs, with each run's value ("" where it has none)."""
    flat = [flatten({key: value for key, value in run.legacy_manifest.items() if key not in PASSING}) for run in runs]
    names = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, [one.get(name, "") for one in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
