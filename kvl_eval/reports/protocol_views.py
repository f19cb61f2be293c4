"""The stored answers of one result under each protocol that they were scored with."""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.reports.runs import ReportRun, protocol_rows, scores_of, task_of
from kvl_eval.reports.table import ProtocolView, find_flips
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow


def protocol_views(
    run: ReportRun, row: ResultRow, scores: Sequence[ScoreLine] | None = None
) -> tuple[ProtocolView, ...]:
    """The stored answers of one result under each protocol it was scored with, that of `row` first.

    `scores` are the lines of `row`'s own protocol, if they were read already.
    """
    rows = protocol_rows(run, row)
    if len(rows) == 1:
        return (ProtocolView(row=row, flips=()),)
    default = _lines(run, row) if scores is None else scores
    return tuple(
        ProtocolView(
            row=other,
            flips=() if other is row else find_flips(default, _lines(run, other)),
            unjudged=_unjudged(other),
        )
        for other in rows
    )


def _unjudged(row: ResultRow) -> int:
    """Answers that are not scored because no judge was asked."""
    task = task_of(row)
    protocol = None if task is None else task.protocols.get(row.protocol)
    if protocol is None or row.judge is not None:
        return 0
    is_as_judged = protocol.judged == (protocol.label or row.protocol)  # then no rule stands in for the judge
    waits = protocol.needs_judge or (bool(protocol.judged) and (is_as_judged or not row.n_scored))
    return row.verdicts.get("not_scored", 0) if waits else 0


def _lines(run: ReportRun, row: ResultRow) -> list[ScoreLine]:
    """The lines of `scores/` behind a result."""
    lines = run.scores(row.task, scores_of(row))
    return [line for line in lines if (line.budget, line.policy) == (row.budget, row.policy)]
