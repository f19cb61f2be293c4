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
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from kvl_eval.backends.base import Backend, Managed, Probing
from kvl_eval.decode import decode, encode
from kvl_eval.errors import DataError, KvlEvalError, StorageError
from kvl_eval.model.kimi_vl.families import FAMILIES, INSTRUCT, OTHER
from kvl_eval.model.registry import stored_family
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig, from_json
from kvl_eval.run.ending import labelled, run_argument, stop_lines
from kvl_eval.run.event_loop import run_async
from kvl_eval.run.judge_stage import check_judge, finish_judging, has_open_questions
from kvl_eval.run.manifest import manifest_of
from kvl_eval.run.plan import Plan, answered_by, plan_tasks
from kvl_eval.run.plan_text import requests_text
from kvl_eval.run.progress import Progress, Silent
from kvl_eval.run.row_order import in_stored_order
from kvl_eval.run.same_run import check_offline, check_same
from kvl_eval.run.server_notices import omitted_fields, server_notices
from kvl_eval.run.session import Session, Stop, drive
from kvl_eval.run.signals import SignalHandling, on_signals
from kvl_eval.run.stored_config import config_files
from kvl_eval.run.warm_plan import closed_on_error
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.result_rows import decisive_rows
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import Disk
from kvl_eval.store.manifest import AnswerCounts, Code, ModelFacts, Resume
from kvl_eval.store.names import run_name
from kvl_eval.store.records import Key
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.results_folder import ResultsFolder
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
        message:   what to do next and where the run is, one or more lines.
        is_old:    whether the run was complete before the command began.
        told:      notices of the folder that were printed already.
    """

    exit_code: int
    folder: RunFolder
    results: Results
    message: str
    is_old: bool = False
    told: tuple[str, ...] = ()


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
    with closed_on_error(backend):
        check_judge(plan.config, (task.task for task in plan.tasks))
        if isinstance(backend, Probing):
            run_async(backend.probe([task.config.generation for task in plan.tasks]))
    created = datetime.now().astimezone()
    names = [task.name for task in plan.tasks]
    before, folder = ResultsFolder.of(plan.config.output_dir), None
    try:
        folder = RunFolder.create(
            plan.config.output_dir,
            run_name(created, str(plan.model["name"]), names, plan.fingerprint),
            manifest_of(plan, created),
            plan.lines.chunks(),
            disk,
            partial(config_files, plan.config),
        )
        return carry_out(folder, plan, backend, {}, progress or Silent(), handle_signals)
    except BaseException:
        if folder is None or folder.is_unanswered:
            if folder is not None:
                folder.discard()
            before.restore()
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
                 returns, no server is contacted, so it is the place to refuse what the configuration would reach.
        changes: fields of RunConfig that the user wants otherwise; refused if they can change an answer.
        rerun:   `failed`, `all`, or ids of samples to answer again.
    Raises: UsageError `run.mismatch` listing old → new, `run.busy`, `run.mixed`; DataError `run.plan`, `run.manifest`.
    """
    progress = progress or Silent()
    folder = run.folder
    if folder.problem is not None or not folder.manifest.config:
        raise DataError(
            "run.manifest",
            folder.problem or f"run.json has no configuration: {folder.path}",
            why="a run can be resumed only with its original configuration",
            fix=f"start a new run with --no-resume; `kvl-eval score {folder.path}` and `report` still work",
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
    return carry_out(folder, plan, backend, done, progress, handle_signals)


# -- the parts of a run -----------------------------------------------------------------------------------------


def carry_out(
    folder: RunFolder,
    plan: Plan,
    backend: Backend,
    done: Mapping[str, set[Key]],
    progress: Progress,
    handle_signals: SignalHandling,
) -> RunOutcome:
    """Answer what is planned but for the keys in `done`, of a folder whose lock is held; it is let go at the end."""
    session = Session(plan, folder, done, progress)
    own = [task.task for task in plan.tasks]
    try:
        with on_signals(session, enabled=handle_signals):
            folder.save_status("running")
            write_index(folder.path.parent, folder.disk)
            reused = sum(map(len, done.values()))
            progress.notice(requests_text(plan.requests, reused, str(folder.path)))
            if isinstance(backend, Managed):
                progress.notice(f"starting vLLM, which takes a minute or more; log: {backend.log_into(folder.path)}")
            told = _tell(folder, progress)
            with _logged(folder):
                run_async(drive(session, backend))
                if session.stop is None:
                    finish_judging(RunReader(folder, own), plan.config, progress, lambda: session.stop is not None)
                results = rescore(RunReader(folder, own), plan.config.protocol, plan.config.score_view)
                folder.warnings += _unexpected_thoughts(plan.config, session.closed_thoughts)
                notices = server_notices(session.flags, session.answered, omitted_fields(plan))
                folder.warnings += [("server", notice) for notice in notices]
                for _, text in folder.warnings:
                    folder.log(f"warning: {text}")
                progress.close()
            save_end(folder, results, decode(ModelFacts, encode(plan.model)))
            if plan.config.compress and folder.manifest.status == "finished":
                folder.compress()
            return replace(outcome_of(RunReader(folder, own), results, session.stop), told=told)
    finally:
        progress.close()
        session.close()
        folder.unlock()


def _unexpected_thoughts(config: RunConfig, closed: int) -> list[tuple[str, str]]:
    """A warning about thoughts in the replies of a family that is taken not to think, with its code."""
    if not closed or stored_family(config.family) not in (INSTRUCT, OTHER):
        return []
    names = " or ".join(family.name for family in FAMILIES.published if family is not INSTRUCT)
    replies = "1 reply begins" if closed == 1 else f"{closed:,} replies begin"
    text = (
        f"{replies} with a thought, but the settings are those of {config.family} (temperature, new tokens): "
        f"if {config.model} is a thinking model, run it with --family {names}"
    )
    return [("protocol", text)]


def _tell(folder: RunFolder, progress: Progress) -> tuple[str, ...]:
    """Print what was odd in the folder when it was opened; returns that."""
    for notice in folder.notices:
        folder.log(f"note: {notice}")
        progress.notice(f"note: {notice}")
    return tuple(folder.notices)


def save_end(folder: RunFolder, results: Results, model: ModelFacts) -> None:
    """Write status, counts and model into the manifest, and update the list of runs."""
    is_finished = not _pending(results)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    ended = folder.manifest.finished if folder.manifest.status == "finished" else now
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
            if not isinstance(error, KvlEvalError):
                error.add_note(f"kvl-eval: traceback in {folder.path / 'log.txt'}")
            folder.save_status("interrupted")
        raise


def continue_run(
    run: RunReader,
    config: RunConfig,
    backend: Backend,
    progress: Progress,
    *,
    rerun: str | Iterable[str] | None = None,
    handle_signals: SignalHandling = False,
) -> RunOutcome:
    """A stored run of the plan of this configuration: at once if it is complete, else with what it lacks."""
    if run.folder.status == "finished" and rerun is None:
        return complete_run(run, config, Silent() if config.judge is None else progress)
    changes = {option.name: getattr(config, option.name) for option in fields(config)}
    return resume_run(run, lambda _: backend, progress, changes=changes, rerun=rerun, handle_signals=handle_signals)


def complete_run(run: RunReader, config: RunConfig, progress: Progress) -> RunOutcome:
    """A run that lacks no answer, under this configuration: its judge is asked what it was not asked, and scores are
    computed again where their rules differ. Raises: UsageError `run.busy`.
    """
    run.folder.lock()
    return _finished(run, config, progress, asks_judge=True)


def _finished(run: RunReader, config: RunConfig, progress: Progress, *, asks_judge: bool) -> RunOutcome:
    """A run that lacks nothing; scores are computed again where needed. Without `asks_judge` no server is contacted."""
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
        if not asks_judge:
            progress.notice("already complete; nothing to do")
        unasked = config.judge is not None and has_open_questions(run, config.judge, config.score_view, again=False)
        return replace(outcome_of(run, folder.results(), None, judge_unasked=unasked), is_old=True)
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
    counts = _counts(results)
    has_gaps = judge_unasked or any(row.n_scored < row.n_planned for row in rows)
    lines = [f"note: {hint}" for hint in _hints(rows, folder, judge_unasked=judge_unasked)]
    if stop is not None and counts.pending:
        lines += [] if stop.exit_code > 128 else [labelled("stopped", stop.reason)]
        lines += stop_lines(folder.path, counts.planned - counts.pending, counts.planned)
        return RunOutcome(stop.exit_code, folder, results, "\n".join(lines))
    name = run_argument(folder.path)
    if counts.pending:
        lines.append(labelled("next", f"kvl-eval resume {name}"))
    elif any(row.n_failed for row in rows):
        lines.append(labelled("next", f"kvl-eval resume {name} --rerun failed"))
    elif judge_unasked or any(row.judge and row.n_scored < row.n_planned for row in rows):
        lines.append(labelled("next", f"kvl-eval score {name} --only-failed"))
    lines += [labelled("report", f"kvl-eval report {name}"), labelled("folder", folder.path)]
    return RunOutcome(3 if has_gaps else 0, folder, results, "\n".join(lines))


def _own_rows(run: RunReader, results: Results) -> list[ResultRow]:
    """The results that decide: those of the run's own protocols, whatever else it was scored under since."""
    asked, rows = run.folder.manifest.config.get("protocol"), decisive_rows(results.rows)
    if asked == "all":
        return rows
    own = {name: asked or run.task(name).default_protocol for name in run.task_names}
    scored = {row.task for row in rows if row.protocol == own[row.task]}
    return [row for row in rows if row.protocol == own[row.task] or row.task not in scored]


def _hints(rows: Iterable[ResultRow], folder: RunFolder, *, judge_unasked: bool) -> Iterator[str]:
    """What helps against gaps whose cause is known."""
    if count := sum(row.failed.get("context_overflow", 0) for row in rows):
        prompts = "1 prompt was" if count == 1 else f"{count} prompts were"
        whose = "server's" if folder.manifest.model.device == "server" else "model's"
        yield f"{prompts} longer than the {whose} context; use --max-pixels, --frames or a longer context"
    if judge_unasked:
        yield "some replies were not judged"


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
        folder.warnings.append(("device", f"resumed on another device ({was} → {now}): results may differ slightly"))
    stamp = datetime.now().astimezone().isoformat(timespec="seconds")
    resume = Resume(time=stamp, host=provenance.host(), code=decode(Code, provenance.code()))
    folder.save(replace(folder.manifest, resumes=(*folder.manifest.resumes, resume)))
