"""The description of a task for a terminal, whole or one section of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from kvl_eval.describe import SampleDescription, TaskDescription
from kvl_eval.printable import one_line, size_text
from kvl_eval.scorers.answers.accuracy import Accuracy
from kvl_eval.scorers.answers.guide import FORMS, KINDS, OPTIONS, REASON_TEXTS, UNANSWERABLE
from kvl_eval.types import Generation

Section = Literal["data", "prompts", "generation", "protocols", "results"]
SECTIONS: tuple[Section, ...] = get_args(Section)


def as_text(task: TaskDescription, section: Section | None = None) -> str:
    """The description, or one section of it."""
    title = f"{one_line(task.title)} ({one_line(task.task)})"
    about = title if task.columns or not task.doc else f"{title}\n\n{task.doc}"
    wanted = SECTIONS if section is None else (section,)
    blocks = [block for name in wanted for block in _BLOCKS[name](task)]
    return "\n\n".join([*([about] if section is None else []), *filter(None, blocks)])


def _data(task: TaskDescription) -> list[str]:
    if task.columns:  # an own table
        return [_block("Table", task.columns)]
    layouts = [f"{name}: {', '.join(names)}" for name, names in task.row_layouts.items()]
    return [
        _block("Source", _source_lines(task)),
        _block("Files that --data-dir may contain", task.files),
        _block("Columns of a row", layouts),
    ]


def _prompts(task: TaskDescription) -> list[str]:
    evidence = f": {task.prompt_evidence}" if task.prompt_evidence else ""
    prompts = _block(f"Prompts (default {task.default_prompt}{evidence})", _prompt_lines(task))
    if len(task.samples) > 1 or task.columns:
        samples = [line for sample in task.samples for line in _sample_lines(sample)]
        return [_block("Samples", samples), *([] if task.columns and len(task.prompts) == 1 else [prompts])]
    return [prompts]


def _generation(task: TaskDescription) -> list[str]:
    return [_block("Generation", [f"{family}: {_settings(settings)}" for family, settings in task.generation.items()])]


def _protocols(task: TaskDescription) -> list[str]:
    return [
        _block(f"Protocols (default {task.default_protocol})", _protocol_lines(task)),
        _block("How an answer is extracted", _extraction_lines(task)),
    ]


def _results(task: TaskDescription) -> list[str]:
    return [_block("Published results", _reference_lines(task))]


_BLOCKS: Mapping[Section, Callable[[TaskDescription], list[str]]] = {
    "data": _data,
    "prompts": _prompts,
    "generation": _generation,
    "protocols": _protocols,
    "results": _results,
}


def _sample_lines(sample: SampleDescription) -> list[str]:
    """A sample as it is asked, and its gold answers."""
    gold = " | ".join(map(one_line, sample.gold)) or "none"
    return [f"{one_line(sample.id)}:", *(f"  | {line}" for line in sample.prompt.splitlines()), f"  gold: {gold}"]


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _source_lines(task: TaskDescription) -> list[str]:
    splits = []
    for name, split in task.splits.items():
        rows = f"{split.rows:,} rows" if split.rows else ""
        facts = [fact for fact in (rows, "" if split.has_gold else "no published answers", split.note) if fact]
        splits.append(f"split {name}{': ' if facts else ''}{', '.join(facts)}")
    repos = [f"hub data set {repo}" for repo in task.repos]
    licence = [f"license {task.licence}"] if task.licence else []
    facts = [f"modality {task.modality}", f"access {task.access}" if task.repos else "no download"]
    size = [f"download {size_text(task.download_bytes)} ({task.download_source})"] if task.download_bytes else []
    return [*repos, *splits, f"default split {task.default_split}", *facts, *size, *licence]


def _prompt_lines(task: TaskDescription) -> list[str]:
    lines = []
    for name, text in task.prompts.items():
        asked = f"{name} (asks for: {task.answer_forms[name]})"
        lines.append(f"{asked}:" if text is not None else asked)
        lines += [f"  | {line}" for line in (text or "").splitlines()]
    return lines


def _extraction_lines(task: TaskDescription) -> list[str]:
    about = task.extraction
    if about is None:
        return []
    form = task.answer_forms[task.default_prompt]
    lines = [
        f"protocol: {about.protocol}",
        f"default prompt {task.default_prompt} asks for: {FORMS[form]}",
        f"wanted: {'; '.join(about.wanted.values())}",
        "looked for in this order; the first place that has a value decides:",
    ]
    options = ", ".join(f"{letter} {text}" for letter, text in zip("ABCD", OPTIONS, strict=True))
    for number, place in enumerate(about.places, 1):
        lines.append(f'  {number}. {place.what}: "{place.example}" gives {place.extracted}')
    if "letter" in about.wanted:
        lines.append(f"  (options of these examples: {options})")
    if "unanswerable" in about.wanted:
        lines.append(f'also an answer: {KINDS["unanswerable"]}: "{UNANSWERABLE.answer}"')
    lines.append("no answer, which counts as wrong and is counted apart:")
    lines += [f'  {reason.what}: "{reason.example}"' for reason in about.no_answer if reason.example]
    lines.append(f"  {REASON_TEXTS['empty']}; {REASON_TEXTS['thought_unclosed']}")
    lines.append(f"accuracy, measured by `{about.command}`; the rules were tested with the generated replies:")
    for kind, counts in about.accuracy.items():
        lines.append(f"  {KINDS[kind]}: {_accuracy(counts)} of generated replies")
    if about.labeled is not None:
        lines.append(f"  {KINDS['letter']}: {_accuracy(about.labeled)} of replies that people labeled")
    lines.append("thoughts left out first, by their markers:")
    markers = ", ".join(f"{opening}...{closing}" for opening, closing in about.thoughts)
    return lines + [f"  {line}" for line in textwrap.wrap(markers, 100, break_long_words=False)]


def _accuracy(counts: Accuracy) -> str:
    return f"{counts.percent:.1f}% ({counts.agree:,} of {counts.replies:,})"


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
