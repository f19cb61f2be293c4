"""The answers behind the counts of flags among the warnings of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.reports.runs import ReportRun, main_rows
from kvl_eval.reports.warnings import flag_text, name_among, result_name
from kvl_eval.store.result_records import ResultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedAnswers:
    """Answers of one result that carry a flag, and the line that counts them."""

    line: str
    run: ReportRun
    row: ResultRow
    flag: str


def flagged(runs: Sequence[ReportRun]) -> list[FlaggedAnswers]:
    """What the counts of flags among the warnings lead to; results that share a line are left out."""
    flags = []
    for run in runs:
        among = name_among(run, runs)
        for row in main_rows(run):
            for flag in row.flags:
                line = f"{result_name(row)}: {flag_text(row, flag)}"
                flags.append(FlaggedAnswers(line=f"{among}: {line}" if among else line, run=run, row=row, flag=flag))
    return flags
