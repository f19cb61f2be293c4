"""Records to build tests from: every field has a plausible value, a test names the ones it is about."""

from __future__ import annotations

import hashlib
from typing import Any

from kvl_eval.store.manifest import Manifest, ModelFacts, PlannedData
from kvl_eval.store.records import JudgeReply, PlanEntry, PlannedSample, Record, ScoreLine
from kvl_eval.store.result_records import ResultRow, Seconds, Spread
from kvl_eval.types import MediaInfo, TokenCounts


def make_sample(**changes: Any) -> PlannedSample:
    """A sample of the plan."""
    values: dict[str, Any] = {
        "question": "2 + 2?",
        "choices": (),
        "gold": ("4",),
        "categories": {},
        "cluster": None,
        "media": 0,
        "messages_sha256": "0" * 64,
        "row": {"q": 1},
    }
    return PlannedSample(**{**values, **changes})


def make_entry(sample_id: str = "1", *, sample: PlannedSample | None = None, **changes: Any) -> PlanEntry:
    """An entry of the plan: task t, split test, repeat 0, no budget."""
    values: dict[str, Any] = {"task": "t", "split": "test", "repeat": 0, "budget": None, "policy": None}
    return PlanEntry(**{**values, "sample_id": sample_id, "sample": sample or make_sample(), **changes})


def make_media(**changes: Any) -> MediaInfo:
    """A picture of 28 x 28 that was not changed."""
    values: dict[str, Any] = {
        "sha256": "a" * 64,
        "kind": "image",
        "w": 28,
        "h": 28,
        "resized_to": (28, 28),
        "tokens": 1,
    }
    return MediaInfo(**{**values, **changes})


def make_record(sample_id: str = "1", **changes: Any) -> Record:
    """An answer `4` of task t, split test, to fingerprint `f`; `prompt_sha256` follows `prompt_text`."""
    text = changes.get("prompt_text", "2 + 2?")
    values: dict[str, Any] = {
        "task": "t",
        "split": "test",
        "sample_id": sample_id,
        "repeat": 0,
        "budget": None,
        "policy": None,
        "status": "ok",
        "reason": None,
        "message": None,
        "attempt": 1,
        "config_fingerprint": "f",
        "messages_sha256": "0" * 64,
        "prompt_sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "prompt_text": text,
        "image_prep": "reference",
        "media": (),
        "raw_output": "4<|im_end|>",
        "thinking": "",
        "answer": "4",
        "think_closed": None,
        "budget_forced": False,
        "finish_reason": "stop",
        "trajectory_id": None,
        "tokens": TokenCounts(prompt=5, answer=2),
        "seed": 1,
        "time": {"total": 0.5},
        "worker": "cpu:1",
        "ended_at": "2026-08-11T14:22:33.000+00:00",
    }
    return Record(**{**values, **changes})


def make_score(sample_id: str = "1", **changes: Any) -> ScoreLine:
    """A correct `4` under t@official."""
    values: dict[str, Any] = {
        "sample_id": sample_id,
        "repeat": 0,
        "budget": None,
        "policy": None,
        "extracted": "4",
        "extract_ok": True,
        "extract_method": "exact",
        "gold": ("4",),
        "score": 1.0,
        "verdict": "correct",
        "reason": None,
        "detail": {},
        "categories": {},
        "cluster": None,
        "scorer": "t@official",
        "scorer_version": "0.1.0",
    }
    return ScoreLine(**{**values, **changes})


def make_reply(sample_id: str = "1", **changes: Any) -> JudgeReply:
    """A usable reply of judge `umpire`."""
    values: dict[str, Any] = {"judge": "umpire", "prompt_sha256": "b" * 64, "run": 0, "status": "ok", "verdict": "4"}
    return JudgeReply(**{**values, "reply": "4", "sample_id": sample_id, "thinking": "split", **changes})


def make_manifest(*tasks: str, **changes: Any) -> Manifest:
    """A planned run of fingerprint `f` over `tasks`, t if none is named."""
    values: dict[str, Any] = {
        "status": "planned",
        "created": "2026-08-11T14:22:33+00:00",
        "config_fingerprint": "f",
        "model": ModelFacts(name="kimi-vl-nano", family="nano", device="cpu"),
        "data": {task: make_data() for task in tasks or ("t",)},
    }
    return Manifest(**{**values, **changes})


def make_data(**changes: Any) -> PlannedData:
    """Three samples of a folder."""
    values: dict[str, Any] = {"source": "data", "revision": None, "version": None, "split": "test", "n": 3, "total": 3}
    return PlannedData(**{**values, "media": 0, "fingerprint": "d" * 64, "partial": None, **changes})


def make_row(task: str = "t", **changes: Any) -> ResultRow:
    """Three answers, all of them correct."""
    values: dict[str, Any] = {
        "title": "T",
        "split": "test",
        "budget": None,
        "policy": None,
        "protocol": "official",
        "label": "official",
        "thinking": "split",
        "n_planned": 3,
        "n_ok": 3,
        "n_failed": 0,
        "n_pending": 0,
        "failed": {},
        "n_scored": 3,
        "n_unextracted": 0,
        "verdicts": {"correct": 3},
        "score": 1.0,
        "unit": "percent",
        "complete": True,
        "partial": None,
        "bounds": (1.0, 1.0),
        "ci95": (0.4, 1.0),
        "ci_method": "wilson",
        "stderr": 0.0,
        "stderr_clustered": 0.0,
        "official": {},
        "categories": {},
        "tokens": {name: Spread(mean=1.0, median=1.0, p95=1.0) for name in ("thinking", "answer", "prompt", "image")},
        "truncated_share": 0.0,
        "unclosed_share": 0.0,
        "forced_share": 0.0,
        "blind": False,
        "time": Seconds(total=1.5, mean=0.5),
        "repeats": None,
    }
    return ResultRow(**{**values, "task": task, **changes})
