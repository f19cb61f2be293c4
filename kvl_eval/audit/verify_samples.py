"""Whether every planned answer has its record, and every record was planned and is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from kvl_eval.audit.verification import STATES, Verification, key_text
from kvl_eval.decode import decode
from kvl_eval.errors import DecodeError
from kvl_eval.store.journal import read_lines
from kvl_eval.store.records import Key, Record, text_sha256
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.task_records import SampleLine, packed_path, sample_lines
from kvl_eval.types import TokenCounts

Planned = Mapping[str, set[Key]]
"""{task: its planned keys}."""


class Damage(NamedTuple):
    """A line of records that cannot be read: code, file and line, and what is wrong."""

    code: str
    where: str
    what: str


def check_samples(folder: RunFolder, plan: Planned | None, proof: Verification) -> None:
    """Look at every record; `plan` is None where it is not to be trusted."""
    names = list(folder.manifest.data or plan or {})
    states: Counter[str] = Counter()
    damaged: list[Damage] = []
    for task in names:
        states += _check_task(folder, task, None if plan is None else plan.get(task, set()), damaged, proof)
    known = {path for task in names for path in (folder.samples_path(task), packed_path(folder.samples_path(task)))}
    for path in sorted((folder.path / "samples").glob("*")):
        if path not in known and not path.name.endswith(".tmp"):
            proof.add("damaged", "record.unplanned", path, "no planned task has records of this name")
    for damage in damaged:
        proof.add("damaged" if plan is None or states["pending"] else "trace", *damage)
    for path in sorted((folder.path / "judge").glob("*.jsonl")):
        for line in read_lines(path):
            if line.fields is None:
                proof.add("damaged", "judge.damaged", f"{path} line {line.number}", line.damage)
    if plan is None:
        return
    proof.counts = {"planned": sum(map(len, plan.values())), **{name: states[name] for name in STATES}}
    _check_counts(folder, proof)


def _check_task(
    folder: RunFolder, task: str, planned: set[Key] | None, damaged: list[Damage], proof: Verification
) -> Counter[str]:
    """How many answers of a task are ok, failed and pending."""
    path, replaced = folder.samples_path(task), 0
    states: dict[Key, str] = {}
    digests: dict[Key, int] = {}
    fingerprint = folder.manifest.config_fingerprint if folder.problem is None else None
    for line in _readable(folder, path, damaged, proof):
        try:
            record = decode(Record, line.fields)
        except DecodeError as error:
            damaged.append(Damage("record.damaged", line.where, f"not a record: {error.message}"))
            continue
        fingerprint = fingerprint or record.config_fingerprint
        faults = [*_uncounted(line.fields), *_faults(record), *_foreign(record, task, fingerprint)]
        for fault in faults:
            proof.add("damaged", "record.fault", line.where, fault)
        if faults:
            continue
        if planned is not None and record.key not in planned:
            proof.add("damaged", "record.unplanned", line.where, f"{key_text(record.key)} is not in the plan")
            continue
        replaced += record.key in states and digests[record.key] != line.digest
        digests[record.key] = line.digest
        states[record.key] = record.status
    if replaced:
        proof.add(
            "note", "record.replaced", path, f"{replaced} records were superseded by later ones for the same sample"
        )
    if planned is None:
        return Counter(states.values())
    pending = sorted(planned - set(states), key=str)
    for key in pending:
        proof.add("incomplete", "record.missing", path, f"{key_text(key)} has no record")
    return Counter({**Counter(states.values()), "pending": len(pending)})


def _readable(folder: RunFolder, path: Path, damaged: list[Damage], proof: Verification) -> Iterator[SampleLine]:
    """Each line that can be read. A line without an end is a crash's, but not in a finished run."""
    for line in sample_lines(path):
        if line.torn and folder.status != "finished":
            proof.add("trace", "record.torn", line.where, f"{line.damage}, as after a crash")
        elif line.fields is None:
            damaged.append(Damage("record.damaged", line.where, line.damage))
        else:
            yield line


def _uncounted(stored: object) -> Iterator[str]:
    """Counts that a record lacks, whose types would read them as 0."""
    tokens = stored.get("tokens") if isinstance(stored, dict) else None
    for count in fields(TokenCounts):
        if isinstance(tokens, dict) and count.name not in tokens:
            yield f"tokens.{count.name} is missing"


def _faults(record: Record) -> Iterator[str]:
    """What no type says."""
    if record.status == "failed" and not record.reason:
        yield "a failed record has no reason"
    if text_sha256(record.prompt_text) != record.prompt_sha256:
        yield "prompt_sha256 is not the hash of prompt_text"


def _foreign(record: Record, task: str, fingerprint: str | None) -> Iterator[str]:
    if record.task != task:
        yield f"belongs to task {record.task!r}"
    if record.config_fingerprint != fingerprint:
        yield f"belongs to another run: config_fingerprint {record.config_fingerprint} → {fingerprint}"


def _check_counts(folder: RunFolder, proof: Verification) -> None:
    counts, stated = proof.counts, folder.manifest.counts
    if counts["failed"]:
        proof.add(
            "note", "record.failed", folder.path / "samples", f"{counts['failed']} answers failed, each with a reason"
        )
    if folder.problem is None and folder.manifest.status == "finished" and stated is not None:
        failed = sum(stated.failed.values())
        if (stated.ok, failed, stated.pending) != tuple(counts[name] for name in STATES):
            what = ", ".join(f"{counts[name]} {name}" for name in STATES)
            claim = f"{stated.ok} ok, {failed} failed, {stated.pending} pending"
            proof.add("damaged", "record.count", folder.path / "samples", f"contains {what}, but run.json says {claim}")
    if not proof.has("damaged") and not counts["pending"]:
        proof.proven.append(
            f"samples/: {counts['ok']} ok and {counts['failed']} failed, checksum and fields of each record"
        )
