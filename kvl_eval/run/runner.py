"""A run from plan to results: requests to the backend, records as they finish, then scores.

    plan_run(config, backend) -> Plan        kvl_eval.run.plan
    start_run(plan, backend)  -> RunOutcome  a new run folder
    resume_run(run, make)     -> RunOutcome  what a run still lacks, with its stored configuration
    rescore(run, protocol)    -> Results     kvl_eval.scoring.rescore

The order in which answers finish changes nothing but the order of lines in `samples/`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from kvl_eval.backends.base import Backend, Managed, Probing
from kvl_eval.decode import decode, encode
from kvl_eval.errors import DataError, StorageError
from kvl_eval.model.kimi_vl.families import FAMILIES, INSTRUCT, OTHER
from kvl_eval.model.registry import stored_family
from kvl_eval.printable import printable
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig, from_json
from kvl_eval.run.event_loop import run_async
from kvl_eval.run.judge_stage import check_judge, finish_judging, has_open_questions
from kvl_eval.run.manifest import manifest_of
from kvl_eval.run.plan import Plan, answered_by, plan_tasks
from kvl_eval.run.progress import Progress, Silent
from kvl_eval.run.row_order import in_stored_order
from kvl_eval.run.same_run import check_offline, check_same
from kvl_eval.run.server_notices import omitted_fields, server_notices
from kvl_eval.run.session import Session, Stop, drive
from kvl_eval.run.signals import SignalHandling, on_signals
from kvl_eval.run.stored_config import config_files
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.result_rows import decisive_rows
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import Disk
from kvl_eval.store.manifest import AnswerCounts, Code, ModelFacts, Resume
from kvl_eval.store.names import run_name
from kvl_eval.store.records import Key
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import write_index
from kvl_eval.tasks import is_own

MakeBackend = Callable[[RunConfig], Backend]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        exit_code: 0 everything answered and scored, 3 gaps, 4 the first answers all failed alike, 130 / 143 signals.
        folder:    the run folder.
        results:   results.json.
        message:   what happened and what to do next, one or more lines.
    """

    exit_code: int
    folder: RunFolder
    results: Results
    message: str


def start_run(
    plan: Plan,
    backend: Backend,
    progress: Progress | None = None,
    *,
    disk: Disk | None = None,
    handle_signals: SignalHandling = False,
) -> RunOutcome:
    """Make a run folder and carry out the plan.

    With `handle_signals` (main thread only) SIGINT and SIGTERM end the run in order: what is under way gets 5 s,
    aggregates are written, the second signal stops at once. Without it they are left to the caller. `interrupts` means
    SIGINT alone, the process living on.
    Raises: UsageError `output.unusable`, StorageError, EndpointError for an unusable judge or server, and what the
    backend raises when it cannot work at all.
    """
    check_judge(plan.config, (task.task for task in plan.tasks))
    if isinstance(backend, Probing):
        run_async(backend.probe([task.config.generation for task in plan.tasks]))
    created = datetime.now().astimezone()
    names = [task.name for task in plan.tasks]
    folder = RunFolder.create(
        plan.config.output_dir,
        run_name(created, str(plan.model["name"]), names, plan.fingerprint),
        manifest_of(plan, created),
        plan.lines.chunks(),
        disk,
        partial(config_files, plan.config),
    )
    try:
        return _carry_out(folder, plan, backend, {}, progress or Silent(), handle_signals)
    except BaseException:
        if folder.is_unanswered:
            folder.discard()
            write_index(plan.config.output_dir, disk)
        raise


def resume_run(
    run: RunReader,
    make: MakeBackend,
    progress: Progress | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    rerun: str | Iterable[str] | None = None,
    handle_signals: SignalHandling = False,
) -> RunOutcome:
    """Finish a run with its stored configuration. A finished run stays as it is, and `make` is not called.

    Args:
        make:    builds what answers. It is called when all that can be compared without contact has been: until it
                 comes back nobody is contacted, so it is the place to refuse what the configuration would reach.
        changes: fields of RunConfig that the user wants otherwise; refused if they can change an answer.
        rerun:   `failed`, `all`, or ids of samples to answer again.
    Raises: UsageError `run.mismatch` listing old → new, `run.busy`, `run.mixed`; DataError `run.plan`, `run.manifest`.
    """
    progress = progress or Silent()
    folder = run.folder
    if folder.problem is not None or not folder.manifest.config:
        raise DataError(
            "run.manifest",
            folder.problem or f"{folder.path / 'run.json'} does not say how the run was configured",
            why="a run is resumed only with the configuration it was started with",
            fix=f"`kvl-eval score {folder.path}` and `report` still work; start a new run with --no-resume",
        )
    folder.check_plan()
    folder.lock()
    try:
        done = {name: _kept(folder, name, rerun) for name in folder.manifest.data}
        pending = sum(1 for entry in folder.plan() if entry.key not in done[entry.task])
        config = replace(from_json(dict(folder.manifest.config)), **(changes or {}))
        if not pending:
            return _finished(RunReader(folder, run.tasks), config, progress, asks_judge=False)
        local = check_offline(folder, config, run.tasks)
        backend = make(config)
        planned = local or in_stored_order(
            folder, plan_tasks(config, backend.limits(), run.tasks, draft_dir=folder.path)
        )
        plan = answered_by(backend, config, planned)
        check_same(folder, plan)
        _note_resume(folder, plan)
    except BaseException:
        folder.unlock()
        raise
    return _carry_out(folder, plan, backend, done, progress, handle_signals)


# -- the parts of a run -----------------------------------------------------------------------------------------


def _carry_out(
    folder: RunFolder,
    plan: Plan,
    backend: Backend,
    done: Mapping[str, set[Key]],
    progress: Progress,
    handle_signals: SignalHandling,
) -> RunOutcome:
    session = Session(plan, folder, done, progress)
    own = [task.task for task in plan.tasks]
    try:
        with on_signals(session, enabled=handle_signals):
            folder.save_status("running")
            write_index(folder.path.parent, folder.disk)
            if isinstance(backend, Managed):
                progress.notice(
                    f"vLLM is starting, which takes a minute or more; its log: {backend.log_into(folder.path)}"
                )
            told = _tell(folder, progress, 0)
            with _logged(folder):
                run_async(drive(session, backend))
                if session.stop is None:
                    finish_judging(RunReader(folder, own), plan.config, progress, lambda: session.stop is not None)
                results = rescore(RunReader(folder, own), plan.config.protocol, plan.config.score_view)
                folder.notices += _unexpected_thoughts(plan.config, session.closed_thoughts)
                folder.notices += server_notices(session.flags, session.answered, omitted_fields(plan))
                _tell(folder, progress, told)
                progress.close()
            save_end(folder, results, decode(ModelFacts, encode(plan.model)))
            if plan.config.compress and folder.manifest.status == "finished":
                folder.compress()
            return outcome_of(RunReader(folder, own), results, session.stop)
    finally:
        progress.close()
        session.close()
        folder.unlock()


def _unexpected_thoughts(config: RunConfig, closed: int) -> list[str]:
    """A warning about thoughts in the replies of a family that is taken not to think."""
    if not closed or stored_family(config.family) not in (INSTRUCT, OTHER):
        return []
    names = " or ".join(family.name for family in FAMILIES.published if family is not INSTRUCT)
    replies = "1 reply begins" if closed == 1 else f"{closed:,} replies begin"
    return [
        f"{replies} with a thought, and the settings are those of {config.family} (temperature, new tokens): "
        f"if {config.model} is a thinking model, run it with --family {names}"
    ]


def _tell(folder: RunFolder, progress: Progress, told: int) -> int:
    """Pass on what was noticed since `told` notices; the number told now."""
    for notice in folder.notices[told:]:
        folder.log(f"notice: {notice}")
        progress.notice(f"notice: {notice}")
    return len(folder.notices)


def save_end(folder: RunFolder, results: Results, model: ModelFacts) -> None:
    """Write status, counts and model into the manifest, and the list of runs anew."""
    is_finished = not _pending(results)
    ended = datetime.now().astimezone().isoformat(timespec="seconds")
    folder.save(
        replace(
            folder.manifest,
            status="finished" if is_finished else "interrupted",
            finished=ended if is_finished else None,
            model=model,
            counts=_counts(results),
        )
    )
    write_index(folder.path.parent, folder.disk)


def _counts(results: Results) -> AnswerCounts:
    """Planned, ok, failed by reason and pending over all tasks and budgets, each counted under one protocol."""
    rows = {(row.task, row.budget, row.policy): row for row in results.rows}.values()
    failed: Counter[str] = Counter()
    for row in rows:
        failed.update(row.failed)
    planned, ok = sum(row.n_planned for row in rows), sum(row.n_ok for row in rows)
    return AnswerCounts(
        planned=planned, ok=ok, failed=dict(sorted(failed.items())), pending=planned - ok - failed.total()
    )


@contextmanager
def _logged(folder: RunFolder) -> Iterator[None]:
    """Marks the run interrupted when it ends by an error, and keeps the traceback in log.txt."""
    try:
        yield
    except BaseException as error:
        with suppress(StorageError):  # a full disk has been reported already
            folder.log("".join(traceback.format_exception(error)))
            folder.save_status("interrupted")
        raise


def complete_run(run: RunReader, config: RunConfig, progress: Progress) -> RunOutcome:
    """A run that lacks no answer, under this configuration: its judge is asked what it was not asked, and scores are
    made anew where their rules are others. Raises: UsageError `run.busy`.
    """
    run.folder.lock()
    return _finished(run, config, progress, asks_judge=True)


def _finished(run: RunReader, config: RunConfig, progress: Progress, *, asks_judge: bool) -> RunOutcome:
    """A run that lacks nothing: what is derived may have to be made anew. Without `asks_judge` it contacts nobody."""
    folder = run.folder
    try:
        stored = from_json(dict(folder.manifest.config))
        is_scored = folder.status == "finished" and (folder.path / "results.json").is_file()
        own = {task.name for task in run.tasks}
        is_scored = is_scored and _scoring(config) == _scoring(stored)
        is_scored = is_scored and not any(name in own or is_own(name) for name in run.task_names)
        if (asks_judge and finish_judging(run, config, progress)) or not is_scored:
            save_end(folder, rescore(run, config.protocol, config.score_view), folder.manifest.model)
        if config.compress:
            folder.compress()
        progress.notice(f"already complete: {folder.path}")
        unasked = config.judge is not None and has_open_questions(run, config.judge, config.score_view, again=False)
        return outcome_of(run, folder.results(), None, judge_unasked=unasked)
    finally:
        folder.unlock()


def _scoring(config: RunConfig) -> tuple[object, ...]:
    """What of a configuration decides scores and no answer."""
    return config.protocol, config.score_view, config.judge


def _pending(results: Results) -> int:
    return sum(row.n_pending for row in results.rows)


def outcome_of(run: RunReader, results: Results, stop: Stop | None, *, judge_unasked: bool = False) -> RunOutcome:
    """How a run with these results ended, by the protocols it was started with, and what to do next.

    `judge_unasked` says that its judge has answers still to see.
    """
    folder, rows = run.folder, _own_rows(run, results)
    pending = _pending(results)
    gaps = [
        f"{row.task}{'' if row.budget is None else ' at ' + str(row.budget)}: {_gap(row)}"
        for row in rows
        if row.n_scored < row.n_planned
    ]
    code = 3 if gaps or judge_unasked else 0
    lines = [("run folder", str(folder.path))]
    if stop is not None and pending:
        code = stop.exit_code
        lines.append(("stopped", stop.reason))
    lines += [("gaps", gap) for gap in gaps] + _overflow_hint(rows, folder.manifest.model.device == "server")
    lines += [("gaps", "the judge was not asked about every answer")] if judge_unasked else []
    if pending:
        lines.append(("next", f"kvl-eval resume {folder.path}"))
    elif any(row.n_failed for row in rows):
        lines.append(("next", f"kvl-eval resume {folder.path} --rerun failed"))
    elif judge_unasked or any(row.judge and row.n_scored < row.n_planned for row in rows):
        lines.append(("next", f"kvl-eval score {folder.path} --only-failed"))
    else:
        lines.append(("next", f"kvl-eval report {folder.path}"))
    message = "\n".join(f"{label:<12}{printable(text, keep='')}" for label, text in lines)
    return RunOutcome(code, folder, results, message)


def _own_rows(run: RunReader, results: Results) -> list[ResultRow]:
    """The results that decide: those of the run's own protocols, whatever else it was scored under since."""
    asked, rows = run.folder.manifest.config.get("protocol"), decisive_rows(results.rows)
    if asked == "all":
        return rows
    own = {name: asked or run.task(name).default_protocol for name in run.task_names}
    scored = {row.task for row in rows if row.protocol == own[row.task]}
    return [row for row in rows if row.protocol == own[row.task] or row.task not in scored]


def _overflow_hint(rows: Iterable[ResultRow], is_server: bool) -> list[tuple[str, str]]:
    """What helps against prompts that were too long for the context; nothing where there were none."""
    count = sum(row.failed.get("context_overflow", 0) for row in rows)
    prompts = "1 prompt was" if count == 1 else f"{count} prompts were"
    whose = "server's" if is_server else "model's"
    text = f"{prompts} longer than the {whose} context; --max-pixels, --frames or a longer context"
    return [("hint", text)] if count else []


def _gap(row: ResultRow) -> str:
    failed = ", ".join(f"{reason} {count}" for reason, count in row.failed.items())
    unscored = row.n_ok - row.n_scored
    parts = [
        f"{row.n_failed} failed ({failed})" if failed else "",
        f"{row.n_pending} pending" if row.n_pending else "",
        f"{unscored} answered but not scored" if unscored else "",
    ]
    return ", ".join(part for part in parts if part) + f" of {row.n_planned} ({row.protocol})"


# -- configuration and resuming --------------------------------------------------------------------------------------


def _kept(folder: RunFolder, task: str, rerun: str | Iterable[str] | None) -> set[Key]:
    """Keys that need no further answer."""
    index = folder.index(task)
    if rerun is None:
        return set(index.offsets)
    if rerun == "all":
        return set()
    if rerun == "failed":
        return set(index.offsets) - set(index.failed)
    again = {rerun} if isinstance(rerun, str) else set(rerun)
    return {key for key in index.offsets if not {key.sample_id, f"{task}/{key.sample_id}"} & again}


def _note_resume(folder: RunFolder, plan: Plan) -> None:
    was, now = folder.manifest.model.device, plan.model.get("device")
    if was is not None and now is not None and was != now:
        folder.notices.append(f"device {was} → {now}: answers may differ in the last digits")
    stamp = datetime.now().astimezone().isoformat(timespec="seconds")
    resume = Resume(time=stamp, host=provenance.host(), code=decode(Code, provenance.code()))
    folder.save(replace(folder.manifest, resumes=(*folder.manifest.resumes, resume)))
