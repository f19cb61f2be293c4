"""Everything that defines a task's score: data, prompts, generation, protocols, published results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from kvl_eval.model.kimi_vl.families import FAMILIES
from kvl_eval.references import TABLES, ReferenceScore, load
from kvl_eval.scorers.answers import Kind, Sought
from kvl_eval.scorers.answers.accuracy import COMMAND, GENERATED, LABELED, Accuracy
from kvl_eval.scorers.answers.guide import EXAMPLES, KINDS, NO_ANSWER, PLACES, REASON_TEXTS
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import READER, Split, Task, answer_form
from kvl_eval.thinking import FAMILIES as THOUGHTS
from kvl_eval.types import Generation, ImageRef, Message, PdfRef, Sample, SubtitleRef, VideoRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolDescription:
    """A protocol: what views call it, its departures from the authors' code, what speaks for its being the report's."""

    label: str
    notes: list[str]
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureDescription:
    """A published result: `value` is a fraction, `table` and `source` say where it was printed."""

    system: str
    label: str
    setting: str
    value: float
    printed: str
    unit: str
    table: str
    source: str
    note: str
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceDescription:
    """A place of an answer that is looked at, with an example of the first kind that a task wants."""

    place: str
    what: str
    example: str
    extracted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonDescription:
    """Why nothing is extracted, and an answer of which that is so."""

    reason: str
    what: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionDescription:
    """How answers are extracted.

    Attributes:
        protocol:  what views call the protocol that does.
        wanted:    {kind: what that is}.
        places:    the surest first; the first that has a value decides.
        no_answer: answers from which nothing is extracted.
        accuracy:  {kind: counts over generated replies}.
        labeled:   counts over replies to multiple-choice questions that people labeled; None where no letter is wanted.
        command:   what measured them.
        thoughts:  opening and closing markers of the thoughts that are left out first.
    """

    protocol: str
    wanted: Mapping[Sought, str]
    places: list[PlaceDescription]
    no_answer: list[ReasonDescription]
    accuracy: Mapping[Sought, Accuracy]
    labeled: Accuracy | None
    command: str
    thoughts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDescription:
    """One sample as it is asked under the default prompt, and its gold answers."""

    id: str
    prompt: str
    gold: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescription:
    """What a task is. `asdict` gives what `describe --json` prints.

    Attributes:
        columns:    of an own table: its file, which column is read as what, media, and notes.
        samples:    the first samples of the split.
        sample:     id of the sample that the prompts are rendered on; None where there is none.
        prompts:    {name: text}; None without a sample.
        answer_forms: {prompt: form of an answer that it asks for}; `free` where it asks for none.
        generation: {model family: settings}.
        extraction: how the reader extracts answers, under `reader` or in a language model's place; None without it.
        judge:      whether an LLM step may read answers; `submission`, whether a server scores them.
    """

    task: str
    title: str
    doc: str
    groups: list[str]
    repos: list[str]
    licence: str
    default_split: str
    splits: Mapping[str, Split]
    files: list[str]
    row_layouts: Mapping[str, list[str]]
    columns: list[str]
    modality: str
    access: str
    download_bytes: int | None
    download_source: str
    samples: list[SampleDescription]
    sample: str | None
    default_prompt: str
    prompt_evidence: str
    prompts: Mapping[str, str | None]
    answer_forms: Mapping[str, str]
    generation: Mapping[str, Generation]
    default_protocol: str
    extraction: ExtractionDescription | None
    protocols: Mapping[str, ProtocolDescription]
    judge: bool
    submission: bool
    references: list[FigureDescription]


def describe(task: Task, source: Source, split: str, samples: int = 1) -> TaskDescription:
    """What a task is; its prompts are rendered on the first sample of `split`, and so many samples are shown.

    Nothing is downloaded for that: without a folder, a task's bundled split serves, or no sample at all.
    Raises: DataError, UsageError.
    """
    if task.data.measured is not None:
        task = task.data.measured(lambda text: len(text.split()))  # no model is named: words stand for its tokens
    shown = list(islice(_samples(task, source, split), samples))
    sample = shown[0] if shown else None
    default = task.prompts[task.default_prompt]
    return TaskDescription(
        task=task.name,
        title=task.title,
        doc=task.doc.strip(),
        groups=list(task.groups),
        repos=list(task.repos),
        licence=task.licence,
        default_split=task.default_split,
        splits={**task.splits, **_mini(task)},
        files=list(task.data.files),
        row_layouts={name: list(columns) for name, columns in task.data.row_layouts.items()},
        columns=[] if task.data.table is None else list(task.data.table.columns(source)),
        modality=task.modality,
        access=task.access,
        download_bytes=task.download_bytes,
        download_source=task.download_source,
        samples=[
            SampleDescription(id=entry.id, prompt=rendered(default(entry)), gold=list(entry.answers)) for entry in shown
        ],
        sample=None if sample is None else sample.id,
        default_prompt=task.default_prompt,
        prompt_evidence=task.prompt_evidence,
        prompts={name: None if sample is None else rendered(make(sample)) for name, make in task.prompts.items()},
        answer_forms={name: answer_form(make) for name, make in task.prompts.items()},
        generation={
            name: family.generation(task.max_new_tokens)
            for name, family in FAMILIES.records.items()
            if family is not FAMILIES.other
        },
        default_protocol=task.default_protocol,
        extraction=_extraction(task),
        protocols={
            name: ProtocolDescription(label=entry.label or name, notes=list(entry.notes), evidence=entry.evidence)
            for name, entry in task.protocols.items()
        },
        judge=task.judge_prompt is not None,
        submission=task.submission is not None,
        references=[_figure(score) for score in _references(task)],
    )


def rendered(messages: Sequence[Message]) -> str:
    """Messages as text, pictures as `<image:1>`, videos as `<video:1>`, documents as `<document:1>`."""
    counts: dict[str, int] = {}
    turns = []
    for message in messages:
        parts = []
        for part in message.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            if isinstance(part, SubtitleRef):
                parts.append(f"<subtitles: {part.rule}>")
                continue
            kind = _KINDS[type(part)]
            counts[kind] = counts.get(kind, 0) + 1
            parts.append(f"<{kind}:{counts[kind]}>")
        turns.append(f"[{message.role}] " + "".join(parts))
    return "\n".join(turns)


_KINDS = {ImageRef: "image", VideoRef: "video", PdfRef: "document"}


def _samples(task: Task, source: Source, split: str) -> Iterator[Sample]:
    """The samples of a split, none where they would have to be downloaded."""
    if source.data_dir is None and split != "mini" and task.repos:
        split = "mini" if task.mini else ""
    return open_split(task, source, split) if split else iter(())


def _mini(task: Task) -> dict[str, Split]:
    return {"mini": Split(rows=None, note="bundled")} if task.mini else {}


def _references(task: Task) -> list[ReferenceScore]:
    wanted = task.reference
    if wanted is None:
        return []
    return [
        score
        for score in load()
        if score.benchmark == wanted.benchmark
        and wanted.split in (None, score.split)
        and (wanted.setting is None or score.setting == wanted.setting)
    ]


def _figure(score: ReferenceScore) -> FigureDescription:
    return FigureDescription(
        system=score.system,
        label=score.system_label,
        setting=score.setting,
        value=score.value,
        printed=score.printed,
        unit=score.unit,
        table=TABLES.get(score.table, score.table),
        source=score.source,
        note=score.note,
        is_default=score.is_default,
    )


def _extraction(task: Task) -> ExtractionDescription | None:
    kinds: list[Kind] = [kind for kind in task.wanted if kind != "unanswerable"]
    if not kinds:
        return None
    protocol = READER if READER in task.protocols else task.default_protocol
    shown = EXAMPLES[kinds[0]]
    reasons = {example.extracted: example for kind in reversed(kinds) for example in NO_ANSWER[kind]}
    if "unanswerable" in task.wanted:
        del reasons["refusal"]  # it may say that the question has no answer
    return ExtractionDescription(
        protocol=task.protocols[protocol].label or protocol,
        wanted={kind: KINDS[kind] for kind in task.wanted},
        places=[
            PlaceDescription(
                place=place,
                what=what,
                example=shown[place].answer,
                extracted=shown[place].extracted,
            )
            for place, (what, _) in PLACES.items()
            if place in shown
        ],
        no_answer=[
            ReasonDescription(reason=reason, what=REASON_TEXTS[reason], example=example.answer)
            for reason, example in reasons.items()
        ],
        accuracy={kind: GENERATED[kind] for kind in task.wanted},
        labeled=LABELED if "letter" in kinds else None,
        command=COMMAND,
        thoughts=[family.markers for family in THOUGHTS],
    )
