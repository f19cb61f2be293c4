"""The verb that writes reports of runs, or prints one table with published results. Loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.cli import terminal
from kvl_eval.cli.browser import open_page
from kvl_eval.cli.documents import DocumentRow, TableDocument
from kvl_eval.cli.terminal import echo
from kvl_eval.decode import encode
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line, whole

if TYPE_CHECKING:
    from kvl_eval.reports.costs import Prices
    from kvl_eval.reports.leaderboard import PublishedTable
    from kvl_eval.reports.write import ReportForm


def table_verb(name: str, paths: Sequence[Path], include_demo: bool, as_json: bool) -> int:
    """Print one published table with these runs added."""
    from kvl_eval.reports.leaderboard import printed_table, published_table
    from kvl_eval.reports.runs import open_runs

    runs = open_runs(paths) if paths else []
    if as_json:
        echo(json_line(encode(table_document(published_table(name, runs, include_demo)))))
    else:
        echo(printed_table(name, runs, include_demo))
    return 0


def table_document(table: PublishedTable) -> TableDocument:
    """The document of a published table."""
    rows = [
        DocumentRow(
            benchmark=row.label,
            unit=row.unit,
            published=tuple(None if cell is None else cell.score.value for cell in row.published),
            runs=tuple(None if cell is None else cell.row.score for cell in row.ours),
        )
        for row in table.rows
    ]
    runs = tuple(run.run_id for run in table.columns)
    return TableDocument(title=table.title, systems=table.systems, runs=runs, rows=tuple(rows), notes=table.notes)


def prices_of(per_hour: float | None, per_input: float | None, per_output: float | None) -> Prices:
    """The prices of a report. Raises: UsageError for prices of hours and tokens, or of tokens in one direction."""
    from kvl_eval.reports.costs import Prices

    if (per_input is None) != (per_output is None) or (per_hour is not None and per_input is not None):
        message = "a cost needs the price of an hour, or of tokens in both directions"
        raise UsageError("usage.report", message, fix="use --price-per-hour alone, or --price-in and --price-out")
    return Prices(per_hour=per_hour, per_input=per_input, per_output=per_output)


def report_verb(
    paths: Sequence[Path], out: Path | None, form: ReportForm, *, opens: bool = False, as_json: bool = False
) -> int:
    """Write reports of runs, and open the page in the browser if asked; returns 0."""
    from kvl_eval.audit.pair_settings import pair_settings
    from kvl_eval.reports.write import write_report
    from kvl_eval.run.ending import run_argument

    if not paths:
        raise UsageError("usage.report", "no run given", fix="kvl-eval report latest")
    from kvl_eval.scoring.rescore import fresh_results
    from kvl_eval.scoring.run_reader import RunReader

    for path in paths:
        fresh_results(RunReader.open(path))
    written = write_report(paths, out, form, pair_settings(paths))
    page = written[-1].absolute()
    if opens and page.suffix == ".html":
        open_page(page.as_uri())
    if as_json:
        echo(json_line([str(path) for path in written]))
        return 0
    terminal.result(whole(f"report: {page}"))
    if page.name == "index.html":
        terminal.step(f"open it, or run: kvl-eval view {run_argument(paths[0])}")
    return 0
