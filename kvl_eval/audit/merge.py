"""Joins the shards of one configuration (`--shard i/n`) into one run folder, as if they had never been apart.

The plan comes out byte for byte as that of the unsharded run: shards note where in the data set each sample stood, and
the hash over all prompts in order, which every shard's fingerprint holds, proves that none is missing.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kvl_eval.errors import DataError, UsageError
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig, from_json, to_json
from kvl_eval.run.plan import Lookup, differences
from kvl_eval.run.runner import RunOutcome, outcome_of, partial_note, save_end, write_config
from kvl_eval.scoring.rescore import rescore
from kvl_eval.store.journal import checksum_of, encode_line
from kvl_eval.store.names import run_name
from kvl_eval.store.replies import legacy_reply_lines, replies_path
from kvl_eval.store.run_folder import RunFolder, legacy_key_of
from kvl_eval.store.shared_text import Holder, shortened
from kvl_eval.tasks import get_task

Group = list[dict[str, Any]]  # the plan's lines of one sample
OWN = ("task", "schema", "split", "sample_id", "repeat", "budget", "policy")  # what each line of a sample repeats


@dataclass(frozen=True, slots=True)
class Shard:
    """One run to be joined. `planned` and `answered` count answers, `lacking` the samples that lack one."""

    folder: RunFolder
    planned: int
    answered: int
    lacking: int

    @property
    def name(self) -> str:
        """`1/2`, or `no shard`."""
        return str((self.folder.legacy_manifest.get("selection") or {}).get("shard") or "no shard")

    def __str__(self) -> str:
        text = f"shard {self.name}  {self.folder.path}: {self.answered} of {self.planned} answers"
        if not self.lacking:
            return text
        return f"{text}, {self.lacking} samples lack one; `kvl-eval resume {self.folder.path}` finishes it"


def merge(paths: Sequence[Path], output_dir: Path, lookup: Lookup = get_task) -> tuple[RunOutcome, list[Shard]]:
    """A new run folder below `output_dir` with everything the shards hold, scored; and what each shard held.

    Raises: UsageError `merge.*` for runs that do not belong together, naming both, and for missing shards; DataError.
    """
    shards = [_shard(RunFolder.open(path)) for path in paths]
    if len(shards) < 2:
        raise UsageError("merge.one", "merge needs at least two runs", fix="name the folder of every shard")
    _check_alike(shards)
    _check_apart(shards)
    config = replace(from_json(shards[0].folder.legacy_manifest["config"]), shard=None, output_dir=output_dir)
    _check_whole(shards, config)
    created = datetime.now().astimezone()
    first = shards[0].folder.legacy_manifest
    name = run_name(created, str(first["model"]["name"]), list(first["data"]), first["config_fingerprint"])
    folder = RunFolder.create(output_dir, name, _manifest(shards, config, created), _plan_lines(shards, config))
    try:
        write_config(folder, config)
        for task in first["data"]:
            folder.disk.replace(folder.samples_path(task), _records(shards, task))
            if any(replies_path(shard.folder, task).exists() for shard in shards):
                folder.disk.replace(replies_path(folder, task), _replies(shards, task))
        results = rescore(folder, config.protocol, config.thinking, lookup)
        save_end(folder, results, first["model"])
    finally:
        folder.unlock()
    return outcome_of(folder, results, None), shards


def _shard(folder: RunFolder) -> Shard:
    if folder.problem is not None or "config" not in folder.legacy_manifest:
        raise DataError("run.manifest", folder.problem or f"{folder.path / 'run.json'} holds no configuration")
    if folder.status == "running":
        raise UsageError("run.busy", f"{folder.path} is still running", fix="wait for it, or stop it")
    folder.check_plan()
    planned = [(entry["task"], legacy_key_of(entry)) for entry in folder.legacy_plan()]
    there = {(task, key) for task in folder.legacy_manifest["data"] for key in folder.index(task).offsets}
    missing = [(task, key.sample_id) for task, key in planned if (task, key) not in there]
    return Shard(folder, len(planned), len(planned) - len(missing), len(set(missing)))


# -- whether they belong together -------------------------------------------------------------------------------


def _check_alike(shards: Sequence[Shard]) -> None:
    """Raises UsageError, naming both runs and what differs, unless all have one configuration."""
    first = shards[0].folder
    for other in (shard.folder for shard in shards[1:]):
        changes = differences(first.legacy_manifest["identity"], other.legacy_manifest["identity"])
        changes += differences(_choice(first), _choice(other))
        if changes or first.legacy_manifest["config_fingerprint"] != other.legacy_manifest["config_fingerprint"]:
            raise UsageError(
                "merge.fingerprint",
                "runs of different configurations cannot be joined",
                where=f"{first.path} and {other.path}",
                why="; ".join(changes) or "their fingerprints differ",
                fix="`kvl-eval compare` sets them side by side",
            )


def _choice(folder: RunFolder) -> dict[str, Any]:
    """Which samples were chosen before they were dealt out, and into how many shards."""
    selection = folder.legacy_manifest.get("selection") or {}
    return {**selection, "shard": str(selection.get("shard") or "1/1").partition("/")[2]}


def _check_apart(shards: Sequence[Shard]) -> None:
    """Raises UsageError, naming sample and both runs, if a sample lies in two of them."""
    seen: dict[tuple[str, str], Shard] = {}
    for shard in shards:
        for sample in dict.fromkeys((entry["task"], entry["sample_id"]) for entry in shard.folder.legacy_plan()):
            other = seen.setdefault(sample, shard)
            if other is not shard:
                raise UsageError(
                    "merge.overlap",
                    f"sample {sample[1]} of {sample[0]} lies in two of the runs",
                    where=f"{other.folder.path} (shard {other.name}) and {shard.folder.path} (shard {shard.name})",
                    fix="name each shard once",
                )


def _check_whole(shards: Sequence[Shard], config: RunConfig) -> None:
    """Raises UsageError, naming the missing shards, unless all samples are there: the hash over all prompts says so."""
    tasks = shards[0].folder.legacy_manifest["identity"]["tasks"]
    for task in config.tasks:
        prompts = hashlib.sha256()
        for group in _groups(shards, task.task):
            prompts.update(bytes.fromhex(group[0]["prompt_sha256"]))
        if prompts.hexdigest() != tasks[task.task]["prompt_text"]:
            number = int(_choice(shards[0].folder)["shard"])
            absent = sorted(set(range(1, number + 1)) - {int(shard.name.partition("/")[0]) for shard in shards})
            raise UsageError(
                "merge.shards",
                f"{task.task}: these runs do not hold every sample",
                where=", ".join(f"{shard.folder.path} (shard {shard.name})" for shard in shards),
                why=_missing(shards, task.task, [f"{part}/{number}" for part in absent]),
                fix="`kvl-eval run --shard i/n` with the same options makes a missing shard",
            )


def _missing(shards: Sequence[Shard], task: str, absent: Sequence[str]) -> str:
    data = [shard.folder.legacy_manifest["data"][task] for shard in shards]
    held, total = sum(one["n"] for one in data), data[0]["total"]
    number = "" if total is None or total <= held else f"{total - held} of {total} samples are missing"
    return "; ".join(text for text in (f"no run of shard {', '.join(absent)}" if absent else "", number) if text)


# -- what the joined run holds ----------------------------------------------------------------------------------


def _groups(shards: Sequence[Shard], task: str) -> Iterator[Group]:
    """The plan's lines of one task by sample, in the data set's order."""
    streams = (_positioned(shard.folder, task) for shard in shards)
    for _, group in heapq.merge(*streams, key=lambda one: one[0]):
        yield group


def _positioned(folder: RunFolder, task: str) -> Iterator[tuple[int, Group]]:
    group: Group = []
    for entry in folder.legacy_plan(task):
        if "position" not in entry:
            raise DataError(
                "merge.order",
                f"{folder.path / 'plan.jsonl'} does not say where its samples stood",
                why="it is no shard",
            )
        if group and group[0]["sample_id"] != entry["sample_id"]:
            yield group[0]["position"], group
            group = []
        group.append(entry)
    if group:
        yield group[0]["position"], group


def _plan_lines(shards: Sequence[Shard], config: RunConfig) -> Iterator[bytes]:
    for task in config.tasks:
        for group in _groups(shards, task.task):
            for number, entry in enumerate(group):
                fields = {name: entry[name] for name in OWN}
                rest = {name: value for name, value in entry.items() if name not in ("position", "offset")}
                yield encode_line({**fields, **rest} if number == 0 else fields)


def _records(shards: Sequence[Shard], task: str) -> Iterator[bytes]:
    """The records that count, each key once, shard after shard; what those of a trajectory share stays stored once."""
    holder: Holder | None = None
    for shard in shards:
        for record in shard.folder.legacy_records(task):
            stored = shortened(record, holder)
            line = encode_line(stored)
            if holder is None or record["trajectory_id"] != holder.record["trajectory_id"]:
                holder = Holder(checksum_of(line), record)
            yield line


def _replies(shards: Sequence[Shard], task: str) -> Iterator[bytes]:
    """Everything that judges said, shard after shard; usable replies last, as the last line of a prompt counts."""
    lines = [line for shard in shards for line in legacy_reply_lines(shard.folder, task)]
    return (encode_line(line) for line in sorted(lines, key=lambda line: line["status"] == "ok"))


def _manifest(shards: Sequence[Shard], config: RunConfig, created: datetime) -> dict[str, Any]:
    manifests = [shard.folder.legacy_manifest for shard in shards]
    own = {name: value for name, value in manifests[0].items() if name not in ("sha256", "plan_sha256", "finished")}
    planned = sum(shard.planned for shard in shards)
    return {
        **own,
        "status": "interrupted",
        "created": created.isoformat(timespec="seconds"),
        "finished": None,
        "command": provenance.command(),
        "config": to_json(config),
        "selection": {**own["selection"], "shard": None},
        "data": {name: _data(name, manifests, config) for name in own["data"]},
        "counts": {"planned": planned, "ok": 0, "failed": {}, "pending": planned},
        "resumes": [],
        "merged": [_origin(shard) for shard in shards],
    }


def _data(task: str, manifests: Sequence[Mapping[str, Any]], config: RunConfig) -> dict[str, Any]:
    parts = [manifest["data"][task] for manifest in manifests]
    n = sum(part["n"] for part in parts)
    media = sum(part["media"] for part in parts)
    return {**parts[0], "n": n, "media": media, "partial": partial_note(n, parts[0]["total"], config)}


def _origin(shard: Shard) -> dict[str, Any]:
    """Where a part came from: a merged run says so for good."""
    manifest = shard.folder.legacy_manifest
    kept = ("run_id", "created", "finished", "command", "code", "environment", "plan_sha256", "resumes")
    return {
        "shard": shard.name,
        **{name: manifest.get(name) for name in kept},
        "device": (manifest.get("model") or {}).get("device"),
        "lacking": shard.lacking,
    }


def told(shards: Sequence[Shard]) -> list[str]:
    """One line for each shard, and one for differences that no fingerprint holds."""
    devices = Counter(str((shard.folder.legacy_manifest.get("model") or {}).get("device")) for shard in shards)
    notice = [f"notice: the shards ran on different devices: {', '.join(devices)}"] if len(devices) > 1 else []
    return [*map(str, shards), *notice]
