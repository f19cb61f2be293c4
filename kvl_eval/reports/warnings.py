"""What can mislead about a score: the one list behind the terminal, JSON documents and reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, get_args

from kvl_eval.decode import Json, encode
from kvl_eval.families import SCRIPTED_NOTE
from kvl_eval.flags import MEDIA_FLAGS, meaning
from kvl_eval.model.kimi_vl.families import SCRIPTED
from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.origins import ShardText, code_text, shards
from kvl_eval.reports.runs import ReportRun, is_default_protocol, main_rows, scores_of, task_names, task_of
from kvl_eval.store.manifest import Code, Manifest, PlannedData
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_folder import RunFolder

WarningCode = Literal[
    "data",
    "demo",
    "blind",
    "versions",
    "unfinished",
    "failed",
    "not_scored",
    "no_answer",
    "format",
    "truncated",
    "media",
    "server",
    "no_thought",
    "partial",
    "split",
    "protocol",
    "device",
]
CODES: tuple[WarningCode, ...] = get_args(WarningCode)
"""The kinds of warnings, most harmful first."""

DEMO = "demo model: do not compare these scores with published results"
SCRIPTED_ANSWERS = "scripted answers: do not compare these scores with published results"
BLIND = "blind run (gray images): not compared with published results"
LISTED = 5  # results that one line names
FORMAT_SHARE = 0.02  # of the replies
NO_EFFECT = 0.01  # of an agent's steps or replies


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWarning:
    """One thing that can mislead about a score.

    Attributes:
        code:    its kind.
        text:    a sentence that stands alone beside the task's name.
        task:    the task; None where it concerns the whole run.
        name:    the task as lines name it: with its budget, an own table by its file.
        summary: what a line says that joins several tasks; empty where whole sentences are joined.
        detail:  what that line says of this task.
        run:     the run among several, by its model; empty in a list about one run.
    """

    code: WarningCode
    text: str
    task: str | None = None
    name: str = ""
    summary: str = ""
    detail: str = ""
    run: str = ""

    def __str__(self) -> str:
        """`mmmu: no answer found in 8 of 120 replies (6.7%)`."""
        return f"{self.name}: {self.text}" if self.name else self.text

    def as_json(self) -> dict[str, Json]:
        """`code`, `task` and `text`."""
        return {"code": self.code, "task": self.task, "text": str(self)}


def run_warnings(folder: RunFolder, results: Results) -> list[ResultWarning]:
    """The warnings of one run, most harmful first."""
    from kvl_eval.scoring.run_reader import RunReader

    return warnings_of([ReportRun(0, RunReader(folder), results)])


def warnings_of(runs: Sequence[ReportRun]) -> list[ResultWarning]:
    """The warnings of the runs of a report, most harmful first, each once."""
    warnings: list[ResultWarning] = []
    for run in runs:
        name = name_among(run, runs)
        warnings += [replace(warning, run=name) for warning in (*_of_run(run), *_of_rows(run))]
    return in_order([*warnings, *_mixed(runs)])


def in_order(warnings: Iterable[ResultWarning]) -> list[ResultWarning]:
    """Warnings by kind, each once."""
    return sorted(dict.fromkeys(warnings), key=lambda warning: CODES.index(warning.code))


def warning_lines(warnings: Iterable[ResultWarning]) -> list[str]:
    """One line of text for each kind: one that several tasks share, or one that joins them."""
    kinds: dict[tuple[str, str], list[ResultWarning]] = {}
    for warning in warnings:
        kinds.setdefault((warning.run, warning.code), []).append(warning)
    lines = []
    for (run, _), members in kinds.items():
        texts = grouped((member.name, member.text) for member in members)
        texts = texts if len(texts) == 1 else _joined(members, texts)
        lines += [f"{run}: {text}" if run else text for text in texts]
    return lines


def grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """(name, text) pairs as lines `name, name: text`, each text once, in order of first appearance."""
    names: dict[str, dict[str, None]] = {}
    for name, text in pairs:
        names.setdefault(text, {})[name] = None
    return [f"{', '.join(members)}: {text}" if any(members) else text for text, members in names.items()]


def _joined(members: Sequence[ResultWarning], texts: Sequence[str]) -> list[str]:
    """One line for several texts of a kind; two where some of them share no summary."""
    by_summary: dict[str, list[str]] = {}
    for member in members:
        if member.summary:
            by_summary.setdefault(member.summary, []).append(f"{member.name} {member.detail}".strip())
    if sum(map(len, by_summary.values())) < len(members):
        return ["; ".join(texts)]
    return ["; ".join(f"{summary}: {_listed(details)}" for summary, details in by_summary.items())]


def _listed(details: Sequence[str]) -> str:
    more = [f"and {len(details) - LISTED} more"] if len(details) > LISTED else []
    return ", ".join([*details[:LISTED], *more])


def name_among(run: ReportRun, runs: Sequence[ReportRun]) -> str:
    """The run's model among others, or its id where two have the same."""
    if len(runs) == 1:
        return ""
    return run.model if sum(other.model == run.model for other in runs) == 1 else run.run_id


# -- of a run -------------------------------------------------------------------------------------------------------


def planned_warnings(manifest: Manifest) -> list[ResultWarning]:
    """What is known before the first reply: other data than the published, a demo, a blind run, a part of a split."""
    warnings = [ResultWarning(code="blind", text=BLIND)] if manifest.blind else []
    model, code = manifest.model, manifest.code
    if manifest.demo:
        warnings.append(ResultWarning(code="demo", text=DEMO))
    elif model.others.get("scripted", model.family == SCRIPTED.name):
        warnings.append(ResultWarning(code="demo", text=SCRIPTED_ANSWERS))
    if model.weights is not None:
        text = f"{plain(model.weights)} weights: not compared with published results"
        warnings.append(ResultWarning(code="versions", text=text))
    if code.dirty:
        text = f"kvl-eval had uncommitted changes (commit {plain(code.commit)[:7]})"
        warnings.append(ResultWarning(code="versions", text=text))
    for task, data in manifest.data.items():
        name = task_label(task)
        if data.other_data is not None:
            warnings.append(ResultWarning(code="data", task=task, name=name, text=plain(data.other_data)))
        if data.partial is not None:
            whole = "" if data.total is None else f" of {data.total:,}"
            shard = f"shard {manifest.selection.shard}, " if manifest.selection.shard else ""
            warnings.append(_partial(task, name, f"{shard}{data.n:,}{whole} samples"))
    return in_order(warnings)


def _partial(task: str, name: str, count: str) -> ResultWarning:
    return ResultWarning(
        code="partial",
        task=task,
        name=name,
        text=f"partial run ({count}): not ranked",
        summary="partial run, not ranked",
        detail=count,
    )


def _of_run(run: ReportRun) -> Iterator[ResultWarning]:
    yield from planned_warnings(run.manifest)
    if run.demo and not run.manifest.demo:
        yield ResultWarning(code="demo", text=DEMO)
    if run.folder.status != "finished" and not any(row.n_pending for row in main_rows(run)):
        yield ResultWarning(code="unfinished", text="run not finished: scores are preliminary")
    code = run.manifest.code
    versions = {code_text(resume.code) for resume in run.manifest.resumes if resume.code != Code()} - {code_text(code)}
    if versions:
        yield ResultWarning(
            code="versions",
            text=f"resumed with another version of kvl-eval: {code_text(code)} → {', '.join(sorted(versions))}",
        )
    yield from _of_shards(shards(run))
    for notice in run.folder.notices:
        yield ResultWarning(code="data", text=plain(notice))
    for kind, text in run.folder.warnings:
        yield ResultWarning(code=next(code for code in CODES if code == kind), text=plain(text))


def _of_shards(merged: Sequence[ShardText]) -> Iterator[ResultWarning]:
    """What sets the shards of a merged run apart, and what they lack."""
    if devices := _several(shard.device for shard in merged):
        yield ResultWarning(code="device", text=f"its shards ran on different devices: {devices}")
    if versions := _several(shard.code for shard in merged):
        yield ResultWarning(code="versions", text=f"its shards ran with different versions of kvl-eval: {versions}")
    if lacking := [f"{shard.shard} ({shard.lacking})" for shard in merged if shard.lacking != "0"]:
        yield ResultWarning(
            code="partial", text=f"merged from incomplete shards; missing samples: {', '.join(lacking)}"
        )


def _several(values: Iterable[str]) -> str:
    """Different values as one text; empty where all are equal."""
    different = dict.fromkeys(values)
    return ", ".join(different) if len(different) > 1 else ""


# -- of results -----------------------------------------------------------------------------------------------------


def _of_rows(run: ReportRun) -> Iterator[ResultWarning]:
    rows = main_rows(run)
    if not run.manifest.blind and any(row.blind for row in rows):
        yield ResultWarning(code="blind", text=BLIND)
    yield from _no_thought(rows)
    for row in rows:
        data = run.manifest.data.get(row.task)
        for warning in (*_gaps(row), *_replies(row), *_flags(row), *_comparison(row, run.demo, data)):
            yield replace(warning, task=row.task, name=result_name(row))


def task_label(task: str) -> str:
    """`mathvista`; an own table by the name of its file."""
    return plain(PurePath(task.removeprefix("file:")).name if task.startswith("file:") else task)


def result_name(row: ResultRow) -> str:
    """`mathvista`, `mathvista at 4k cut`; an own table by its file."""
    name = task_label(row.task)
    return name if row.budget is None else f"{name} at {numbers.budget(row)}"


def _gaps(row: ResultRow) -> Iterator[ResultWarning]:
    """Samples without a score, and between which values the score lies; the first line says that."""
    low, high = row.bounds
    span = f"; the score lies between {numbers.percent(low)} and {numbers.percent(high)}"
    unscored = row.verdicts.get("not_scored", 0)
    counts: list[tuple[WarningCode, str, str]] = []
    if row.n_pending:
        counts.append(("unfinished", "run not finished", f"{row.n_pending:,} of {row.n_planned:,} samples pending"))
    if row.n_failed:
        counts.append(("failed", "incomplete", f"{row.n_failed:,} failed of {row.n_planned:,}"))
    if unscored:
        counts.append(("not_scored", "not scored", f"{unscored:,} of {row.n_ok:,} replies"))
    for number, (code, summary, detail) in enumerate(counts):
        reasons = f" ({numbers.reasons(row.failed)})" if code == "failed" else ""
        tail = "" if number or row.score is None else span
        text = f"{summary}: {detail}{reasons}{tail}"
        if code == "not_scored":
            text = f"{detail} not scored (a judge or gold answers are missing){tail}"
        yield ResultWarning(code=code, text=text, summary=summary, detail=detail)


def _replies(row: ResultRow) -> Iterator[ResultWarning]:
    """Replies without an answer, replies in the form asked for that have none, truncated ones."""
    silent = row.verdicts.get("no_answer", 0)
    if row.n_scored and silent / row.n_scored > numbers.MANY:
        yield _share("no_answer", "no answer found", "no answer found in {}", silent, row.n_scored)
    unread = row.n_followed_unread or 0
    if row.n_ok and unread / row.n_ok > FORMAT_SHARE:
        summary = "replies in the form asked for, without an extracted answer"
        yield _share("format", summary, "{} follow the requested form, but no answer was extracted", unread, row.n_ok)
    cut = round(row.truncated_share * row.n_ok)
    if row.n_ok and cut / row.n_ok > numbers.MANY:
        limit = "the token limit" if row.budget is None else "their budget"
        yield _share("truncated", f"truncated at {limit}", f"{{}} truncated at {limit}", cut, row.n_ok)
    for name, (part, whole) in row.shares.items():
        if part > NO_EFFECT * whole:
            detail = f"{part:,} of {whole:,} ({numbers.share(part, whole)})"
            yield ResultWarning(code="format", text=f"{name}: {detail}", summary=name, detail=detail)


def _share(code: WarningCode, summary: str, text: str, part: int, whole: int) -> ResultWarning:
    detail = f"{part:,} of {whole:,} replies ({numbers.share(part, whole)})"
    return ResultWarning(code=code, text=text.format(detail), summary=summary, detail=detail)


def _flags(row: ResultRow) -> Iterator[ResultWarning]:
    for flag in row.flags:
        yield ResultWarning(
            code="media" if flag in MEDIA_FLAGS else "server",
            text=flag_text(row, flag),
            summary=plain(meaning(flag)),
            detail=f"{row.flags[flag]:,} of {row.n_ok:,}",
        )
    if row.answered_by:
        names = ", ".join(f"{plain(name)} ({count:,})" for name, count in row.answered_by.items())
        yield ResultWarning(
            code="server", text=f"the server answered with another model than the one asked for: {names}"
        )


def flag_text(row: ResultRow, flag: str) -> str:
    """`12 of 1,000 samples: image decoded to a single color`."""
    what = "samples" if row.repeats is None else "answers"
    return f"{row.flags[flag]:,} of {row.n_ok:,} {what}: {plain(meaning(flag))}"


def _no_thought(rows: Sequence[ResultRow]) -> Iterator[ResultWarning]:
    """Tasks whose replies were given a budget and never used it, in one sentence."""
    samples = 0
    for task in dict.fromkeys(row.task for row in rows):
        budgeted = [row for row in rows if row.task == task and row.budget is not None and row.n_ok]
        if budgeted and not any(row.thoughts or _thinking_tokens(row) for row in budgeted):
            samples += max(row.n_ok for row in budgeted)
    if samples:
        text = f"{samples:,} samples: --think-budget had no effect: no reply contains a thought"
        yield ResultWarning(code="no_thought", text=text)


def _thinking_tokens(row: ResultRow) -> float:
    spread = row.tokens.get("thinking")
    return 0.0 if spread is None else spread.mean


def _comparison(row: ResultRow, demo: bool, data: PlannedData | None) -> Iterator[ResultWarning]:
    """What sets a result apart from ranked ones, and why it has no difference to the published result."""
    if row.partial and (data is None or data.partial is None):
        yield _partial(row.task, "", plain(row.partial))
    if not is_default_protocol(row):
        name = numbers.protocol_name(row)
        yield ResultWarning(code="protocol", text=f"scored with {name}, which is not the default protocol")
    reference = row.reference
    if reference is None or not reference.note or reference.delta is not None or demo:
        return
    is_said = row.blind or row.partial or not row.complete or not is_default_protocol(row)
    if is_said or (data is not None and data.other_data is not None) or reference.note == SCRIPTED_NOTE:
        return
    task, note = task_of(row), f"no Δ: {plain(reference.note)}"
    if reference.note.startswith("other protocol"):
        yield ResultWarning(code="protocol", text=note)
    elif row.split == "mini":
        yield ResultWarning(code="split", text="mini split: not compared with published results")
    elif task is not None and row.split != task.published_split:
        text = f"split {plain(row.split)}: published results are of {task.published_split}"
        yield ResultWarning(code="split", text=text)
    else:
        yield ResultWarning(code="split", text=note)


# -- between runs ---------------------------------------------------------------------------------------------------


def _mixed(runs: Sequence[ReportRun]) -> Iterator[ResultWarning]:
    """Differences that make columns of one report unlike each other."""
    versions = {plain(run.manifest.code.version) for run in runs}
    if len(versions) > 1:
        text = f"these runs come from different versions of kvl-eval: {', '.join(sorted(versions))}"
        yield ResultWarning(code="versions", text=text)
    for task in task_names(runs):
        ours = [run for run in runs if any(row.task == task for row in run.rows)]
        for kind, what, read in _COMPARED:
            values = {json.dumps(encode(read(run.manifest, task)), sort_keys=True) for run in ours}
            if len(values) > 1:
                text = f"these runs used different {what}; see provenance"
                yield ResultWarning(code=kind, task=task, name=plain(task), text=text)
        scorers = {version for run in ours if (version := _scorer_version(run, task))}
        if len(scorers) > 1:
            text = f"scored by different scorer versions: {', '.join(sorted(scorers))}"
            yield ResultWarning(code="versions", task=task, name=plain(task), text=text)


_COMPARED: tuple[tuple[WarningCode, str, Callable[[Manifest, str], object]], ...] = (
    ("data", "data", lambda manifest, task: manifest.data.get(task)),
    ("protocol", "prompts", lambda manifest, task: manifest.prompt.get(task)),
    ("protocol", "generation settings", lambda manifest, task: manifest.generation.get(task)),
)


def _scorer_version(run: ReportRun, task: str) -> str | None:
    row = next(row for row in main_rows(run) if row.task == task)
    line = next(iter(run.folder.scores(task, scores_of(row))), None)
    return None if line is None else plain(line.scorer_version)
