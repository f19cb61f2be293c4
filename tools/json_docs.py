"""Writes docs/json.md from the types that `--json` prints: python -m tools.json_docs"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kvl_eval.audit import verification
from kvl_eval.check_data import DataReport, Problem
from kvl_eval.check_vllm import Difference, VllmReport
from kvl_eval.cli import compared_runs, documents, json_errors
from kvl_eval.cli.fetch import FetchedModel, FetchedTask
from kvl_eval.describe import TaskDescription
from kvl_eval.doctor.document import DoctorCheck, DoctorReport
from kvl_eval.explanation import document, gold, plan_size, probe_document, units
from kvl_eval.store import run_entry
from kvl_eval.watch import document as watch
from kvl_eval.watch import judging
from tools.run_folder_docs import section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "json.md"
DOCUMENTS: tuple[tuple[str, str, tuple[type[Any], ...]], ...] = (
    (
        "`run`, `sweep`, `resume`, `merge`, `score RUN`",
        "Several runs of `score` are a list of such documents. "
        "[ResultRow](run-folder.md#resultrow) has the fields of `rows`.",
        (documents.RunDocument, documents.DocumentWarning),
    ),
    (
        "`run --dry-run`, `sweep --dry-run`",
        "The fields are those of [run.json](run-folder.md).",
        (documents.PlanDocument,),
    ),
    (
        "A command that failed",
        "Printed in place of the document, whatever the command.",
        (json_errors.ErrorDocument, json_errors.ErrorFields),
    ),
    ("`list runs`", "A list, newest first.", (run_entry.RunEntry, run_entry.RunScore)),
    ("`list tasks`", "A list.", (documents.TaskEntry,)),
    ("`list models`", "A list.", (documents.KnownModel,)),
    ("`list references`", "A list.", (documents.PublishedScore,)),
    ("`report --table`", "", (documents.TableDocument, documents.DocumentRow)),
    (
        "`compare`",
        "Further fields: `a` and `b`, with `run`, `path`, `model` and `demo`; more counts of each task.",
        (compared_runs.ComparedRuns, compared_runs.ComparedTask, compared_runs.ComparedCause),
    ),
    (
        "`explain`",
        "",
        (
            *(document.Explanation, document.ExplainedGap, document.Unexplained, units.GapPart),
            *(probe_document.ProbeResult, probe_document.ProbeControl, probe_document.ProbeInteraction),
        ),
    ),
    ("`plan-size`", "", (plan_size.PlanSize, plan_size.SizeEstimate, plan_size.SizeBasis, plan_size.RepeatGain)),
    ("`doctor`", "", (DoctorReport, DoctorCheck)),
    ("`watch`", "", (watch.WatchDocument, watch.TonightRun, judging.NightGap, judging.NightDrift)),
    ("`verify`", "", (verification.Verification,)),
    ("`check data`", "", (DataReport, Problem)),
    ("`check vllm`", "", (VllmReport, Difference)),
    ("`describe`", "", (TaskDescription,)),
    ("`fetch`", "A list of tasks and checkpoints.", (FetchedTask, FetchedModel)),
    ("`check gold`", "", (gold.GoldReport, gold.GoldDoubt, gold.GoldRun)),
)
HEAD = """\
<!-- written by tools/json_docs.py from the types; do not edit -->
# JSON documents

With `--json` a command prints one document and a line end on standard output, whatever happens. Scores are fractions
from 0 to 1. Fields are only added while `schema` is 1. `report` and `export` print a list of paths. Exit codes are
those of the [quick start](guide/quickstart.md#exit-codes). `kvl_eval/data/schemas` has a JSON Schema of each document.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, text, kinds in DOCUMENTS:
        parts.append(f"## {name}\n" + (f"\n{text}\n" if text else ""))
        parts += [section(kind) for kind in kinds]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
