"""What a reader must know before reading a score: the box on top of a report, and how runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json, encode, encode_object
from kvl_eval.reports import numbers
from kvl_eval.reports.runs import ReportRun, is_default_protocol, main_rows, scores_of, task_names
from kvl_eval.reports.table import flag_text, grouped, row_notes
from kvl_eval.store.manifest import Code
from kvl_eval.store.result_records import ResultRow

FEW = 3  # results that each get a line of their own
LISTED = 5  # of those that share one
# Fields of run.json that differ between any two runs and say nothing about their answers.
PASSING = (
    *("run_id", "created", "finished", "status", "sha256", "plan_sha256", "config_sha256"),
    *("counts", "resumes", "command", "pid"),
)


def cautions(runs: Sequence[ReportRun]) -> list[str]:
    """One sentence for each thing that sets these results apart from whole, clean, comparable ones."""
    sentences: list[str] = []
    for run in runs:
        sentences += [_prefix(run, runs) + text for text in (*_of_run(run), *_of_rows(run))]
    return list(dict.fromkeys([*sentences, *_mixed(runs)]))


def _of_run(run: ReportRun) -> Iterator[str]:
    if run.demo:
        yield f"{numbers.DEMO}: these scores show the harness at work and compare with nothing published"
    if (weights := run.manifest.model.weights) is not None:
        yield f"{numbers.plain(weights)} weights make it another model: no published result stands beside it"
    if run.folder.status != "finished":
        yield f"the run is {numbers.plain(run.folder.status)}: scores are those so far"
    code = run.manifest.code
    if code.dirty:
        yield f"run from a checkout with uncommitted changes (commit {numbers.plain(code.commit)[:10]})"
    versions = {_version(resume.code) for resume in run.manifest.resumes if resume.code != Code()} - {_version(code)}
    if versions:
        yield f"resumed with other code: {_version(code)} → {', '.join(sorted(versions))}"
    yield from _of_shards(shards(run))
    for task, data in run.manifest.data.items():
        if data.other_data is not None:
            yield f"{numbers.plain(task)}: {numbers.plain(data.other_data)}"
    for notice in run.folder.notices:
        yield numbers.plain(notice)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardText:
    """A part of a merged run as texts: where it comes from, how often it was resumed, samples it lacks."""

    shard: str
    run_id: str
    created: str
    finished: str
    device: str
    code: str
    resumes: str
    lacking: str


def _of_shards(merged: Sequence[ShardText]) -> Iterator[str]:
    """That a run was joined from shards, and what sets them apart."""
    if not merged:
        return
    yield f"joined from {len(merged)} runs: shards {', '.join(shard.shard for shard in merged)}"
    devices, code = (dict.fromkeys(values) for values in zip(*((one.device, one.code) for one in merged), strict=True))
    for what, values in (("devices", devices), ("code", code)):
        if len(values) > 1:
            yield f"its shards ran with different {what}: {', '.join(values)}"
    lacking = [f"{shard.shard} ({shard.lacking})" for shard in merged if shard.lacking != "0"]
    if lacking:
        yield f"shards that were joined unfinished, with samples they lack: {', '.join(lacking)}"


def shards(run: ReportRun) -> list[ShardText]:
    """Where the parts of a merged run come from; none for any other run."""
    return [
        ShardText(
            shard=_known(shard.shard),
            run_id=_known(shard.run_id),
            created=_known(shard.created),
            finished=_known(shard.finished),
            device=_known(shard.device),
            code=_known(None if shard.code is None else _version(shard.code)),
            resumes=str(len(shard.resumes or ())),
            lacking=f"{shard.lacking}",
        )
        for shard in run.manifest.merged
    ]


def _known(text: str | None) -> str:
    return numbers.plain(text or "unknown")


def _version(code: Code) -> str:
    return f"{code.version} {(code.commit or '')[:10]}".strip()


def _of_rows(run: ReportRun) -> Iterator[str]:
    rows = main_rows(run)
    yield from grouped((_name(row), text) for row in rows for text in (*row_notes(row, run.demo), *_of_protocol(row)))
    silent = [(_name(row), row.verdicts.get("no_answer", 0), row.n_scored) for row in rows]
    yield from _shares(silent, "nothing could be extracted from {} answers ({})", "nothing could be extracted")
    for limit in ("their budget", "the token limit"):
        cut = [(_name(row), round(row.truncated_share * row.n_ok), row.n_ok) for row in rows if _limit(row) == limit]
        yield from _shares(cut, f"{{}} outputs ({{}}) hit {limit}", f"outputs hit {limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedAnswers:
    """Answers of one result that carry a flag, and the line of `cautions` that counts them."""

    caution: str
    run: ReportRun
    row: ResultRow
    flag: str


def flagged(runs: Sequence[ReportRun]) -> list[FlaggedAnswers]:
    """What the counts of flags among the cautions lead to; results that share a line are left out."""
    return [
        FlaggedAnswers(caution=f"{_prefix(run, runs)}{_name(row)}: {flag_text(row, flag)}", run=run, row=row, flag=flag)
        for run in runs
        for row in main_rows(run)
        for flag in row.flags
    ]


def _prefix(run: ReportRun, runs: Sequence[ReportRun]) -> str:
    return f"{run.run_id}: " if len(runs) > 1 else ""


def _of_protocol(row: ResultRow) -> Iterator[str]:
    if not is_default_protocol(row):
        yield f"scored with {numbers.protocol_name(row)}, which is not this task's default protocol"


def _limit(row: ResultRow) -> str:
    return "the token limit" if row.budget is None else "their budget"


def _shares(counts: Sequence[tuple[str, int, int]], single: str, many: str) -> list[str]:
    """A line for each result of which too large a share is concerned; a single line where they are many."""
    concerned = [
        (name, f"{part} of {whole}", numbers.share(part, whole))
        for name, part, whole in counts
        if whole and part / whole > numbers.MANY
    ]
    if len(concerned) <= FEW:
        return grouped((name, single.format(count, share)) for name, count, share in concerned)
    listed = [f"{name} {count} ({share})" for name, count, share in concerned[:LISTED]]
    rest = [f"and {len(concerned) - LISTED} more; the table has all"] if len(concerned) > LISTED else []
    return [f"{many}: {', '.join([*listed, *rest])}"]


def _name(row: ResultRow) -> str:
    at = "" if row.budget is None else f" at {numbers.budget(row)}"
    return f"{numbers.task_name(row)}{at}"


def _mixed(runs: Sequence[ReportRun]) -> Iterator[str]:
    """Differences that make columns of one report unlike each other."""
    versions = {str(run.manifest.code.version) for run in runs}
    if len(versions) > 1:
        yield f"these runs come from different versions of kvl-eval: {', '.join(sorted(map(numbers.plain, versions)))}"
    for task in task_names(runs):
        ours = [run for run in runs if any(row.task == task for row in run.rows)]
        name = numbers.plain(task)
        for field, what in (("data", "data"), ("prompt", "prompts"), ("generation", "generation settings")):
            values = {json.dumps(encode(getattr(run.manifest, field).get(task)), sort_keys=True) for run in ours}
            if len(values) > 1:
                yield f"{name}: these runs used different {what}; see provenance"
        scorers = {version for run in ours if (version := _scorer_version(run, task))}
        if len(scorers) > 1:
            yield f"{name}: scored by different scorer versions: {', '.join(sorted(scorers))}"


def _scorer_version(run: ReportRun, task: str) -> str | None:
    row = next(row for row in main_rows(run) if row.task == task)
    line = next(iter(run.folder.scores(task, scores_of(row))), None)
    return None if line is None else numbers.plain(line.scorer_version)


def flatten(stored: Mapping[str, Json]) -> dict[str, str]:
    """An object such as run.json as {dotted name: text}; lists stay on one line."""
    flat: dict[str, str] = {}
    for key, value in stored.items():
        if isinstance(value, dict) and value:
            flat |= {f"{numbers.plain(key)}.{name}": text for name, text in flatten(value).items()}
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[numbers.plain(key)] = numbers.plain(text)
    return flat


def differences(runs: Sequence[ReportRun]) -> list[tuple[str, list[str]]]:
    """Settings whose value is not the same in all runs, with each run's value ("" where it has none)."""
    stored = [encode_object(run.manifest) for run in runs]
    flat = [flatten({key: value for key, value in fields.items() if key not in PASSING}) for fields in stored]
    names = dict.fromkeys(name for texts in flat for name in texts)
    rows = [(name, [texts.get(name, "") for texts in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
