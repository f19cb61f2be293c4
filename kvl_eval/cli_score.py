"""The verbs that work on stored answers: score, report. Neither loads a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kvl_eval.errors import UsageError

GAPS = 3  # exit code: some answers have no score


def score_predictions_verb(flags: Mapping[str, Any], as_json: bool) -> int:
    """Score answers from a JSON Lines file."""
    from kvl_eval.cli_show import task_and_source
    from kvl_eval.predictions import score_file

    task, source, split = task_and_source(flags["task"], flags)
    result = score_file(
        task,
        flags["predictions"],
        source=source,
        split=split,
        protocol=flags["protocol"],
        thinking=flags["thinking"],
        out=Path(flags["out"]) if flags["out"] else None,
    )
    click.echo(json.dumps(result.as_json(), ensure_ascii=False) if as_json else result.as_text())
    return 0 if result.complete else GAPS


def score_runs_verb(paths: Sequence[Path], flags: Mapping[str, Any], as_json: bool) -> int:
    """Score the answers of run folders again, under one protocol or all of them."""
    from kvl_eval.reports.runs import main_rows, open_runs
    from kvl_eval.reports.table import final_table, protocol_table
    from kvl_eval.reports.task_view import protocol_views
    from kvl_eval.rescore import rescore
    from kvl_eval.results import RunFolder

    code, found = 0, []
    for path in paths:
        results = rescore(RunFolder.open(path), flags["protocol"], flags["thinking"])
        wanted = [row for row in results["rows"] if flags["protocol"] in (row["protocol"], "all")]
        found.append({**results, "rows": wanted})
        code = max(code, 0 if all(row["n_scored"] == row["n_planned"] for row in wanted) and wanted else GAPS)
        if as_json:
            continue
        if flags["protocol"] == "all":
            for run in open_runs([path]):
                for row in main_rows(run):
                    click.echo(protocol_table(protocol_views(run, row)))
        else:
            click.echo(final_table({**results, "rows": wanted}))
    if as_json:
        click.echo(json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False))
    return code


def report_verb(paths: Sequence[Path], flags: Mapping[str, Any], as_json: bool) -> int:
    """Write reports, or print one table of the report beside our column."""
    if flags["table"]:
        from kvl_eval.reports.leaderboard import printed_table

        click.echo(printed_table(flags["table"], paths))
        return 0
    from kvl_eval.reports import write_report

    if not paths:
        raise UsageError("usage.report", "no run is named", fix="`kvl-eval list runs` shows those there are")
    written = write_report(paths, Path(flags["out"]) if flags["out"] else None, flags["format"] or ("markdown", "html"))
    names = [str(path) for path in written]
    click.echo(json.dumps(names) if as_json else "\n".join(names))
    return 0
