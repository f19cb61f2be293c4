"""The answers of a run as a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvl_eval.exports.answers import scored_answers, scorer_of
from kvl_eval.exports.tables import Cells, columns_of, frame, sample_cells
from kvl_eval.scoring.judged import can_be_judged
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.replies import JudgeView
from kvl_eval.store.result_records import ResultRow
from kvl_eval.types import score_view

if TYPE_CHECKING:
    import pandas as pd


def samples_frame(run: RunReader, rows: Sequence[ResultRow]) -> pd.DataFrame:
    """One row per planned answer behind these results: the columns and types of the csv and parquet exports."""
    tasks = dict.fromkeys(row.task for row in rows)
    return frame((cells for row in rows for cells in _cells(run, row)), columns_of(run.folder, tasks))


def _cells(run: RunReader, row: ResultRow) -> Iterator[Cells]:
    scorer = scorer_of(row)
    for answer in scored_answers(run.folder, row.task, _lines(run, row, scorer)):
        if (answer.entry.budget, answer.entry.policy) == (row.budget, row.policy):
            yield sample_cells(run.folder, scorer, answer)


def _lines(run: RunReader, row: ResultRow, scorer: str) -> Sequence[ScoreLine]:
    """The scores behind a result: stored ones of a finished run, else the answers scored now."""
    stored = list(run.folder.scores(row.task, scorer)) if run.folder.status == "finished" else []
    if stored:
        return stored
    task, view = run.task(row.task), score_view(row.thinking)
    is_judged = row.judge is not None and can_be_judged(task, task.protocols[row.protocol])
    judge = JudgeView(row.judge, view) if row.judge is not None and is_judged else None
    return score_run(run, task, row.protocol, view, judge).lines
