"""Joins the shards of one configuration (`--shard i/n`) into one run folder, as if they had never been apart.

The plan comes out byte for byte as that of the unsharded run: shards note where in the data set each sample stood, and
the hash over all prompts in order, which every shard's fingerprint holds, proves that none is missing.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from operator import itemgetter
from pathlib import Path

from kvl_eval.decode import Json, encode_object
from kvl_eval.errors import DataError, UsageError
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig, from_json, to_json
from kvl_eval.run.fingerprint import differences
from kvl_eval.run.manifest import partial_note
from kvl_eval.run.runner import RunOutcome, outcome_of, save_end
from kvl_eval.run.stored_config import config_files
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import encode_line
from kvl_eval.store.manifest import AnswerCounts, Manifest, MergedShard, PlannedData
from kvl_eval.store.names import run_name
from kvl_eval.store.plan_file import plan_line
from kvl_eval.store.records import PlanEntry
from kvl_eval.store.replies import replies_path, reply_lines
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import copy_trajectories
from kvl_eval.tasks.base import Task

Group = list[PlanEntry]  # the plan's entries of one sample


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
        return self.folder.manifest.selection.shard or "no shard"

    def __str__(self) -> str:
        text = f"shard {self.name}  {self.folder.path}: {self.answered} of {self.planned} answers"
        if not self.lacking:
            return text
        return f"{text}; {self.lacking} samples are missing; run `kvl-eval resume {self.folder.path}`"


def merge(
    paths: Sequence[Path], output_dir: Path, own: Sequence[Task] = (), *, compress: bool = False
) -> tuple[RunOutcome, list[Shard]]:
    """A new run folder below `output_dir` with everything the shards hold, scored; and what each shard held.

    `own` tasks go before registered ones.

    Raises: UsageError `merge.*` for runs that do not belong together, naming both, and for missing shards; DataError.
    """
    shards = [_shard(RunFolder.open(path)) for path in paths]
    if len(shards) < 2:
        raise UsageError("merge.one", "merge needs at least two runs", fix="name the folders of all shards")
    _check_alike(shards)
    _check_apart(shards)
    config = replace(from_json(dict(shards[0].folder.manifest.config)), shard=None, output_dir=output_dir)
    _check_whole(shards, config)
    created = datetime.now().astimezone()
    first = shards[0].folder.manifest
    name = run_name(created, first.model.name, list(first.data), str(first.config_fingerprint))
    manifest, lines = _manifest(shards, config, created), _plan_lines(shards, config)
    folder = RunFolder.create(output_dir, name, manifest, lines, files=partial(config_files, config))
    try:
        for task in first.data:
            folder.disk.replace(folder.samples_path(task), _records(shards, task))
            if any(replies_path(shard.folder, task).exists() for shard in shards):
                folder.disk.replace(replies_path(folder, task), _replies(shards, task))
        for shard in shards:
            copy_trajectories(shard.folder.path, folder.path, folder.disk)
        results = rescore(RunReader(folder, own), config.protocol, config.score_view)
        save_end(folder, results, first.model)
        if compress and folder.status == "finished":
            folder.compress()
    finally:
        folder.unlock()
    return outcome_of(RunReader(folder, own), results, None), shards


def _shard(folder: RunFolder) -> Shard:
    if folder.problem is not None or not folder.manifest.config:
        raise DataError("run.manifest", folder.problem or f"{folder.path / 'run.json'} has no configuration")
    if folder.status == "running":
        gone = f"run `kvl-eval resume {folder.path} --break-lock`"
        fix = f"wait for it or stop it; if its host no longer runs, {gone}"
        raise UsageError("run.busy", f"{folder.path} is still running", fix=fix)
    folder.check_plan()
    indexes = {task: folder.index(task) for task in folder.manifest.data}
    planned, missing = 0, list[tuple[str, str]]()
    for entry in folder.plan():
        planned += 1
        if entry.key not in indexes[entry.task]:
            missing.append((entry.task, entry.sample_id))
    return Shard(folder, planned, planned - len(missing), len(set(missing)))


# -- whether they belong together -------------------------------------------------------------------------------


def _check_alike(shards: Sequence[Shard]) -> None:
    """Raises UsageError, naming both runs and what differs, unless all have one configuration."""
    first = shards[0].folder
    for other in (shard.folder for shard in shards[1:]):
        changes = differences(first.manifest.identity, other.manifest.identity)
        changes += differences(_choice(first), _choice(other))
        if changes or first.manifest.config_fingerprint != other.manifest.config_fingerprint:
            raise UsageError(
                "merge.fingerprint",
                "cannot merge runs with different settings",
                where=f"{first.path} and {other.path}",
                why="; ".join(changes) or "their fingerprints differ",
                fix="use `kvl-eval compare` to compare them",
            )


def _choice(folder: RunFolder) -> dict[str, Json]:
    """Which samples were chosen before they were dealt out, and into how many shards."""
    selection = folder.manifest.selection
    return {**encode_object(selection), "shard": str(_shards(folder))}


def _shards(folder: RunFolder) -> int:
    """Into how many shards the samples were dealt."""
    return int((folder.manifest.selection.shard or "1/1").partition("/")[2])


def _check_apart(shards: Sequence[Shard]) -> None:
    """Raises UsageError, naming sample and both runs, if a sample lies in two of them."""
    seen: dict[tuple[str, str], Shard] = {}
    for shard in shards:
        for sample in dict.fromkeys((entry.task, entry.sample_id) for entry in shard.folder.plan()):
            other = seen.setdefault(sample, shard)
            if other is not shard:
                raise UsageError(
                    "merge.overlap",
                    f"sample {sample[1]} of {sample[0]} is in two of the runs",
                    where=f"{other.folder.path} (shard {other.name}) and {shard.folder.path} (shard {shard.name})",
                    fix="name each shard once",
                )


def _check_whole(shards: Sequence[Shard], config: RunConfig) -> None:
    """Raises UsageError, naming the missing shards, unless all samples are there: the hash over all prompts says so."""
    identity = shards[0].folder.manifest.identity["tasks"]
    for task in config.tasks:
        prompts = hashlib.sha256()
        for group in _groups(shards, task.task):
            prompts.update(bytes.fromhex(group[0].sample.messages_sha256))
        if prompts.hexdigest() != _prompts_sha256(identity, task.task):
            number = _shards(shards[0].folder)
            absent = sorted(set(range(1, number + 1)) - {int(shard.name.partition("/")[0]) for shard in shards})
            raise UsageError(
                "merge.shards",
                f"{task.task}: these runs do not contain every sample",
                where=", ".join(f"{shard.folder.path} (shard {shard.name})" for shard in shards),
                why=_missing(shards, task.task, [f"{part}/{number}" for part in absent]),
                fix="run the missing shard with `kvl-eval run --shard I/N` and the same options",
            )


def _prompts_sha256(identity: Json, task: str) -> Json:
    """The hash over all prompts of a task that an identity holds."""
    own = identity.get(task) if isinstance(identity, dict) else None
    return own.get("prompt_text") if isinstance(own, dict) else None


def _missing(shards: Sequence[Shard], task: str, absent: Sequence[str]) -> str:
    parts = [shard.folder.manifest.data[task] for shard in shards]
    n, total = sum(part.n for part in parts), parts[0].total
    number = "" if total is None or total <= n else f"{total - n} of {total} samples are missing"
    return "; ".join(text for text in (f"no run of shard {', '.join(absent)}" if absent else "", number) if text)


# -- what the joined run holds ----------------------------------------------------------------------------------


def _groups(shards: Sequence[Shard], task: str) -> Iterator[Group]:
    """The plan's lines of one task by sample, in the data set's order."""
    streams = (_positioned(shard.folder, task) for shard in shards)
    for _, group in heapq.merge(*streams, key=itemgetter(0)):
        yield group


def _positioned(folder: RunFolder, task: str) -> Iterator[tuple[int, Group]]:
    group: Group = []
    position = 0
    for entry in folder.plan(task):
        if entry.sample.position is None:
            raise DataError(
                "merge.order",
                f"{folder.path / 'plan.jsonl'} has no positions of its samples",
                fix="use runs that were started with --shard",
            )
        if group and group[0].sample_id != entry.sample_id:
            yield position, group
            group = []
        group.append(entry)
        position = entry.sample.position
    if group:
        yield position, group


def _plan_lines(shards: Sequence[Shard], config: RunConfig) -> Iterator[bytes]:
    for task in config.tasks:
        for group in _groups(shards, task.task):
            for number, entry in enumerate(group):
                whole = replace(entry, sample=replace(entry.sample, position=None))
                yield plan_line(whole, first=number == 0)


def _records(shards: Sequence[Shard], task: str) -> Iterator[bytes]:
    """The records that count, each key once, shard after shard."""
    for shard in shards:
        for record in shard.folder.records(task):
            yield encode_line(encode_object(record))


def _replies(shards: Sequence[Shard], task: str) -> Iterator[bytes]:
    """Everything that judges said, shard after shard; usable replies last, as the last line of a prompt counts."""
    replies = [reply for shard in shards for reply in reply_lines(shard.folder, task)]
    return (encode_line(encode_object(reply)) for reply in sorted(replies, key=lambda reply: reply.status == "ok"))


def _manifest(shards: Sequence[Shard], config: RunConfig, created: datetime) -> Manifest:
    manifests = [shard.folder.manifest for shard in shards]
    first, planned = manifests[0], sum(shard.planned for shard in shards)
    return replace(
        first,
        status="interrupted",
        created=created.isoformat(timespec="seconds"),
        finished=None,
        command=tuple(provenance.command()),
        config=to_json(config),
        selection=replace(first.selection, shard=None),
        data={name: _data(name, manifests, config) for name in first.data},
        counts=AnswerCounts(planned=planned, pending=planned),
        resumes=(),
        merged=tuple(map(_origin, shards)),
    )


def _data(task: str, manifests: Sequence[Manifest], config: RunConfig) -> PlannedData:
    parts = [manifest.data[task] for manifest in manifests]
    n = sum(part.n for part in parts)
    return replace(
        parts[0],
        n=n,
        media=sum(part.media for part in parts),
        partial=partial_note(n, parts[0].total, config),
    )


def _origin(shard: Shard) -> MergedShard:
    """Where a part came from: a merged run says so for good."""
    manifest = shard.folder.manifest
    return MergedShard(
        shard=shard.name,
        run_id=manifest.run_id,
        created=manifest.created,
        finished=manifest.finished,
        command=manifest.command,
        code=manifest.code,
        environment=manifest.environment,
        plan_sha256=manifest.plan_sha256,
        resumes=manifest.resumes,
        device=manifest.model.device,
        lacking=shard.lacking,
    )


def shard_lines(shards: Sequence[Shard]) -> list[str]:
    """One line for each shard, and one for differences that no fingerprint holds."""
    devices = Counter(str(shard.folder.manifest.model.device) for shard in shards)
    notice = [f"note: the shards ran on different devices: {', '.join(devices)}"] if len(devices) > 1 else []
    return [*map(str, shards), *notice]
