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
from itertools import groupby
from pathlib import Path
from typing import Any

from kvl_eval import __version__
from kvl_eval.exports.answers import Answer, Part, clean, parts
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import RunFolder

METRIC = "score"
Fields = dict[str, Any]


def write_lm_eval(folder: RunFolder, out: Path, protocol: str | None = None) -> list[Path]:
    """Write results and samples below `out` and return their paths, the results first.

    Raises: UsageError, DataError, StorageError.
    """
    chosen = parts(folder, protocol)
    model = _model(folder)
    home = out / re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)
    date = re.sub(r"[^0-9T.+-]", "-", str(folder.legacy_manifest.get("created") or "unknown"))
    written, hashes = [], {}
    for part in chosen:
        path = home / f"samples_{part.name}_{date}.jsonl"
        digest = hashlib.sha256()
        Disk().replace(path, _lines(part, digest))
        hashes[part.name] = digest.hexdigest()
        written.append(path)
    results = home / f"results_{date}.json"
    text = json.dumps(clean(_results(folder, chosen, hashes)), indent=2, ensure_ascii=False)
    Disk().replace(results, [text.encode()])
    return [results, *written]


def _model(folder: RunFolder) -> str:
    return str(clean((folder.legacy_manifest.get("model") or {}).get("name") or "unknown"))


# -- samples ----------------------------------------------------------------------------------------------------


def _lines(part: Part, digest: Any) -> Iterator[bytes]:
    """Lines of the samples that have an answer; `digest` takes in their hashes."""
    generation = _generation(part)
    groups = groupby(part.answers(), key=lambda answer: answer.key.sample_id)
    for number, (_, group) in enumerate(groups):
        answered = [answer for answer in group if answer.status == "ok"]
        if answered:
            line = clean(_sample(number, answered, part.scorer, generation))
            digest.update("".join(line[name] for name in ("doc_hash", "prompt_hash", "target_hash")).encode())
            yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _sample(number: int, answers: Sequence[Answer], scorer: str, generation: Fields) -> Fields:
    entry, record = answers[0].entry, answers[0].record or {}
    doc = {name: entry[name] for name in ("sample_id", "question", "choices", "gold", "categories", "cluster")}
    target = entry["gold"][0] if len(entry["gold"]) == 1 else str(list(entry["gold"]))
    values = [_value(answer) for answer in answers]
    scored = [value for value in values if value is not None]
    return {
        "doc_id": number,
        "doc": doc,
        "target": str(target),
        "arguments": {"gen_args_0": {"arg_0": record["prompt_text"], "arg_1": generation}},
        "resps": [[(answer.record or {})["raw_output"] for answer in answers]],
        "filtered_resps": [_text((answer.score or {}).get("extracted")) for answer in answers],
        "filter": scorer,
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(clean(doc), indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(str(record["prompt_text"])),
        "target_hash": _hash(str(target)),
        METRIC: sum(scored) / len(scored) if scored else None,
        "verdicts": [(answer.score or {}).get("verdict") for answer in answers],
    }


def _value(answer: Answer) -> float | None:
    return None if answer.score is None else answer.score["score"]


def _text(value: Any) -> str:
    """What was extracted as text; an empty one where nothing was."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(str(clean(text)).encode()).hexdigest()


def _generation(part: Part) -> Fields:
    """The generation settings under the names the harness has for them."""
    stored = (part.folder.legacy_manifest.get("generation") or {}).get(part.task) or {}
    temperature = stored.get("temperature", 0.0)
    limit = stored.get("max_new_tokens")
    if limit is None and part.row["budget"] is not None:
        limit = part.row["budget"] + stored.get("answer_tokens", 0)
    return {"until": [], "max_gen_toks": limit, "temperature": temperature, "do_sample": temperature > 0}


# -- results ----------------------------------------------------------------------------------------------------


def _results(folder: RunFolder, chosen: Sequence[Part], hashes: Mapping[str, str]) -> Fields:
    manifest = folder.legacy_manifest
    config = manifest.get("config") or {}
    selection = manifest.get("selection") or {}
    code = manifest.get("code") or {}
    return {
        "results": {part.name: _result(part) for part in chosen},
        "group_subtasks": {part.name: [] for part in chosen},
        "configs": {part.name: _task_config(part) for part in chosen},
        "versions": {part.name: code.get("version", __version__) for part in chosen},
        "n-shot": {part.name: 0 for part in chosen},
        "higher_is_better": {part.name: {METRIC: True} for part in chosen},
        "n-samples": {part.name: _counts(part) for part in chosen},
        "config": {
            "model": "kvl-eval",
            "model_args": {"pretrained": _model(folder), **(manifest.get("model") or {})},
            "batch_size": (config.get("settings") or {}).get("batch_size"),
            "device": (manifest.get("model") or {}).get("device"),
            "limit": selection.get("limit"),
            "random_seed": config.get("seed"),
            "gen_kwargs": {part.name: _generation(part) for part in chosen},
        },
        "git_hash": code.get("commit"),
        "date": manifest.get("created"),
        "task_hashes": dict(hashes),
        "model_source": "kvl-eval",
        "model_name": _model(folder),
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", _model(folder)),
        "system_instruction": config.get("system_prompt"),
        "chat_template": None,
        "kvl_eval": {
            "run_id": folder.run_id,
            "config_fingerprint": manifest.get("config_fingerprint"),
            "demo": bool(manifest.get("demo")),
            "rows": [part.row for part in chosen],
        },
    }


def _result(part: Part) -> Fields:
    row = part.row
    stderr = row.get("stderr_clustered")
    stderr = row.get("stderr") if stderr is None else stderr
    return {
        "name": part.name,
        "alias": part.name,
        "sample_len": row["n_scored"],
        f"{METRIC},{part.scorer}": "N/A" if row["score"] is None else row["score"],
        f"{METRIC}_stderr,{part.scorer}": "N/A" if stderr is None else stderr,
    }


def _counts(part: Part) -> Fields:
    return {"original": part.row["n_planned"], "effective": part.row["n_scored"]}


def _task_config(part: Part) -> Fields:
    data = (part.folder.legacy_manifest.get("data") or {}).get(part.task) or {}
    return {
        "task": part.name,
        "dataset_path": data.get("source"),
        "test_split": part.row["split"],
        "output_type": "generate_until",
        "num_fewshot": 0,
        "repeats": (part.row.get("repeats") or {}).get("n", 1),
        "generation_kwargs": _generation(part),
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": __version__, "protocol": part.row["protocol"]},
    }
