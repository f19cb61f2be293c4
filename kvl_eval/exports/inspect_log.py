"""A run as logs of inspect_ai (`.eval`, version 2), one for each task and budget.

`inspect view --log-dir DIR` shows them, `inspect_ai.log.read_eval_log` reads them.

A `.eval` file is a zip archive: `header.json` holds what was run and its results, `samples/` one file for each answer
(a repeat is an epoch), `summaries.json` what lists show of them. Every protocol and judge that the run was scored under
is a scorer. The exact prompt is the user's message, the thought a reasoning part of the reply. Pictures are not inside:
each sample's metadata has their hashes and sizes. Failed samples carry an error; pending ones have no file.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from kvl_eval import __version__
from kvl_eval.exports.answers import Answer, Part, clean, parts, scorer_of
from kvl_eval.store.journal import Disk
from kvl_eval.store.records import Key
from kvl_eval.store.run_folder import RunFolder, legacy_key_of

LOG_VERSION = 2
PIECE = 1 << 20  # bytes copied at once
STOPS = {"stop": "stop", "length": "max_tokens", "budget": "max_tokens", "error": "unknown"}

Fields = dict[str, Any]
Scores = Mapping[str, Mapping[Key, Mapping[str, Any]]]  # {protocol: {key: line of scores/}}


def write_inspect(folder: RunFolder, out: Path, protocol: str | None = None) -> list[Path]:
    """Write the logs into `out` and return their paths; `protocol` names the scorer that comes first.

    Raises: UsageError, DataError, StorageError.
    """
    written = []
    for part in parts(folder, protocol):
        path = out / f"{_stamp(folder)}_{re.sub('[^A-Za-z0-9-]+', '-', part.name)}_{_id(folder, part.name)}.eval"
        with TemporaryFile() as file:
            _write_log(file, part)
            file.seek(0)
            Disk().replace(path, iter(lambda file=file: file.read(PIECE), b""))  # type: ignore[misc]
        written.append(path)
    return written


def _write_log(file: IO[bytes], part: Part) -> None:
    scorers = _scorers(part)
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED))
        spec, plan = _spec(part, scorers), {"name": "plan", "steps": [{"solver": "generate"}]}
        _put(archive, "_journal/start.json", {"version": LOG_VERSION, "eval": spec, "plan": plan})
        summaries, usage = [], Counter[str]()
        for sample in _samples(part, scorers):
            _put(archive, f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
            summaries.append(_summary(sample))
            usage.update(_usage_of(sample))
        _put(archive, "summaries.json", summaries)
        header = {
            "version": LOG_VERSION,
            "status": "cancelled" if part.row["n_pending"] else "success",
            "eval": spec,
            "plan": plan,
            "results": _results(part, scorers),
            "stats": {
                "started_at": _utc(part.folder.legacy_manifest.get("created")),
                "completed_at": _utc(part.folder.legacy_manifest.get("finished")),
                "model_usage": {_model(part): dict(usage)} if usage else {},
            },
        }
        _put(archive, "header.json", header)


def _put(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    archive.writestr(clean(name), json.dumps(clean(value), ensure_ascii=False))


# -- what was run -----------------------------------------------------------------------------------------------


def _id(folder: RunFolder, *names: str) -> str:
    """An id of 22 letters and digits that is the same in every export of the run."""
    return hashlib.sha256("\0".join([folder.run_id, *names]).encode("utf-8", "surrogatepass")).hexdigest()[:22]


def _stamp(folder: RunFolder) -> str:
    return _utc(folder.legacy_manifest.get("created")).replace(":", "-") or "1970-01-01T00-00-00+00-00"


def _utc(text: Any) -> str:
    """An ISO time in UTC; an empty text where it is not known."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="seconds")
    except ValueError:
        return ""


def _model(part: Part) -> str:
    return str((part.folder.legacy_manifest.get("model") or {}).get("name") or "unknown")


def _scorers(part: Part) -> Fields:
    """{scorer: its result}, that of the part first."""
    same = ("task", "split", "budget", "policy", "thinking")
    rows = [row for row in part.folder.legacy_results()["rows"] if all(row[name] == part.row[name] for name in same)]
    return {part.scorer: part.row} | {scorer_of(row): row for row in rows}


def _spec(part: Part, scorers: Fields) -> Fields:
    folder, row = part.folder, part.row
    manifest = folder.legacy_manifest
    data = (manifest.get("data") or {}).get(part.task) or {}
    code = manifest.get("code") or {}
    generation = (manifest.get("generation") or {}).get(part.task) or {}
    config = manifest.get("config") or {}
    limits = {"max_tokens": generation.get("max_new_tokens"), "reasoning_tokens": row["budget"]}
    sampling = {name: generation.get(name) for name in ("temperature", "top_p")}
    kept = ("config_fingerprint", "command", "selection", "data", "prompt", "code", "environment", "merged")
    return {
        "eval_id": _id(folder, part.name, "eval"),
        "run_id": _id(folder),
        "created": _utc(manifest.get("created")) or "1970-01-01T00:00:00+00:00",
        "task": part.name,
        "task_id": _id(folder, part.name),
        "task_version": str(code.get("version", __version__)),
        "task_display_name": row.get("title") or part.task,
        "task_args": {name: row[name] for name in ("split", "budget", "policy", "protocol")},
        "dataset": {"name": data.get("source"), "samples": data.get("n"), "shuffled": False},
        "model": _model(part),
        "model_generate_config": {**limits, **sampling, "seed": config.get("seed")},
        "config": {"epochs": config.get("repeats", 1), "limit": _limit(manifest)},
        "revision": {"type": "git", "origin": "", "commit": code["commit"], "dirty": bool(code.get("dirty"))}
        if code.get("commit")
        else None,
        "packages": {"kvl_eval": str(code.get("version", __version__))},
        "metadata": {"kvl_eval_run": folder.run_id, "demo": bool(manifest.get("demo"))}
        | {name: manifest[name] for name in kept if name in manifest},
        "scorers": [{"name": name, "metrics": [{"name": "mean"}, {"name": "stderr"}]} for name in scorers],
    }


def _limit(manifest: Mapping[str, Any]) -> int | None:
    limit = (manifest.get("selection") or {}).get("limit")
    return limit if isinstance(limit, int) else None


def _results(part: Part, scorers: Fields) -> Fields:
    return {
        "total_samples": part.row["n_planned"],
        "completed_samples": part.row["n_ok"],
        "scores": [_eval_score(name, row) for name, row in scorers.items()],
    }


def _eval_score(name: str, row: Mapping[str, Any]) -> Fields:
    stderr = row.get("stderr") if row.get("stderr_clustered") is None else row["stderr_clustered"]
    metrics = {"mean": row["score"], "stderr": stderr}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": row["n_scored"],
        "unscored_samples": row["n_ok"] - row["n_scored"],
        "metrics": {metric: {"name": metric, "value": value} for metric, value in metrics.items() if value is not None},
        "metadata": {key: row.get(key) for key in ("ci95", "ci_method", "verdicts", "official", "categories", "unit")},
    }


# -- samples ----------------------------------------------------------------------------------------------------


def _samples(part: Part, scorers: Fields) -> Iterator[Fields]:
    """One for each answer and failure, in plan order."""
    lines: Scores = {
        name: {legacy_key_of(line): line for line in part.folder.legacy_scores(part.task, name)}
        for name in scorers
        if name != part.scorer
    }
    for answer in part.answers():
        if answer.record is not None:
            others = {name: found[answer.key] for name, found in lines.items() if answer.key in found}
            mine = {part.scorer: answer.score} if answer.score else {}
            yield _sample(part, answer, {**mine, **others})


def _sample(part: Part, answer: Answer, scores: Mapping[str, Mapping[str, Any]]) -> Fields:
    entry, record = answer.entry, answer.record or {}
    key = answer.key
    identity = _id(part.folder, part.name, key.sample_id, str(key.repeat))
    gold = [str(value) for value in entry["gold"]]
    seconds = record["time"].get("total")
    usage = {_model(part): _usage(record["tokens"])}
    failed = answer.status == "failed"
    return {
        "id": key.sample_id,
        "epoch": key.repeat + 1,
        "uuid": identity,
        "input": entry["question"],
        "choices": list(entry["choices"]) or None,
        "target": gold[0] if len(gold) == 1 else gold,
        "messages": [
            {"id": f"{identity}-q", "role": "user", "source": "input", "content": record["prompt_text"]},
            *([] if failed else [_reply(part, record, identity)]),
        ],
        "output": {} if failed else _output(part, record, identity, seconds),
        "scores": {name: one for name, line in scores.items() if (one := _score(line)) is not None},
        "metadata": _metadata(entry, record),
        "model_usage": {} if failed else usage,
        "completed_at": _utc(record["ended_at"]) or None,
        "total_time": seconds,
        "error": _error(record) if failed else None,
    }


def _reply(part: Part, record: Mapping[str, Any], identity: str) -> Fields:
    thought = [{"type": "reasoning", "reasoning": record["thinking"]}] if record["thinking"] else []
    text = {"type": "text", "text": record["answer"]}
    content = [*thought, text] if thought else record["answer"]
    return {
        "id": f"{identity}-a",
        "role": "assistant",
        "source": "generate",
        "model": _model(part),
        "content": content,
    }


def _output(part: Part, record: Mapping[str, Any], identity: str, seconds: float | None) -> Fields:
    stop = STOPS.get(record["finish_reason"], "unknown")
    return {
        "model": _model(part),
        "choices": [{"message": _reply(part, record, identity), "stop_reason": stop}],
        "completion": record["answer"],
        "usage": _usage(record["tokens"]),
        "time": seconds,
    }


def _usage(tokens: Mapping[str, int]) -> dict[str, int]:
    made = tokens["thinking"] + tokens["answer"]
    return {
        "input_tokens": tokens["prompt"],
        "output_tokens": made,
        "total_tokens": tokens["prompt"] + made,
        "reasoning_tokens": tokens["thinking"],
    }


def _usage_of(sample: Fields) -> dict[str, int]:
    return next(iter(sample["model_usage"].values()), {})


def _score(line: Mapping[str, Any]) -> Fields | None:
    """A score of inspect_ai; None for an answer that was not scored."""
    if line["score"] is None:
        return None
    extracted = line["extracted"]
    told = [line["verdict"].replace("_", " "), line["reason"], line["extract_method"]]
    return {
        "value": line["score"],
        "answer": extracted if isinstance(extracted, str | None) else json.dumps(extracted, ensure_ascii=False),
        "explanation": ", ".join(str(text) for text in told if text),
        "metadata": {name: line.get(name) for name in ("verdict", "reason", "extract_method", "detail", "judge")},
    }


def _metadata(entry: Mapping[str, Any], record: Mapping[str, Any]) -> Fields:
    kept = ("budget", "policy", "seed", "finish_reason", "think_closed", "budget_forced", "attempt", "worker", "media")
    return {
        "categories": entry["categories"],
        "cluster": entry["cluster"],
        **{name: record.get(name) for name in kept},
        "raw_output": record["raw_output"],
    }


def _error(record: Mapping[str, Any]) -> Fields:
    message = f"{record['reason']}: {record.get('message') or ''}".rstrip(": ")
    return {"message": message, "traceback": message, "traceback_ansi": message}


def _summary(sample: Fields) -> Fields:
    """What lists show of a sample."""
    same = ("id", "epoch", "uuid", "input", "choices", "target", "scores", "model_usage", "completed_at", "total_time")
    shown = ("finish_reason", "budget", "cluster")
    return {
        **{name: sample[name] for name in same},
        "metadata": {name: sample["metadata"][name] for name in shown},
        "error": sample["error"]["message"] if sample["error"] else None,
        "completed": True,
        "message_count": len(sample["messages"]),
    }
