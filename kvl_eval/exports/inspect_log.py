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
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from kvl_eval import __version__
from kvl_eval.decode import encode, encode_object
from kvl_eval.exports.answers import ExportedAnswer, JsonObject, TaskAnswers, clean, parts, scorer_of
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import PlanEntry, Record, ScoreLine
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import TokenCounts

LOG_VERSION = 2
PIECE = 1 << 20  # bytes copied at once
STOPS = {"stop": "stop", "length": "max_tokens", "budget": "max_tokens", "error": "unknown", "unknown": "unknown"}

ScorerResults = Mapping[str, ResultRow]  # by scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSample:
    """One answer or failure under the names of inspect_ai; a file of `samples/` holds its fields."""

    id: str
    epoch: int
    uuid: str
    input: str
    choices: list[str] | None
    target: str | list[str]
    messages: list[JsonObject]
    output: JsonObject
    scores: dict[str, JsonObject]
    metadata: JsonObject
    model_usage: dict[str, dict[str, int]]
    completed_at: str | None
    total_time: float | None
    error: dict[str, str] | None

    def summary(self) -> JsonObject:
        """What lists show of it."""
        return {
            "id": self.id,
            "epoch": self.epoch,
            "uuid": self.uuid,
            "input": self.input,
            "choices": self.choices,
            "target": self.target,
            "scores": self.scores,
            "model_usage": self.model_usage,
            "completed_at": self.completed_at,
            "total_time": self.total_time,
            "metadata": {name: self.metadata[name] for name in ("finish_reason", "budget", "cluster")},
            "error": None if self.error is None else self.error["message"],
            "completed": True,
            "message_count": len(self.messages),
        }


def write_inspect(folder: RunFolder, out: OutputFolder, protocol: str | None = None) -> list[Path]:
    """Write the logs into `out` and return their paths; `protocol` names the scorer that comes first.

    Raises: UsageError, DataError, StorageError.
    """
    written = []
    for part in parts(folder, protocol):
        task = file_name(re.sub("[^A-Za-z0-9-]+", "-", part.name))
        with TemporaryFile() as file:
            _write_log(file, part)
            file.seek(0)
            chunks = iter(lambda file=file: file.read(PIECE), b"")  # type: ignore[misc]
            written.append(out.write(chunks, f"{_stamp(folder)}_{task}_{_id(folder, part.name)}.eval"))
    return written


def _write_log(file: IO[bytes], part: TaskAnswers) -> None:
    scorers = _scorers(part)
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED))
        spec, plan = _spec(part, scorers), {"name": "plan", "steps": [{"solver": "generate"}]}
        _put(archive, "_journal/start.json", {"version": LOG_VERSION, "eval": spec, "plan": plan})
        summaries, usage = [], Counter[str]()
        for sample in _samples(part, scorers):
            stored = {field.name: getattr(sample, field.name) for field in fields(sample)}
            _put(archive, f"samples/{sample.id}_epoch_{sample.epoch}.json", stored)
            summaries.append(sample.summary())
            for tokens in sample.model_usage.values():
                usage.update(tokens)
        _put(archive, "summaries.json", summaries)
        header = {
            "version": LOG_VERSION,
            "status": "cancelled" if part.row.n_pending else "success",
            "eval": spec,
            "plan": plan,
            "results": _results(part, scorers),
            "stats": {
                "started_at": _utc(part.folder.manifest.created),
                "completed_at": _utc(part.folder.manifest.finished),
                "model_usage": {_model(part): dict(usage)} if usage else {},
            },
        }
        _put(archive, "header.json", header)


def _put(archive: zipfile.ZipFile, name: str, value: object) -> None:
    archive.writestr(clean(name), json.dumps(clean(value), ensure_ascii=False))


# -- what was run -----------------------------------------------------------------------------------------------


def _id(folder: RunFolder, *names: str) -> str:
    """An id of 22 letters and digits that is the same in every export of the run."""
    return hashlib.sha256("\0".join([folder.run_id, *names]).encode("utf-8", "surrogatepass")).hexdigest()[:22]


def _stamp(folder: RunFolder) -> str:
    return _utc(folder.manifest.created).replace(":", "-") or "1970-01-01T00-00-00+00-00"


def _utc(text: str | None) -> str:
    """An ISO time in UTC; an empty text where it is not known."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="seconds")
    except ValueError:
        return ""


def _model(part: TaskAnswers) -> str:
    return part.folder.manifest.model.name or "unknown"


def _scorers(part: TaskAnswers) -> dict[str, ResultRow]:
    """{scorer: its result}, that of the part first."""
    rows = [row for row in part.folder.results().rows if _place(row) == _place(part.row)]
    return {part.scorer: part.row} | {scorer_of(row): row for row in rows}


def _place(row: ResultRow) -> tuple[object, ...]:
    return row.task, row.split, row.budget, row.policy, row.thinking


def _spec(part: TaskAnswers, scorers: ScorerResults) -> JsonObject:
    folder, row, manifest = part.folder, part.row, part.folder.manifest
    data, generation = manifest.data.get(part.task), manifest.generation.get(part.task)
    code, stored = manifest.code, encode_object(manifest)
    names = ("config_fingerprint", "command", "selection", "data", "prompt", "code", "environment", "merged")
    limit = manifest.selection.limit
    return {
        "eval_id": _id(folder, part.name, "eval"),
        "run_id": _id(folder),
        "created": _utc(manifest.created) or "1970-01-01T00:00:00+00:00",
        "task": part.name,
        "task_id": _id(folder, part.name),
        "task_version": code.version or __version__,
        "task_display_name": row.title or part.task,
        "task_args": {"split": row.split, "budget": row.budget, "policy": row.policy, "protocol": row.protocol},
        "dataset": {
            "name": None if data is None else data.source,
            "samples": None if data is None else data.n,
            "shuffled": False,
        },
        "model": _model(part),
        "model_generate_config": {
            "max_tokens": None if generation is None else generation.max_new_tokens,
            "reasoning_tokens": row.budget,
            "temperature": None if generation is None else generation.temperature,
            "top_p": None if generation is None else generation.top_p,
            "seed": manifest.config.get("seed"),
        },
        "config": {"epochs": manifest.config.get("repeats", 1), "limit": limit if isinstance(limit, int) else None},
        "revision": {"type": "git", "origin": "", "commit": code.commit, "dirty": bool(code.dirty)}
        if code.commit
        else None,
        "packages": {"kvl_eval": code.version or __version__},
        "metadata": {"kvl_eval_run": folder.run_id, "demo": manifest.demo}
        | {name: stored[name] for name in names if name in stored},
        "scorers": [{"name": name, "metrics": [{"name": "mean"}, {"name": "stderr"}]} for name in scorers],
    }


def _results(part: TaskAnswers, scorers: ScorerResults) -> JsonObject:
    return {
        "total_samples": part.row.n_planned,
        "completed_samples": part.row.n_ok,
        "scores": [_eval_score(name, row) for name, row in scorers.items()],
    }


def _eval_score(name: str, row: ResultRow) -> JsonObject:
    metrics = {"mean": row.score, "stderr": row.stderr if row.stderr_clustered is None else row.stderr_clustered}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": row.n_scored,
        "unscored_samples": row.n_ok - row.n_scored,
        "metrics": {metric: {"name": metric, "value": value} for metric, value in metrics.items() if value is not None},
        "metadata": {
            "ci95": row.ci95,
            "ci_method": row.ci_method,
            "verdicts": row.verdicts,
            "official": row.official,
            "categories": encode(row.categories),
            "unit": row.unit,
        },
    }


# -- samples ----------------------------------------------------------------------------------------------------


def _samples(part: TaskAnswers, scorers: ScorerResults) -> Iterator[EvalSample]:
    """One for each answer and failure, in plan order."""
    lines = {
        name: {line.key: line for line in part.folder.scores(part.task, name)}
        for name in scorers
        if name != part.scorer
    }
    for answer in part.answers():
        if answer.record is not None:
            others = {name: by_key[answer.key] for name, by_key in lines.items() if answer.key in by_key}
            mine = {part.scorer: answer.score} if answer.score is not None else {}
            yield _sample(part, answer, answer.record, {**mine, **others})


def _sample(part: TaskAnswers, answer: ExportedAnswer, record: Record, scores: Mapping[str, ScoreLine]) -> EvalSample:
    sample, key = answer.entry.sample, answer.key
    identity = _id(part.folder, part.name, key.sample_id, str(key.repeat))
    failed = record.status == "failed"
    question: JsonObject = {"id": f"{identity}-q", "role": "user", "source": "input", "content": record.prompt_text}
    return EvalSample(
        id=key.sample_id,
        epoch=key.repeat + 1,
        uuid=identity,
        input=sample.question,
        choices=list(sample.choices) or None,
        target=sample.gold[0] if len(sample.gold) == 1 else list(sample.gold),
        messages=[question] if failed else [question, _reply(part, record, identity)],
        output={} if failed else _output(part, record, identity),
        scores={name: score for name, line in scores.items() if (score := _score(line)) is not None},
        metadata=_metadata(answer.entry, record),
        model_usage={} if failed else {_model(part): _usage(record.tokens)},
        completed_at=_utc(record.ended_at) or None,
        total_time=record.time.get("total"),
        error=_error(record) if failed else None,
    )


def _reply(part: TaskAnswers, record: Record, identity: str) -> JsonObject:
    text = {"type": "text", "text": record.answer}
    return {
        "id": f"{identity}-a",
        "role": "assistant",
        "source": "generate",
        "model": _model(part),
        "content": [{"type": "reasoning", "reasoning": record.thinking}, text] if record.thinking else record.answer,
    }


def _output(part: TaskAnswers, record: Record, identity: str) -> JsonObject:
    stop = STOPS.get(record.finish_reason, "unknown")
    return {
        "model": _model(part),
        "choices": [{"message": _reply(part, record, identity), "stop_reason": stop}],
        "completion": record.answer,
        "usage": _usage(record.tokens),
        "time": record.time.get("total"),
    }


def _usage(tokens: TokenCounts) -> dict[str, int]:
    written = tokens.thinking + tokens.answer
    return {
        "input_tokens": tokens.prompt,
        "output_tokens": written,
        "total_tokens": tokens.prompt + written,
        "reasoning_tokens": tokens.thinking,
    }


def _score(line: ScoreLine) -> JsonObject | None:
    """A score of inspect_ai; None for an answer that was not scored."""
    if line.score is None:
        return None
    extracted = line.extracted
    reasons = (line.verdict.replace("_", " "), line.reason, line.extract_method)
    return {
        "value": line.score,
        "answer": extracted if isinstance(extracted, str | None) else json.dumps(clean(extracted), ensure_ascii=False),
        "explanation": ", ".join(text for text in reasons if text),
        "metadata": {
            "verdict": line.verdict,
            "reason": line.reason,
            "extract_method": line.extract_method,
            "detail": line.detail,
            "judge": encode(line.judge),
        },
    }


def _metadata(entry: PlanEntry, record: Record) -> JsonObject:
    return {
        "categories": entry.sample.categories,
        "cluster": entry.sample.cluster,
        "budget": record.budget,
        "policy": record.policy,
        "seed": record.seed,
        "finish_reason": record.finish_reason,
        "think_closed": record.think_closed,
        "budget_forced": record.budget_forced,
        "attempt": record.attempt,
        "worker": record.worker,
        "media": encode(record.media),
        "raw_output": record.raw_output,
        **({} if record.extra.trajectory is None else {"trajectory": record.extra.trajectory}),
    }


def _error(record: Record) -> dict[str, str]:
    message = f"{record.reason}: {record.message or ''}".rstrip(": ")
    return {"message": message, "traceback": message, "traceback_ansi": message}
