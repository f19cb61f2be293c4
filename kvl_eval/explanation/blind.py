"""What the same model scores on a task without seeing the images, where such a run lies beside the explained one."""

from __future__ import annotations

from collections.abc import Iterator

from kvl_eval.decode import Json
from kvl_eval.errors import KvlEvalError
from kvl_eval.explanation.case import ExplainedCase
from kvl_eval.explanation.document import Observation
from kvl_eval.explanation.sentences import printed
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_list import list_runs


def blind_observation(case: ExplainedCase) -> Iterator[Observation]:
    """The score of the newest blind run of the same model, split and protocol in the same results folder, if any."""
    folder = case.run.folder
    if case.row.blind:
        return
    for entry in reversed(list_runs(folder.path.parent)):
        if entry.model != folder.manifest.model.name or entry.run_id == folder.run_id:
            continue
        if not any(score.task == case.task.name and score.protocol == case.own.protocol for score in entry.results):
            continue
        try:
            rows = RunFolder.open(entry.path).results().rows
        except KvlEvalError:  # another run's damage is none of this one's
            continue
        for row in rows:
            if row.blind and row.score is not None and _setting(row) == _setting(case.row):
                unit = "points" if case.row.unit == "points" else "percent"
                text = f"with gray images the model scores {printed(row.score, unit)} (run {entry.run_id})"
                values: dict[str, Json] = {"run": entry.run_id, "score": row.score}
                yield Observation(name="blind", text=text, values=values)
                return


def _setting(row: ResultRow) -> tuple[object, ...]:
    return row.task, row.split, row.budget, row.policy, row.protocol, row.judge, row.thinking
