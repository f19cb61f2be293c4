"""The verb that writes reports of runs, or prints one table with published results. Loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    from kvl_eval.reports.comparison import Comparison
    from kvl_eval.reports.leaderboard import PublishedTable
    from kvl_eval.reports.write import Format


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportChoice:
    """Formats (all where none is named), whether images and demo models are in, and whether the page is opened."""

    formats: Sequence[Format] = ()
    images: bool = True
    demo: bool = False
    opens: bool = False


def report_verb(paths: Sequence[Path], out: Path | None, choice: ReportChoice, *, as_json: bool) -> int:
    """Write reports of runs; returns 0."""
    from kvl_eval.reports.write import write_report
    from kvl_eval.run.ending import run_argument

    if not paths:
        raise UsageError("usage.report", "no run given", fix="kvl-eval report latest")
    from kvl_eval.scoring.rescore import fresh_results
    from kvl_eval.scoring.run_reader import RunReader

    for path in paths:
        fresh_results(RunReader.open(path))
    written = write_report(
        paths,
        out,
        choice.formats or ("markdown", "html"),
        pictures=choice.images,
        include_demo=choice.demo,
        comparisons=_comparisons(paths),
    )
    if choice.opens and written[-1].suffix == ".html":
        open_page(written[-1].absolute().as_uri())
    if as_json:
        echo(json_line([str(path) for path in written]))
        return 0
    terminal.result(whole(f"report: {written[-1]}"))  # the page, where there is one
    if written[-1].suffix == ".html":
        terminal.step(f"open it, or run: kvl-eval view {run_argument(paths[0])}")
    return 0


def _comparisons(paths: Sequence[Path]) -> list[Comparison]:
    """Each run beside the first one."""
    from kvl_eval.audit.compare import compare
    from kvl_eval.decode import decode
    from kvl_eval.reports.comparison import ComparedRuns, Comparison
    from kvl_eval.scoring.run_reader import RunReader

    pairs = []
    for number, path in enumerate(paths[1:], 1):
        try:
            compared = compare(RunReader.open(paths[0]), RunReader.open(path)).as_json()
        except UsageError as error:  # no task or budget in common
            pairs.append(Comparison(a=0, b=number, result=None, problem=error.message))
        else:
            pairs.append(Comparison(a=0, b=number, result=decode(ComparedRuns, compared)))
    return pairs
