"""Everything that defines a task's number: data, prompts, generation, protocols, published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kvl_eval.model.families import KIMI_VL
from kvl_eval.references import TABLES, ReferenceScore, load
from kvl_eval.sources import Source
from kvl_eval.tasks import open_split
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, Message, PdfRef, Sample, SubtitleRef, VideoRef


def describe(task: Task, source: Source, split: str) -> dict[str, Any]:
    """What a task is, as JSON values; its prompts are rendered on the first sample of `split`.

    Nothing is downloaded for that: without a folder, a task's bundled split serves, or no sample at all.
    Raises: DataError, UsageError.
    """
    if task.data.measured is not None:
        task = task.data.measured(lambda text: len(text.split()))  # no model is named: words stand for its tokens
    sample = _first_sample(task, source, split)
    return {
        "task": task.name,
        "title": task.title,
        "doc": task.doc.strip(),
        "groups": list(task.groups),
        "repos": list(task.repos),
        "licence": task.licence,
        "default_split": task.default_split,
        "splits": {name: asdict(one) for name, one in task.splits.items()} | _mini(task),
        "files": list(task.data.files),
        "row_layouts": {name: list(columns) for name, columns in task.data.row_layouts.items()},
        "sample": None if sample is None else sample.id,
        "default_prompt": task.default_prompt,
        "prompt_evidence": task.prompt_evidence,
        "prompts": {name: None if sample is None else rendered(make(sample)) for name, make in task.prompts.items()},
        "generation": {
            name: asdict(family.generation(task.max_new_tokens))
            for name, family in KIMI_VL.records.items()
            if family is not KIMI_VL.other
        },
        "default_protocol": task.default_protocol,
        "protocols": {
            name: {"label": one.label or name, "notes": list(one.notes), "evidence": one.evidence}
            for name, one in task.protocols.items()
        },
        "judge": task.judge_prompt is not None,
        "submission": task.submission is not None,
        "references": [_reference(score) for score in _references(task)],
    }


def rendered(messages: Sequence[Message]) -> str:
    """Messages as text, pictures as `<image:1>`, videos as `<video:1>`, documents as `<document:1>`."""
    counts: dict[str, int] = {}
    shown = []
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
        shown.append(f"[{message.role}] " + "".join(parts))
    return "\n".join(shown)


_KINDS = {ImageRef: "image", VideoRef: "video", PdfRef: "document"}


def as_text(found: Mapping[str, Any]) -> str:
    """The description for a terminal."""
    blocks = [
        f"{found['title']} ({found['task']})\n\n{found['doc']}",
        _block("Source", _source_lines(found)),
        _block("Files that --data-dir may hold", found["files"]),
        _block("Columns of a row", [f"{name}: {', '.join(cols)}" for name, cols in found["row_layouts"].items()]),
        _block(f"Prompts (default {found['default_prompt']}: {found['prompt_evidence']})", _prompt_lines(found)),
        _block("Generation", [f"{family}: {_settings(one)}" for family, one in found["generation"].items()]),
        _block(f"Protocols (default {found['default_protocol']})", _protocol_lines(found)),
        _block("Published figures", _reference_lines(found)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _first_sample(task: Task, source: Source, split: str) -> Sample | None:
    if source.data_dir is None and split != "mini":
        split = "mini" if task.mini else ""
    return next(iter(open_split(task, source, split)), None) if split else None


def _mini(task: Task) -> dict[str, Any]:
    return {"mini": {"rows": None, "has_gold": True, "note": "bundled"}} if task.mini else {}


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


def _reference(score: ReferenceScore) -> dict[str, Any]:
    return {
        "system": score.system,
        "label": score.system_label,
        "setting": score.setting,
        "value": score.value,
        "printed": score.printed,
        "unit": score.unit,
        "table": TABLES.get(score.table, score.table),
        "source": score.source,
        "note": score.note,
        "is_default": score.is_default,
    }


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _source_lines(found: Mapping[str, Any]) -> list[str]:
    splits = []
    for name, one in found["splits"].items():
        rows = f"{one['rows']} rows" if one["rows"] else ""
        facts = [rows, "" if one["has_gold"] else "no published answers", one["note"]]
        splits.append(f"split {name}: {', '.join(fact for fact in facts if fact)}")
    repos = [f"hub data set {repo}" for repo in found["repos"]]
    return [*repos, *splits, f"default split {found['default_split']}", f"licence {found['licence']}"]


def _prompt_lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, text in found["prompts"].items():
        lines.append(f"{name}:" if text is not None else name)
        lines += [f"  | {line}" for line in (text or "").splitlines()]
    return lines


def _settings(generation: Mapping[str, Any]) -> str:
    temperature = generation["temperature"]
    return f"{generation['max_new_tokens']} new tokens, " + (f"temperature {temperature}" if temperature else "greedy")


def _protocol_lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, one in found["protocols"].items():
        label = "" if one["label"] == name else f" (shown as {one['label']})"
        evidence = f"; evidence: {one['evidence']}" if one["evidence"] else ""
        lines.append(f"{name}{label}{evidence}")
        lines += [f"  - {note}" for note in one["notes"]]
    return lines


def _reference_lines(found: Mapping[str, Any]) -> list[str]:
    return [
        f"{one['label']}{' at ' + one['setting'] if one['setting'] else ''}: {one['printed']}"
        f"{'%' if one['unit'] == 'percent' else ' ' + one['unit']} ({one['table']})"
        for one in found["references"]
        if one["is_default"]
    ]
