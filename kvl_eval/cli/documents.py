"""The JSON documents that `--json` prints beside those that other modules define. Values are fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from kvl_eval.audit.verification import AuditFinding
from kvl_eval.decode import Count, Json, encode_object
from kvl_eval.store.manifest import ModelFacts, PlannedData, Selection, TaskPrompt
from kvl_eval.store.result_records import Results
from kvl_eval.tasks.base import Access, Modality
from kvl_eval.types import Generation

if TYPE_CHECKING:
    from kvl_eval.reports.warnings import ResultWarning
    from kvl_eval.run.plan import Plan
    from kvl_eval.store.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentWarning:
    """Something that can mislead about a score.

    Attributes:
        code: stable.
        task: the task's name; null where it concerns the run.
        text: a sentence.
    """

    code: str
    task: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument(Results):
    """What `run`, `resume`, `sweep` and `merge` print: `results.json`, and how the run ended.

    Attributes:
        schema:           1.
        run_id:           the folder's name.
        created:          when the run began, local time with offset.
        model:            as in the manifest.
        demo:             whether a demo model answered.
        rows:             tasks in the plan's order.
        others:           fields of a later version.
        folder:           the run folder.
        exit_code:        of the command.
        status:           `finished`, or `interrupted` where samples are pending.
        warnings:         what can mislead about the scores.
        already_complete: whether the run was complete before the command began.
    """

    folder: str
    exit_code: Count
    status: Literal["finished", "interrupted"]
    warnings: tuple[DocumentWarning, ...] = ()
    already_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDocument:
    """What `run --dry-run` and `sweep --dry-run` print.

    Attributes:
        schema:             1.
        status:             `planned`.
        requests:           samples x repeats x budgets.
        config_fingerprint: hash of what can change an answer.
        selection:          which samples were chosen.
        model:              what answers.
        data:               {task: data}, in the plan's order.
        prompt:             {task: prompt}.
        generation:         {task: how answers are produced}.
    """

    schema: int = 1
    status: Literal["planned"] = "planned"
    requests: Count
    config_fingerprint: str | None
    selection: Selection
    model: ModelFacts
    data: Mapping[str, PlannedData]
    prompt: Mapping[str, TaskPrompt]
    generation: Mapping[str, Generation]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """One benchmark of a published table.

    Attributes:
        benchmark: its label.
        unit:      `percent` or `points`: how views print the scores.
        published: one score per system; null where none was published.
        runs:      one score per run; null where it has none.
    """

    benchmark: str
    unit: str
    published: tuple[float | None, ...]
    runs: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDocument:
    """What `report --table` prints.

    Attributes:
        schema:  1.
        title:   of the table.
        systems: labels of the published columns.
        runs:    ids of the runs that have a column.
        rows:    one per benchmark.
        notes:   disagreements between sources.
    """

    schema: int = 1
    title: str
    systems: tuple[str, ...]
    runs: tuple[str, ...]
    rows: tuple[DocumentRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """One task of `list tasks`.

    Attributes:
        task:           its name.
        title:          its title.
        modality:       what a question comes with: `text`, `image`, `images`, `video` or `document`.
        samples:        of the default split, where known.
        split:          the default split.
        has_answers:    whether the answers of that split are published.
        access:         `open`, `gated`, or `none` where nothing is downloaded.
        download_bytes: size of the official data; 0 where there is none, null where it is not known.
        groups:         names, comma-separated.
        splits:         names, comma-separated; `mini` is bundled.
    """

    task: str
    title: str
    modality: Modality
    samples: Count | None
    split: str
    has_answers: bool
    access: Access
    download_bytes: Count | None
    groups: str
    splits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """One model of `list models`.

    Attributes:
        model:    its name.
        location: `bundled`, a hub repository, or the option that says where it is.
        note:     a few words.
    """

    model: str
    location: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """One published result of `list references`.

    Attributes:
        benchmark: its name in `references/`.
        split:     the split; empty where the source does not say.
        system:    what was evaluated.
        setting:   what tells results of one benchmark apart; often empty.
        value:     as printed.
        table:     a key of `kvl_eval.references.TABLES`.
        source:    where it was printed.
    """

    benchmark: str
    split: str
    system: str
    setting: str
    value: str
    table: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyDocument:
    """What `verify` prints.

    Attributes:
        run:       the run folder.
        verdict:   `complete`, `incomplete` or `damaged`.
        exit_code: of the command.
        counts:    answers `planned`, `ok`, `failed`, `pending`.
        proven:    what was checked and held, as short texts.
        findings:  what is not as it should be.
    """

    run: str
    verdict: Literal["complete", "incomplete", "damaged"]
    exit_code: Count
    counts: Mapping[str, Count]
    proven: tuple[str, ...]
    findings: tuple[AuditFinding, ...]


def run_document(
    folder: RunFolder,
    results: Results,
    exit_code: int,
    warnings: Sequence[ResultWarning] = (),
    *,
    already_complete: bool = False,
) -> dict[str, Json]:
    """A `RunDocument`; a dictionary, since `results.json` may have fields of a later version."""
    return {
        **encode_object(results),
        "folder": str(folder.path),
        "exit_code": exit_code,
        "status": "finished" if folder.manifest.status == "finished" else "interrupted",
        "warnings": [warning.as_json() for warning in warnings],
        "already_complete": already_complete,
    }


def plan_document(plan: Plan) -> PlanDocument:
    """The document of a run that is only planned."""
    from kvl_eval.run.manifest import manifest_of

    manifest = manifest_of(plan, datetime.now().astimezone())
    return PlanDocument(
        requests=plan.requests,
        config_fingerprint=manifest.config_fingerprint,
        selection=manifest.selection,
        model=manifest.model,
        data=manifest.data,
        prompt=manifest.prompt,
        generation=manifest.generation,
    )
