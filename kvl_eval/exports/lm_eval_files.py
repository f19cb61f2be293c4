"""A run as lm-evaluation-harness stores it: `results_<date>.json` and `samples_<task>_<date>.jsonl` in one folder.

Each budget of a task is a task of its own there. One line holds all repeats of a sample. The filter is named after the
protocol, whose extraction `filtered_resps` holds; the metric is called `score`, a fraction. Failed and pending samples
have no line; `n-samples` tells how many there should be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from kvl_eval import __version__
from kvl_eval.decode import Json, encode_object
from kvl_eval.exports.answers import ExportedAnswer, JsonObject, TaskAnswers, clean, parts
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import Record
from kvl_eval.store.run_folder import RunFolder

METRIC = "score"


def write_lm_eval(folder: RunFolder, out: OutputFolder, protocol: str | None = None) -> list[Path]:
    """Write results and samples below `out` and return their paths, the results first.

    Raises: UsageError, DataError, StorageError.
    """
    chosen = parts(folder, protocol)
    model = _model(folder)
    home = file_name(re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model))
    date = file_name(re.sub(r"[^0-9T.+-]", "-", str(folder.manifest.created or "unknown")))
    written, hashes = [], {}
    for part in chosen:
        digest = hashlib.sha256()
        written.append(out.write(_lines(part, digest), home, f"samples_{file_name(part.name)}_{date}.jsonl"))
        hashes[part.name] = digest.hexdigest()
    text = json.dumps(clean(_results(folder, chosen, hashes)), indent=2, ensure_ascii=False)
    return [out.write([text.encode()], home, f"results_{date}.json"), *written]


def _model(folder: RunFolder) -> str:
    return str(clean(folder.manifest.model.name or "unknown"))


# -- samples ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HashedLine:
    """One line of a sample file, and what goes into the hash of its task."""

    fields: JsonObject
    hashes: str


def _lines(part: TaskAnswers, digest: hashlib._Hash) -> Iterator[bytes]:
    """Lines of the samples that have an answer; `digest` takes in their hashes."""
    generation = _generation(part)
    groups = groupby(part.answers(), key=lambda answer: answer.key.sample_id)
    for number, (_, group) in enumerate(groups):
        answered = [(answer, answer.record) for answer in group if answer.record is not None and answer.status == "ok"]
        if answered:
            line = _sample(number, answered, part.scorer, generation)
            digest.update(line.hashes.encode())
            yield json.dumps(clean(line.fields), ensure_ascii=False).encode() + b"\n"


def _sample(
    number: int, answered: Sequence[tuple[ExportedAnswer, Record]], scorer: str, generation: JsonObject
) -> HashedLine:
    entry, record = answered[0][0].entry, answered[0][1]
    sample, scores = entry.sample, [answer.score for answer, _ in answered]
    doc = {
        "sample_id": entry.sample_id,
        "question": sample.question,
        "choices": sample.choices,
        "gold": sample.gold,
        "categories": sample.categories,
        "cluster": sample.cluster,
    }
    target = sample.gold[0] if len(sample.gold) == 1 else str(list(sample.gold))
    points = [score.score for score in scores if score is not None and score.score is not None]
    hashes = {
        "doc_hash": _hash(json.dumps(clean(doc), indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(record.prompt_text),
        "target_hash": _hash(target),
    }
    fields: JsonObject = {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": record.prompt_text, "arg_1": generation}},
        "resps": [[one.raw_output for _, one in answered]],
        "filtered_resps": [_text(None if score is None else score.extracted) for score in scores],
        "filter": scorer,
        "metrics": [METRIC],
        **hashes,
        METRIC: sum(points) / len(points) if points else None,
        "verdicts": [None if score is None else score.verdict for score in scores],
    }
    return HashedLine(fields, "".join(hashes.values()))


def _text(value: Json) -> str:
    """What was extracted as text; an empty one where nothing was."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(clean(value), ensure_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(str(clean(text)).encode()).hexdigest()


def _generation(part: TaskAnswers) -> JsonObject:
    """The generation settings under the names the harness has for them."""
    stored = part.folder.manifest.generation.get(part.task)
    temperature = 0.0 if stored is None else stored.temperature
    limit = None if stored is None else stored.max_new_tokens
    if limit is None and part.row.budget is not None:
        limit = part.row.budget + (0 if stored is None else stored.answer_tokens)
    return {"until": [], "max_gen_toks": limit, "temperature": temperature, "do_sample": temperature > 0}


# -- results ----------------------------------------------------------------------------------------------------


def _results(folder: RunFolder, chosen: Sequence[TaskAnswers], hashes: Mapping[str, str]) -> JsonObject:
    manifest = folder.manifest
    config = manifest.config
    settings = config.get("settings")
    return {
        "results": {part.name: _result(part) for part in chosen},
        "group_subtasks": {part.name: [] for part in chosen},
        "configs": {part.name: _task_config(part) for part in chosen},
        "versions": {part.name: manifest.code.version or __version__ for part in chosen},
        "n-shot": {part.name: 0 for part in chosen},
        "higher_is_better": {part.name: {METRIC: True} for part in chosen},
        "n-samples": {part.name: _counts(part) for part in chosen},
        "config": {
            "model": "kvl-eval",
            "model_args": {"pretrained": _model(folder), **encode_object(manifest.model)},
            "batch_size": settings.get("batch_size") if isinstance(settings, dict) else None,
            "device": manifest.model.device,
            "limit": manifest.selection.limit,
            "random_seed": config.get("seed"),
            "gen_kwargs": {part.name: _generation(part) for part in chosen},
        },
        "git_hash": manifest.code.commit,
        "date": manifest.created,
        "task_hashes": dict(hashes),
        "model_source": "kvl-eval",
        "model_name": _model(folder),
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", _model(folder)),
        "system_instruction": config.get("system_prompt"),
        "chat_template": None,
        "kvl_eval": {
            "run_id": folder.run_id,
            "config_fingerprint": manifest.config_fingerprint,
            "demo": manifest.demo,
            "rows": [encode_object(part.row) for part in chosen],
        },
    }


def _result(part: TaskAnswers) -> JsonObject:
    row = part.row
    stderr = row.stderr if row.stderr_clustered is None else row.stderr_clustered
    return {
        "name": part.name,
        "alias": part.name,
        "sample_len": row.n_scored,
        f"{METRIC},{part.scorer}": "N/A" if row.score is None else row.score,
        f"{METRIC}_stderr,{part.scorer}": "N/A" if stderr is None else stderr,
    }


def _counts(part: TaskAnswers) -> JsonObject:
    return {"original": part.row.n_planned, "effective": part.row.n_scored}


def _task_config(part: TaskAnswers) -> JsonObject:
    data = part.folder.manifest.data.get(part.task)
    return {
        "task": part.name,
        "dataset_path": None if data is None else data.source,
        "test_split": part.row.split,
        "output_type": "generate_until",
        "num_fewshot": 0,
        "repeats": 1 if part.row.repeats is None else part.row.repeats.n,
        "generation_kwargs": _generation(part),
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": __version__, "protocol": part.row.protocol},
    }
