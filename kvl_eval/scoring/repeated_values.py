"""Values of episodes, computed again from what evaluators found; no desktop is needed, only `evidence/`."""

from __future__ import annotations

import re
from pathlib import Path

from kvl_eval.errors import DataError, StorageError
from kvl_eval.scorers.desktop_metrics import metric_value
from kvl_eval.store.evidence import read_evidence
from kvl_eval.store.records import Record
from kvl_eval.store.trajectories import read_trajectory, trajectory_name, trajectory_path
from kvl_eval.types import Sample

_VALUE = re.compile(r"\S+")  # at the beginning of an episode's answer


def repeated_answer(run: Path, sample: Sample, record: Record) -> str | None:
    """A record's answer with its value computed again; None where that needs the desktop, or evidence is damaged."""
    evaluator = sample.row.get("evaluator")
    if not isinstance(evaluator, dict):
        return None
    name = trajectory_name(record.task, record.sample_id, record.repeat)
    try:
        outcome = read_trajectory(trajectory_path(run, name)).outcome
        if outcome is None or len(outcome.evaluator) != 1 or outcome.evaluator[0].evidence is None:
            return None
        value = metric_value(evaluator, read_evidence(run, outcome.evaluator[0].evidence))
    except (DataError, StorageError, ValueError, OSError):
        return None
    return _VALUE.sub(str(value), record.answer, count=1)
