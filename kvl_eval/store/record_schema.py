"""What a line of `plan.jsonl` and of `samples/` must hold; more fields may come with later versions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

_TEXT, _INT, _BOOL, _LIST, _OBJECT = (str,), (int,), (bool,), (list,), (dict,)
_NONE = type(None)
_NUMBER = (int, float, _NONE)  # infinity and NaN are stored as null

KEY: Mapping[str, tuple[type, ...]] = {
    "schema": _INT,
    "task": _TEXT,
    "split": _TEXT,
    "sample_id": _TEXT,
    "repeat": _INT,
    "budget": (int, _NONE),
    "policy": (str, _NONE),
}
PLAN_SAMPLE: Mapping[str, tuple[type, ...]] = {
    "question": _TEXT,
    "choices": _LIST,
    "gold": _LIST,
    "categories": _OBJECT,
    "cluster": (str, _NONE),
    "media": _INT,
    "row": _OBJECT,
}
RECORD: Mapping[str, tuple[type, ...]] = {
    **KEY,
    "status": _TEXT,
    "reason": (str, _NONE),
    "message": (str, _NONE),
    "attempt": _INT,
    "config_fingerprint": _TEXT,
    "prompt_sha256": _TEXT,
    "prompt_text": _TEXT,
    "image_prep": _TEXT,
    "media": _LIST,
    "raw_output": _TEXT,
    "thinking": _TEXT,
    "answer": _TEXT,
    "think_closed": (bool, _NONE),
    "budget_forced": _BOOL,
    "finish_reason": _TEXT,
    "trajectory_id": (str, _NONE),
    "tokens": _OBJECT,
    "seed": _INT,
    "time": _OBJECT,
    "worker": _TEXT,
    "ended_at": _TEXT,
}
INDEXED = {"sample_id": _TEXT, "repeat": _INT, "budget": (int, _NONE), "policy": (str, _NONE), "status": _TEXT}
MEDIA: Mapping[str, tuple[type, ...]] = {"sha256": _TEXT, "kind": _TEXT, "w": _INT, "h": _INT, "tokens": _INT}
FRAME: Mapping[str, tuple[type, ...]] = {  # records of earlier versions lack these
    "index": (int, _NONE),
    "timestamp": _NUMBER,
    "decoder": (str, _NONE),
    "limit": (int, _NONE),
}
TOKENS = dict.fromkeys(("prompt", "image", "thinking", "answer"), _INT)
VALUES = {
    "status": ("ok", "failed"),
    "finish_reason": ("stop", "length", "budget", "error"),
    "policy": (None, "cut", "force"),
}


def plan_faults(fields: Mapping[str, Any]) -> list[str]:
    """What is wrong with a line of the plan; a sample's first line also carries what its answers share."""
    return _typed(fields, {**KEY, **PLAN_SAMPLE} if "row" in fields else KEY)


def index_faults(fields: Mapping[str, Any]) -> list[str]:
    """Why a line cannot be told from other records; what else is wrong with it, `record_faults` says."""
    return _typed(fields, INDEXED)


def record_faults(fields: Mapping[str, Any]) -> list[str]:
    """What is wrong with a whole record, one text each."""
    found = _typed(fields, RECORD)
    if found:
        return found
    found += [
        f"{name} is {fields[name]!r}, expected one of {', '.join(map(str, known))}"
        for name, known in VALUES.items()
        if fields[name] not in known
    ]
    found += [f"tokens: {fault}" for fault in _typed(fields["tokens"], TOKENS)]
    found += [f"media: {fault}" for one in fields["media"] for fault in _media_faults(one)]
    found += [f"time: {fault}" for fault in _typed(fields["time"], dict.fromkeys(fields["time"], _NUMBER))]
    if fields["status"] == "failed" and not fields["reason"]:
        found.append("a failed record has no reason")
    if hashlib.sha256(fields["prompt_text"].encode("utf-8", "surrogatepass")).hexdigest() != fields["prompt_sha256"]:
        found.append("prompt_sha256 is not the hash of prompt_text")
    return found


def _media_faults(one: Any) -> list[str]:
    there = {name: kinds for name, kinds in FRAME.items() if isinstance(one, dict) and name in one}
    return _typed(one, {**MEDIA, **there})


def _typed(fields: Any, schema: Mapping[str, tuple[type, ...]]) -> list[str]:
    if not isinstance(fields, dict):
        return [f"{fields!r} is no object"]
    found = [f"{name} is missing" for name in schema if name not in fields]
    return found + [
        f"{name} is {fields[name]!r:.60}, expected {' or '.join(_name(one) for one in kinds)}"
        for name, kinds in schema.items()
        if name in fields and type(fields[name]) not in kinds
    ]


def _name(kind: type) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    return "null" if kind is _NONE else names.get(kind, "an object")
