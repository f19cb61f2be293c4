"""The verb that scores stored answers again, or answers from anywhere. Loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.cli import terminal
from kvl_eval.cli.documents import run_document
from kvl_eval.cli.locks import break_lock
from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line
from kvl_eval.types import score_view

if TYPE_CHECKING:
    from kvl_eval.backends.chat_client import Server
    from kvl_eval.scoring.predictions import PredictionScores
    from kvl_eval.scoring.run_reader import RunReader
    from kvl_eval.store.result_records import ResultRow

SHOWN = 20  # official figures, and flips of each protocol
GAPS = 3  # exit code: some answers have no score


def score_predictions_verb(flags: Flags, as_json: bool) -> int:
    """Score answers from a JSON Lines file."""
    from kvl_eval.cli.task_data import task_and_source
    from kvl_eval.scoring.predictions import score_file, write_rows

    if flags.text("judge") not in (None, "none"):
        raise UsageError(
            "usage.judge",
            "--judge needs a run folder and cannot be combined with --predictions",
            why="judge replies are stored in the run folder",
            fix="create one: kvl-eval run --task TASK --model fake --model-args answers=FILE --judge ...; "
            "or put an existing verdict into the `extraction` of a line",
        )

    task, source, split = task_and_source(str(flags.text("task")), flags.values)
    result = score_file(
        task,
        str(flags.text("predictions")),
        source=source,
        split=split,
        protocol=flags.text("protocol"),
        view=score_view(flags.text("score_view")),
    )
    if out := flags.text("output_file"):
        write_rows(Path(out), result)
    echo(json_line(result.as_json()) if as_json else predictions_text(result))
    return 0 if result.complete else GAPS


def predictions_text(result: PredictionScores) -> str:
    """Score, interval and counts under each protocol, the official script's figures, and what flips."""
    from kvl_eval.reports import numbers
    from kvl_eval.sources.unusable import fault_text

    lines = [["protocol", "n", "score", "95 % CI", "no-answer", "not scored", "differs"]]
    for one in result.protocols:
        summary = one.summary
        verdicts, low_high = summary["verdicts"], summary["ci95"]
        lines.append(
            [
                one.label,
                str(summary["n"]),
                "none" if summary["score"] is None else f"{100 * summary['score']:.1f}",
                "" if low_high is None else f"[{100 * low_high[0]:.1f}, {100 * low_high[1]:.1f}]",
                str(verdicts.get("no_answer", 0)),
                str(verdicts.get("not_scored", 0)),
                str(len(one.flips)) if one is not result.first else "",
            ]
        )
    official = [f"  {key}: {text}" for key, text in list(result.first.summary["official"].items())[:SHOWN]]
    flips = [
        numbers.plain(f"  {one.label}: {flip.id}: {flip.reason}")
        for one in result.protocols
        for flip in one.flips[:SHOWN]
    ]
    refused = [f"refused: {numbers.plain(fault_text(fault))}" for fault in result.refused[:SHOWN]]
    if len(result.refused) > SHOWN:
        refused.append(f"... and {len(result.refused) - SHOWN} more; --json lists all")
    return "\n".join([numbers.columns(lines), *official, *flips, *refused])


def score_runs_verb(paths: Sequence[Path], flags: Flags, as_json: bool) -> int:
    """Score the answers of run folders again, under one protocol or all of them."""
    from kvl_eval.reports.protocol_views import protocol_views
    from kvl_eval.reports.runs import main_rows, open_runs
    from kvl_eval.reports.table import final_table, protocol_table
    from kvl_eval.reports.warnings import run_warnings
    from kvl_eval.scoring.evidence_note import evidence_note
    from kvl_eval.scoring.rescore import rescore
    from kvl_eval.scoring.run_reader import RunReader
    from kvl_eval.store.run_list import write_index

    code, scored, documents, protocol = 0, [], [], flags.text("protocol")
    for path in paths:
        run = RunReader.open(path)
        break_lock(run.folder, flags)
        _restore_config(run)
        _ask_judge(run, flags)
        results = rescore(run, protocol, score_view(flags.text("score_view")))
        if text := evidence_note(run):
            terminal.note(text)
        write_index(run.folder.path.parent, run.folder.disk)
        wanted = [row for row in results.rows if row.protocol in _asked(row, protocol)]
        own_code = _exit_code(wanted, protocol)
        code = max(code, own_code)
        scored.append(replace(results, rows=tuple(wanted)))
        if as_json:
            warnings = run_warnings(run.folder, scored[-1])
            documents.append(run_document(run.folder, scored[-1], own_code, warnings))
            continue
        if protocol == "all":
            for opened in open_runs([path]):
                for row in main_rows(opened):
                    terminal.result(protocol_table(protocol_views(opened, row), int(flags.text("flips") or 0)))
        else:
            terminal.result(final_table(scored[-1], terminal.table_width()))
    if as_json:
        echo(json_line(documents[0] if len(documents) == 1 else documents))
    return code


def _restore_config(run: RunReader) -> None:
    """Write config.yaml again where it is gone. Raises: UsageError `run.busy`."""
    from kvl_eval.run.stored_config import config_changes, restore_config

    if not any(change.what == "missing" for change in config_changes(run.folder)):
        return
    run.folder.lock()
    try:
        if restore_config(run.folder):
            terminal.note(f"{run.folder.path / 'config.yaml'} was written again")
    finally:
        run.folder.unlock()


def _ask_judge(run: RunReader, flags: Flags) -> None:
    """Ask the judge that the flags name, or, with --only-failed, the run's own, for the replies that are still open.

    Raises: UsageError `usage.judge`, `run.busy`, `trust.server`.
    """
    from kvl_eval.cli.trusting import places, settle
    from kvl_eval.run.contacts import judge_contact
    from kvl_eval.run.judge_stage import has_open_questions, judge_run
    from kvl_eval.run.progress import make_progress
    from kvl_eval.trust import AddressPlace

    server, view = _judge_of(run, flags), score_view(flags.text("score_view"))
    if server is None:
        return
    run.folder.lock()
    try:
        if not has_open_questions(run, server, view, again=True):
            return
        settle([judge_contact(server, places(AddressPlace.RUN_FOLDER))], records=True)
        progress = make_progress(quiet=flags.switch("no_progress"), verbosity=terminal.verbosity())
        outcome = judge_run(run, server, view, progress)
    finally:
        run.folder.unlock()
    for text in outcome.notices():
        terminal.warn(text)


def _judge_of(run: RunReader, flags: Flags) -> Server | None:
    """The judge that the flags name; with --only-failed the run's own, as far as flags say nothing else of it."""
    from kvl_eval.run.config import from_json
    from kvl_eval.run.options import Options, judge_server

    stored = run.folder.manifest.config if flags.switch("only_failed") and flags.text("judge") is None else None
    own = from_json(stored).judge if stored else None
    if own is not None:
        address, variable = flags.text("judge_base_url"), flags.text("judge_key_env")
        return replace(own, base_url=address or own.base_url, key_env=variable or own.key_env)
    return judge_server(Options.of({name: value for name, value in flags.values.items() if name.startswith("judge")}))


def _asked(row: ResultRow, protocol: str | None) -> Sequence[str]:
    """The protocols whose results are asked for: without a name the default one and what the task shows beside it."""
    from kvl_eval.reports.runs import task_of

    task = task_of(row)
    if task is None or protocol == "all":
        return (row.protocol,) if protocol in (None, "all", row.protocol) else ()
    if protocol is None:
        return (task.default_protocol, *task.view.beside)
    return (task.protocol_named(protocol) or protocol,)


def _exit_code(rows: Sequence[ResultRow], protocol: str | None) -> int:
    """3 where an answer has no score; of several protocols the tasks' default ones decide: others may need a judge."""
    from kvl_eval.scoring.result_rows import decisive_rows

    is_one = protocol not in (None, "all")
    decisive = [row for row in decisive_rows(rows) if is_one or row.protocol == _asked(row, None)[0]]
    return 0 if decisive and all(row.n_scored == row.n_planned for row in decisive) else GAPS
