"""The JSON documents by name, each with its type. Their JSON Schemas are in `kvl_eval/data/schemas`."""

from __future__ import annotations

from collections.abc import Mapping

from kvl_eval.check_data import DataReport
from kvl_eval.check_model import ModelReport
from kvl_eval.check_vllm import VllmReport
from kvl_eval.cli.compared_runs import ComparedRuns
from kvl_eval.cli.documents import (
    KnownModel,
    PlanDocument,
    PublishedScore,
    RunDocument,
    TableDocument,
    TaskEntry,
    VerifyDocument,
)
from kvl_eval.cli.fetch import FetchedModel, FetchedTask
from kvl_eval.cli.json_errors import ErrorDocument
from kvl_eval.describe import TaskDescription
from kvl_eval.doctor.document import DoctorReport
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.gold import GoldReport
from kvl_eval.explanation.plan_size import PlanSize
from kvl_eval.scoring.predictions import PredictionSummary, ProtocolSummaries
from kvl_eval.store.run_entry import RunEntry
from kvl_eval.watch.document import WatchDocument

DOCUMENTS: Mapping[str, object] = {
    "run": RunDocument,
    "plan": PlanDocument,
    "error": ErrorDocument,
    "list-runs": list[RunEntry],
    "list-tasks": list[TaskEntry],
    "list-models": list[KnownModel],
    "list-references": list[PublishedScore],
    "report-table": TableDocument,
    "compare": ComparedRuns,
    "explain": Explanation,
    "plan-size": PlanSize,
    "doctor": DoctorReport,
    "verify": VerifyDocument,
    "check-data": DataReport,
    "check-model": ModelReport,
    "check-vllm": VllmReport,
    "describe": TaskDescription,
    "fetch": list[FetchedTask | FetchedModel],
    "score-predictions": PredictionSummary | ProtocolSummaries,
    "check-gold": GoldReport,
    "watch": WatchDocument,
    "paths": list[str],
    "version": dict[str, str],
}
"""`run` is also what `resume`, `sweep`, `merge` and `score RUN` print; `paths` is what `report` and `export` do."""
