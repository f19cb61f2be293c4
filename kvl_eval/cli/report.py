"""The verb that writes reports of runs, or prints one table beside the published figures. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvl_eval.errors import UsageError

if TYPE_CHECKING:
    from kvl_eval.reports.comparison import Comparison


def report_verb(paths: Sequence[Path], flags: Mapping[str, Any], as_json: bool) -> int:
    """Write reports, or print one table of the report beside our column."""
    from kvl_eval.tasks import include

    include(flags["include_path"])
    if flags["table"]:
        from kvl_eval.reports.leaderboard import printed_table
        from kvl_eval.reports.runs import open_runs

        click.echo(printed_table(flags["table"], open_runs(paths) if paths else [], flags["include_demo"]))
        return 0
    from kvl_eval.reports.write import Format, write_report

    if not paths:
        raise UsageError("usage.report", "no run is named", fix="`kvl-eval list runs` shows those there are")
    from kvl_eval.scoring.rescore import fresh_results
    from kvl_eval.store.results import RunFolder

    for path in paths:
        fresh_results(RunFolder.open(path))
    out = Path(flags["out"]) if flags["out"] else None
    formats: Sequence[Format] = flags["format"] or ("markdown", "html")
    written = write_report(
        paths,
        out,
        formats,
        pictures=not flags["no_pictures"],
        include_demo=flags["include_demo"],
        comparisons=_comparisons(paths),
    )
    names = [str(path) for path in written]
    click.echo(json.dumps(names) if as_json else "\n".join(names))
    return 0


def _comparisons(paths: Sequence[Path]) -> list[Comparison]:
    """Each run beside the first one."""
    from kvl_eval.audit.compare import compare
    from kvl_eval.reports.comparison import Comparison
    from kvl_eval.store.results import RunFolder

    found = []
    for number, path in enumerate(paths[1:], 1):
        try:
            compared = compare(RunFolder.open(paths[0]), RunFolder.open(path))
        except UsageError as error:  # no task or budget in common
            found.append(Comparison(a=0, b=number, found=None, problem=error.message))
        else:
            found.append(Comparison(a=0, b=number, found=compared))
    return found
