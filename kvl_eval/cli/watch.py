"""The verb that repeats runs from a file, compares them with earlier nights, and writes the trend page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kvl_eval.cli import terminal
from kvl_eval.cli.config_file import placed
from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.decode import encode
from kvl_eval.errors import KvlEvalError, StorageError, UsageError
from kvl_eval.printable import json_line, one_line, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvl_eval.run.plan import Plan
    from kvl_eval.run.runner import RunOutcome
    from kvl_eval.store.run_entry import RunEntry
    from kvl_eval.watch.document import NightSeries, TonightRun, TonightStatus, WatchDocument
    from kvl_eval.watch.judging import Against, NightDrift, NightGap
    from kvl_eval.watch.nights import DriftState
    from kvl_eval.watch.settings import WatchSettings

SIGNALED = 128  # exit codes above it: a signal ended the run


def watch_verb(path: Path, flags: Flags, as_json: bool) -> int:
    """Run what the file lists unless it is complete, compare, write the page; 5 after a significant drop."""
    from kvl_eval.watch.document import as_text
    from kvl_eval.watch.settings import read_settings

    settings = read_settings(path)
    with _locked(settings.folder):
        tonight: list[TonightRun] = []
        failures: list[int] = []
        for number, name in enumerate(settings.names):
            run, code = _night(settings, number, name, flags)
            if code >= SIGNALED:
                return code
            tonight.append(run)
            failures += [code] if run.status == "failed" else []
        document = _assessed(settings, tonight, failures)
    terminal.result(json_line(document.as_json()) if as_json else whole(as_text(document, settings.folder)))
    return document.exit_code


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises: UsageError `watch.busy` where another process watches in this folder, StorageError."""
    from kvl_eval.store.journal import Disk
    from kvl_eval.store.run_lock import RunLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why, fix = str(error.strerror), "use another output_dir"
        raise StorageError("storage.write", f"cannot create {folder}", why=why, fix=fix) from error
    lock = RunLock(folder, Disk())
    try:
        lock.acquire()
    except UsageError as error:
        message = "another watch is in progress in this folder"
        raise UsageError("watch.busy", message, where=error.where, why=error.why, fix=error.fix) from error
    try:
        yield
    finally:
        lock.release()


def _night(settings: WatchSettings, number: int, name: str, flags: Flags) -> tuple[TonightRun, int]:
    """What became of one run, and its exit code."""
    from kvl_eval.watch.document import GAPS, TonightRun

    try:
        outcome = _outcome(settings, number, name, flags)
    except KvlEvalError as error:
        echo(whole(error.render()), err=True)
        return TonightRun(name=name, status="failed", run=None, error=one_line(error.message)), error.exit_code
    path, code = str(outcome.folder.path), outcome.exit_code
    if code not in (0, GAPS) and code < SIGNALED:
        return TonightRun(name=name, status="failed", run=path, error=one_line(outcome.message)), code
    if outcome.is_old:
        terminal.step(f"{name}: skipped, complete with the same settings, model and version of kvl-eval")
    status: TonightStatus = "gaps" if code == GAPS else "skipped" if outcome.is_old else "complete"
    return TonightRun(name=name, status=status, run=path), code


def _outcome(settings: WatchSettings, number: int, name: str, flags: Flags) -> RunOutcome:
    """The run itself, as `kvl-eval run --config` would do it: what the file names counts as a file's."""
    from kvl_eval.cli.run import run_outcome
    from kvl_eval.watch.settings import run_file_text

    file = settings.folder / f"{name}.yaml"
    _write(file, run_file_text(settings.options(number)))
    words = ["--config", str(file), "--output-dir", str(settings.runs_folder(name))]
    if settings.samples != "all":
        words += ["--sample-ids", str(_subset(settings, name, settings.samples))]
    if variable := flags.text("api_key_env"):
        words += ["--api-key-env", variable]
    for folder in flags.texts("include_path"):
        words += ["--include-path", folder]
    context = click.get_current_context()
    command = _run_command(context)
    with command.make_context("run", words, parent=context) as inner, placed(inner):
        given: dict[str, object] = {key: value for key, value in inner.params.items() if key != "as_json"}
        outcome = run_outcome(Flags(given), as_json=False, fits=_has_same_identity)
    assert outcome is not None, "--dry-run is refused"
    return outcome


def _run_command(context: click.Context) -> click.Command:
    root = context.find_root().command
    assert isinstance(root, click.Group)
    return root.commands["run"]


def _has_same_identity(run: RunEntry, plan: Plan) -> bool:
    """Whether the same model and the same code made a run: another server or version is another night."""
    from kvl_eval.run.manifest import manifest_of
    from kvl_eval.store.run_folder import RunFolder

    stored, now = RunFolder.open(run.path).manifest, manifest_of(plan, datetime.now().astimezone())
    code = [(about.code.version, about.code.files_sha256) for about in (stored, now)]
    return encode(stored.model) == encode(now.model) and code[0] == code[1]


def _subset(settings: WatchSettings, name: str, n: int) -> Path:
    """The file with the ids of a stratified subset of the pinned run. Raises: UsageError for several tasks."""
    from kvl_eval.explanation.score_columns import columns_of
    from kvl_eval.explanation.stratified import chosen_ids, stratified_order
    from kvl_eval.scoring.run_reader import RunReader

    pin = _pin(settings, name)
    columns = columns_of(RunReader.open(pin), None)
    file = settings.folder / f"{name}-ids.txt"
    _write(file, "".join(f"{sample}\n" for sample in chosen_ids(stratified_order(columns), n)))
    return file


def _pin(settings: WatchSettings, name: str) -> Path:
    """The pinned run. Raises: DataError `run.missing`."""
    from kvl_eval.store.run_names import find_run

    assert settings.pin is not None
    return find_run(settings.pin, settings.runs_folder(name))


def _assessed(settings: WatchSettings, tonight: Sequence[TonightRun], failures: Sequence[int]) -> WatchDocument:
    """The comparisons of all runs, judged as one family, and the files that show them."""
    from kvl_eval.watch.document import WatchDocument, exit_code, sentences, worst
    from kvl_eval.watch.judging import judged
    from kvl_eval.watch.nights import DriftState, read_state, state_text
    from kvl_eval.watch.page import page

    known, state = read_state(settings.folder / "state.json"), DriftState(differences={})
    series: list[NightSeries] = []
    gaps: list[NightGap] = []
    drifts: list[NightDrift] = []
    runs = []
    for run in tonight:
        found = _one_series(settings, run.name)
        series.append(found)
        new = found.nights[-1] if found.nights and run.status != "failed" else None
        runs.append(replace(run, changes=new.changes if new and run.status != "skipped" else ()))
        if new is not None:
            gaps += _gaps(settings, found)
            signs, used = _drifts(settings, found, known)
            drifts += signs
            state = DriftState(differences={**state.differences, **used.differences})
    gaps = judged(gaps, settings.drop, settings.alpha)
    drop = worst(gaps)
    document = WatchDocument(
        runs=tuple(runs),
        comparisons=tuple(gaps),
        drifts=tuple(drifts),
        page=str(settings.folder / "index.html"),
        why=None if drop is None else str(settings.folder / "why.md"),
        verdict=tuple(sentences(runs, gaps, drifts)),
        exit_code=exit_code(runs, gaps, failures),
    )
    if drop is not None:
        _write(settings.folder / "why.md", _why(drop))
    _write(settings.folder / "state.json", state_text(state))
    _write(settings.folder / "index.html", page(document, series))
    return document


def _one_series(settings: WatchSettings, name: str) -> NightSeries:
    from kvl_eval.watch.document import NightSeries
    from kvl_eval.watch.nights import pair_nights, read_nights

    nights = read_nights(settings.runs_folder(name), settings.keep)
    if not nights:
        return NightSeries(name, (), None, {})
    pin = str(_pin(settings, name)) if settings.pin is not None else nights[0].path
    last = pair_nights(nights[-2].path, nights[-1].path) if len(nights) > 1 else {}
    return NightSeries(name, nights, pin, last)


def _gaps(settings: WatchSettings, series: NightSeries) -> list[NightGap]:
    """Tonight against the baseline and against the night before; against one where both are the same run."""
    from kvl_eval.watch.document import gaps_of
    from kvl_eval.watch.nights import pair_nights

    new, pin = series.nights[-1].path, series.pin
    gaps: list[NightGap] = []
    before = series.nights[-2].path if len(series.nights) > 1 else None
    if settings.baseline == "pinned" and pin is not None and pin != before:
        gaps += gaps_of(series.name, "baseline", pair_nights(pin, new), (pin, new))
    if before is not None:
        against: Against = "baseline" if settings.baseline == "pinned" and pin == before else "last"
        gaps += gaps_of(series.name, against, series.last, (before, new))
    return gaps


def _drifts(settings: WatchSettings, series: NightSeries, state: DriftState) -> tuple[list[NightDrift], DriftState]:
    """The cumulative sums since the last change of model, data, prompt or kvl-eval."""
    from kvl_eval.watch.judging import NightDrift, drift
    from kvl_eval.watch.nights import DriftState, pair_nights, pin_differences

    if series.pin is None:
        return [], DriftState(differences={})
    start = max((number for number, night in enumerate(series.nights) if night.changes), default=0)
    differences, used = pin_differences(series.pin, series.nights[start:], state)
    signs = []
    for task, pair in pair_nights(series.pin, series.nights[-1].path).items():
        total, limit = drift(differences.get(task, []), pair.scores.difference.stderr, settings.drop)
        signs.append(NightDrift(run=series.name, task=task, sum=total, limit=limit, warning=total > limit))
    return signs, used


def _write(path: Path, text: str) -> None:
    """Put a whole file in place. Raises: StorageError."""
    from kvl_eval.store.outputs import OutputFolder

    OutputFolder(path.parent).write([text.encode("utf-8", "surrogatepass")], path.name)


def _why(drop: NightGap) -> str:
    """The explanation of a drop as Markdown; the reason where there is none."""
    from kvl_eval.explanation.case import ExplainOptions
    from kvl_eval.explanation.markdown import as_markdown
    from kvl_eval.explanation.resolving import explain
    from kvl_eval.scoring.run_reader import RunReader
    from kvl_eval.watch.document import task_of

    task, budget = task_of(drop.task)
    options = ExplainOptions(task=task, to=drop.old, budget=budget)
    try:
        return as_markdown(explain(RunReader.open(drop.new), options, Path(drop.new).parent))
    except KvlEvalError as error:
        return f"{whole(error.render())}\n"
