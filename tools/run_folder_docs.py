"""Writes docs/run-folder.md from the types of a run folder: python tools/run_folder_docs.py"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from kvl_eval.store import manifest, records, result_records, trajectory_records
from kvl_eval.types import Generation, MediaInfo, TokenCounts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "run-folder.md"
FILES: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    (
        "`run.json`",
        "One object.",
        (
            manifest.Manifest,
            manifest.ModelFacts,
            manifest.Code,
            manifest.Selection,
            manifest.PlannedData,
            manifest.TaskPrompt,
            Generation,
            manifest.Seeds,
            manifest.AnswerCounts,
            manifest.Resume,
            manifest.MergedShard,
        ),
    ),
    (
        "`plan.jsonl`",
        "One line for each answer wanted; the first line of a sample also holds what its answers share.",
        (records.PlanEntry, records.PlannedSample),
    ),
    (
        "`samples/TASK.jsonl`, `samples/TASK.jsonl.gz`",
        "One line for each finished attempt. The compressed file, if there is one, comes before the plain one.",
        (records.Record, MediaInfo, TokenCounts, records.Extra),
    ),
    (
        "`trajectories/TASK/SAMPLE/REPEAT.jsonl`",
        "The journal of an episode: a head, one line for each reply, and last the outcome. Screens are in `media/`, "
        "what evaluators found is in `evidence/`, each file under the hash of its content.",
        (
            trajectory_records.TrajectoryHead,
            trajectory_records.TrajectoryStep,
            trajectory_records.StoredAction,
            trajectory_records.StepResult,
            trajectory_records.TrajectoryOutcome,
            trajectory_records.StoredCheck,
        ),
    ),
    ("`judge/TASK.jsonl`", "One line for each reply of a judge.", (records.JudgeReply,)),
    (
        "`scores/TASK@PROTOCOL-VERSION.jsonl`",
        "One line for each answer, in the plan's order. Derived.",
        (records.ScoreLine, records.JudgeNote),
    ),
    (
        "`results.json`",
        "One object. Derived.",
        (
            result_records.Results,
            result_records.ResultRow,
            result_records.CategoryRow,
            result_records.Spread,
            result_records.Seconds,
            result_records.Repeats,
            result_records.PublishedRow,
        ),
    ),
    ("`lock`", "One object, while a process writes to the folder.", (records.LockHolder,)),
)
HEAD = """\
<!-- written by tools/run_folder_docs.py from kvl_eval/store/; do not edit -->
# What a run folder holds

Lines end in a field `crc`, the CRC-32 of the bytes before it; readers skip a line whose checksum does not fit, and name
it. Every line is read by itself: `jq -r .raw_output samples/*.jsonl` prints every answer whole
(`zcat -f samples/*.jsonl* | jq -r .raw_output` where a run was compressed). Fields are only added while `schema` is 1;
those marked "may be absent" are not in every line.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, text, kinds in FILES:
        parts.append(f"## {name}\n\n{text}\n")
        parts += [section(kind) for kind in kinds]
    return "\n".join(parts)


def section(kind: type[Any]) -> str:
    """A table of the stored fields of a type."""
    doc = inspect.getdoc(kind) or ""
    texts = descriptions(doc)
    stored = [field for field in dataclasses.fields(kind) if field.metadata.get("stored", True)]
    rows = [
        f"| `{field.metadata.get('key', field.name)}` | `{escaped(str(field.type))}` | "
        f"{texts.get(field.name, '')}{absent(field)} |"
        for field in stored
        if not field.metadata.get("rest")
    ]
    head = doc.partition("\n\nAttributes")[0].replace("\n", " ")
    return "\n".join(
        [f"### {kind.__name__}\n", f"{head}\n", "| field | type | meaning |", "| --- | --- | --- |", *rows, ""]
    )


def descriptions(doc: str) -> dict[str, str]:
    """What the `Attributes` of a docstring say of each field."""
    found: dict[str, str] = {}
    for line in doc.partition("Attributes:\n")[2].splitlines():
        if match := re.match(r" {4}(\w+): +(.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif line.strip() and found:
            found[name] += " " + line.strip()
    return {name: escaped(text) for name, text in found.items()}


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def absent(field: dataclasses.Field[Any]) -> str:
    """Whether lines may lack a field."""
    is_former = "former" in field.metadata and "key" not in field.metadata
    former = f" Formerly `{field.metadata['former']}`." if is_former else ""
    return (" May be absent." if field.metadata.get("omit") else "") + former


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
