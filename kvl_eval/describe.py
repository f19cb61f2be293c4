"""Everything that defines a task's number: data, prompts, generation, protocols, published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.model.kimi_vl.families import FAMILIES
from kvl_eval.printable import one_line
from kvl_eval.references import TABLES, ReferenceScore, load
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import READER, Split, Task, answer_form
from kvl_eval.types import Generation, ImageRef, Message, PdfRef, Sample, SubtitleRef, VideoRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolDescription:
    """A protocol: what views call it, its departures from the authors' code, what speaks for its being the report's."""

    label: str
    notes: list[str]
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureDescription:
    """A published figure: `value` is a fraction, `table` and `source` say where it stands."""

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


EXAMPLES = {
    "marked": "We count twice. Answer: B",
    "alone": "B. red\n\nThe lamp is lit.",
    "stated": "Blue is out. So it must be option B",
    "contained": "A lamp that looks red",
}
"""One reply for each rank of places, the surest first, that is read as option B, `red`."""
READING = (
    *(f"{rank}: {reply!r} is B" for rank, reply in EXAMPLES.items()),
    "the best rank that has a value decides; the thought is off before",
    "no answer: refusals, hedges, two different answers, ranges, letters beyond the options",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescription:
    """What a task is. `asdict` gives what `describe --json` prints.

    Attributes:
        sample:     id of the sample that the prompts are rendered on; None where there is none.
        prompts:    {name: text}; None without a sample.
        answer_forms: {prompt: form of an answer that it asks for}; `free` where it asks for none.
        generation: {model family: settings}.
        is_read:    whether the reader decides what a reply says, under `reader` or in a language model's place.
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
    sample: str | None
    default_prompt: str
    prompt_evidence: str
    prompts: Mapping[str, str | None]
    answer_forms: Mapping[str, str]
    generation: Mapping[str, Generation]
    default_protocol: str
    is_read: bool
    protocols: Mapping[str, ProtocolDescription]
    judge: bool
    submission: bool
    references: list[FigureDescription]


def describe(task: Task, source: Source, split: str) -> TaskDescription:
    """What a task is; its prompts are rendered on the first sample of `split`.

    Nothing is downloaded for that: without a folder, a task's bundled split serves, or no sample at all.
    Raises: DataError, UsageError.
    """
    if task.data.measured is not None:
        task = task.data.measured(lambda text: len(text.split()))  # no model is named: words stand for its tokens
    sample = _first_sample(task, source, split)
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
        is_read=READER in task.protocols or task.protocols[task.default_protocol].label == "official-rule",
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


def as_text(task: TaskDescription) -> str:
    """The description for a terminal."""
    blocks = [
        f"{one_line(task.title)} ({one_line(task.task)})\n\n{task.doc}",
        _block("Source", _source_lines(task)),
        _block("Files that --data-dir may hold", task.files),
        _block("Columns of a row", [f"{name}: {', '.join(names)}" for name, names in task.row_layouts.items()]),
        _block(f"Prompts (default {task.default_prompt}: {task.prompt_evidence})", _prompt_lines(task)),
        _block("Generation", [f"{family}: {_settings(settings)}" for family, settings in task.generation.items()]),
        _block(f"Protocols (default {task.default_protocol})", _protocol_lines(task)),
        _block("How a reply is read", READING if task.is_read else ()),
        _block("Published figures", _reference_lines(task)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _first_sample(task: Task, source: Source, split: str) -> Sample | None:
    if source.data_dir is None and split != "mini":
        split = "mini" if task.mini else ""
    return next(iter(open_split(task, source, split)), None) if split else None


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


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _source_lines(task: TaskDescription) -> list[str]:
    splits = []
    for name, split in task.splits.items():
        rows = f"{split.rows} rows" if split.rows else ""
        facts = [rows, "" if split.has_gold else "no published answers", split.note]
        splits.append(f"split {name}: {', '.join(fact for fact in facts if fact)}")
    repos = [f"hub data set {repo}" for repo in task.repos]
    return [*repos, *splits, f"default split {task.default_split}", f"licence {task.licence}"]


def _prompt_lines(task: TaskDescription) -> list[str]:
    lines = []
    for name, text in task.prompts.items():
        asked = f"{name} (asks for: {task.answer_forms[name]})"
        lines.append(f"{asked}:" if text is not None else asked)
        lines += [f"  | {line}" for line in (text or "").splitlines()]
    return lines


def _settings(generation: Generation) -> str:
    sampling = f"temperature {generation.temperature}" if generation.temperature else "greedy"
    return f"{generation.max_new_tokens} new tokens, {sampling}"


def _protocol_lines(task: TaskDescription) -> list[str]:
    lines = []
    for name, protocol in task.protocols.items():
        label = "" if protocol.label == name else f" (shown as {protocol.label})"
        evidence = f"; evidence: {protocol.evidence}" if protocol.evidence else ""
        lines.append(f"{name}{label}{evidence}")
        lines += [f"  - {note}" for note in protocol.notes]
    return lines


def _reference_lines(task: TaskDescription) -> list[str]:
    return [
        f"{figure.label}{' at ' + figure.setting if figure.setting else ''}: {figure.printed}"
        f"{'%' if figure.unit == 'percent' else ' ' + figure.unit} ({figure.table})"
        for figure in task.references
        if figure.is_default
    ]
