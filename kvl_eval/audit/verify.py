"""Proves a run whole: everything planned is accounted for, nothing was changed, and scoring again gives the same.

Nothing in the run folder is written. What is found is one of
    damaged     a file does not hold what was written, or what it says contradicts another file
    incomplete  something planned has no record, or what is derived has not been made
    trace       left behind by a crash that the run has outlived; counts as damage under `strict`
    note        worth knowing, and in order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kvl_eval.audit.data_changes import data_changes
from kvl_eval.audit.shadow import score_again, shadow
from kvl_eval.errors import DataError, KvlEvalError
from kvl_eval.run.plan import MODEL_IDENTITY, differences, fingerprint_of
from kvl_eval.store.journal import Line, read_lines
from kvl_eval.store.record_schema import plan_faults, record_faults
from kvl_eval.store.records import Key
from kvl_eval.store.run_folder import RunFolder, legacy_key_of
from kvl_eval.store.shared_text import Holders, RecordReader
from kvl_eval.tasks import get_task
from kvl_eval.tasks.base import Task

Severity = Literal["damaged", "incomplete", "trace", "note"]
Lookup = Callable[[str], Task]
EXIT_CODES: Mapping[Severity, int] = {"damaged": 4, "incomplete": 3, "trace": 0, "note": 0}
STATES = ("ok", "failed", "pending")
STATUSES = ("planned", "running", "interrupted", "finished")
SHOWN = 20  # findings of one kind in the text


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: a stable code, file and line, and what is wrong."""

    severity: Severity
    code: str
    where: str
    what: str


class Damage(NamedTuple):
    """A line of records that cannot be read: code, file and line, and what is wrong."""

    code: str
    where: str
    what: str


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        counts: answers `planned`, `ok`, `failed`, `pending`.
        proven: what was checked and held, as short texts.
    """

    path: Path
    strict: bool = False
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)

    def add(self, severity: Severity, code: str, where: object, what: str) -> None:
        """Note one thing; under `strict` a trace is damage."""
        found: Severity = "damaged" if severity == "trace" and self.strict else severity
        self.findings.append(Finding(found, code, str(where), what))

    def has(self, severity: Severity) -> bool:
        """Whether anything that severe was found."""
        return any(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 whole, 3 incomplete, 4 damaged."""
        return max((EXIT_CODES[finding.severity] for finding in self.findings), default=0)

    @property
    def verdict(self) -> str:
        """`whole`, `incomplete` or `damaged`."""
        return {0: "whole", 3: "incomplete", 4: "damaged"}[self.exit_code]


def verify(folder: RunFolder, lookup: Lookup = get_task, *, strict: bool = False) -> Verification:
    """Check everything that can be checked without model and network.

    Raises: InputError `run.schema` for a run written by a newer version.
    """
    found = Verification(folder.path, strict)
    _check_manifest(folder, found)
    plan = _check_plan(folder, found)
    _check_samples(folder, plan, found)
    if not found.has("damaged"):
        _check_scores(folder, lookup, found)
        _check_data(folder, lookup, found)
    for left in sorted(folder.path.rglob(".*.tmp")):
        found.add("trace", "file.leftover", left, "left behind by a process that died while it wrote")
    return found


# -- run.json and plan.jsonl ------------------------------------------------------------------------------------


def _check_manifest(folder: RunFolder, found: Verification) -> None:
    path, manifest = folder.path / "run.json", folder.legacy_manifest
    if folder.problem is not None:
        found.add("damaged", "manifest.damaged", path, folder.problem)
        return
    for name in ("config_fingerprint", "identity", "selection", "config", "data", "counts", "plan_sha256"):
        if name not in manifest:
            found.add("damaged", "manifest.field", path, f"{name} is missing")
    if manifest.get("status") not in STATUSES:
        found.add("damaged", "manifest.field", path, f"status is {manifest.get('status')!r}")
    if fingerprint_of(manifest.get("identity", {})) != manifest.get("config_fingerprint"):
        found.add("damaged", "manifest.fingerprint", path, "config_fingerprint is not the hash of identity")
    if folder.status != "finished":
        found.add("incomplete", "run.status", path, f"the run is {folder.status}")
    if not found.findings:
        found.proven.append("run.json: its own hash and its fingerprint")


def _check_plan(folder: RunFolder, found: Verification) -> dict[str, set[Key]] | None:
    """The planned keys of each task; None where the plan is not to be trusted."""
    path, before = folder.path / "plan.jsonl", len(found.findings)
    if folder.problem is None:
        try:
            folder.check_plan()
        except DataError as error:
            found.add("damaged", "plan.damaged", path, error.why or error.message)
    planned: dict[str, set[Key]] = {}
    for line in read_lines(path):
        where = f"{path} line {line.number}"
        faults = [line.damage] if line.fields is None else plan_faults(line.fields)
        for fault in faults:
            found.add("damaged", "plan.line", where, fault)
        if line.fields is None or faults:
            continue
        keys = planned.setdefault(line.fields["task"], set())
        if legacy_key_of(line.fields) in keys:
            found.add("damaged", "plan.duplicate", where, f"{_shown(legacy_key_of(line.fields))} is planned twice")
        keys.add(legacy_key_of(line.fields))
    total = sum(len(keys) for keys in planned.values())
    stated = (folder.legacy_manifest.get("counts") or {}).get("planned", total)
    if stated != total and len(found.findings) == before:
        found.add("damaged", "plan.count", path, f"holds {total} answers to give, run.json says {stated}")
    if len(found.findings) > before:
        return None
    found.proven.append(f"plan.jsonl: {total} answers planned, every line's checksum and the file's")
    return planned


# -- samples/ ---------------------------------------------------------------------------------------------------


def _check_samples(folder: RunFolder, plan: dict[str, set[Key]] | None, found: Verification) -> None:
    names = list(folder.legacy_manifest.get("data") or plan or {})
    states: Counter[str] = Counter()
    damaged: list[Damage] = []
    for task in names:
        keys = None if plan is None else plan.get(task, set())
        states += _check_task(folder, task, keys, damaged, found)
    known = {folder.samples_path(task) for task in names}
    for path in sorted((folder.path / "samples").glob("*")):
        if path not in known and not path.name.endswith(".tmp"):
            found.add("damaged", "record.unplanned", path, "no planned task has records of that name")
    for code, where, what in damaged:
        found.add("damaged" if plan is None or states["pending"] else "trace", code, where, what)
    for path in sorted((folder.path / "judge").glob("*.jsonl")):
        for line in read_lines(path):
            if line.fields is None:
                found.add("damaged", "judge.damaged", f"{path} line {line.number}", line.damage)
    if plan is None:
        return
    found.counts = {"planned": sum(map(len, plan.values())), **{name: states[name] for name in STATES}}
    _check_counts(folder, found)


def _check_task(
    folder: RunFolder, task: str, planned: set[Key] | None, damaged: list[Damage], found: Verification
) -> Counter[str]:
    """How many answers of a task are ok, failed and pending."""
    path, states, replaced = folder.samples_path(task), {}, 0
    fingerprint = folder.legacy_manifest.get("config_fingerprint") if folder.problem is None else None
    for line, record in _whole_records(folder, path, damaged, found):
        where = f"{path} line {line.number}"
        faults = record_faults(record)
        fingerprint = fingerprint or record.get("config_fingerprint")
        faults += [] if faults else _foreign(record, task, fingerprint)
        for fault in faults:
            found.add("damaged", "record.fault", where, fault)
        if faults:
            continue
        key = legacy_key_of(record)
        if planned is not None and key not in planned:
            found.add("damaged", "record.unplanned", where, f"{_shown(key)} is not in the plan")
            continue
        replaced += key in states
        states[key] = record["status"]
    if replaced:
        found.add("note", "record.replaced", path, f"{replaced} records were replaced by later ones of the same key")
    if planned is None:
        return Counter(states.values())
    pending = sorted(planned - set(states), key=str)
    for key in pending:
        found.add("incomplete", "record.missing", path, f"{_shown(key)} has no record")
    return Counter({**Counter(states.values()), "pending": len(pending)})


def _whole_records(
    folder: RunFolder, path: Path, damaged: list[Damage], found: Verification
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each line that can be read, with its record made whole.

    A line without an end is what a crash leaves, but not in a finished run. A record whose beginning lies in a line
    that is not there counts as pending, like a damaged one.
    """
    holders = Holders()
    reader = RecordReader(path, holders.offsets)
    try:
        for line in read_lines(path):
            where = f"{path} line {line.number}"
            if line.torn and folder.status != "finished":
                found.add("trace", "record.torn", where, f"{line.damage}, as a crash leaves it")
            elif line.fields is None:
                damaged.append(Damage("record.damaged", where, line.damage))
            elif dangling := holders.see(line):
                damaged.append(Damage("record.dangling", where, dangling))
            else:
                yield line, reader.at(line.offset) if line.offset in holders.offsets else line.fields
    finally:
        reader.close()


def _foreign(fields: Mapping[str, Any], task: str, fingerprint: str | None) -> Iterator[str]:
    if fields["task"] != task:
        yield f"is a record of task {fields['task']!r}"
    if fields["config_fingerprint"] != fingerprint:
        yield f"is of another run: config_fingerprint {fields['config_fingerprint']} → {fingerprint}"


def _check_counts(folder: RunFolder, found: Verification) -> None:
    counts = found.counts
    if counts["failed"]:
        found.add("note", "record.failed", folder.path / "samples", f"{counts['failed']} answers failed, with a reason")
    if folder.problem is None and folder.legacy_manifest.get("status") == "finished":
        stated = folder.legacy_manifest.get("counts") or {}
        failed = sum((stated.get("failed") or {}).values())
        if (stated.get("ok"), failed, stated.get("pending")) != tuple(counts[name] for name in STATES):
            what = ", ".join(f"{counts[name]} {name}" for name in STATES)
            said = f"{stated.get('ok')} ok, {failed} failed, {stated.get('pending')} pending"
            found.add("damaged", "record.count", folder.path / "samples", f"holds {what}; run.json says {said}")
    if not found.has("damaged") and not counts["pending"]:
        found.proven.append(f"samples/: {counts['ok']} ok and {counts['failed']} failed, checksum and fields of each")


# -- what is derived --------------------------------------------------------------------------------------------


def _check_scores(folder: RunFolder, lookup: Lookup, found: Verification) -> None:
    path, before = folder.path / "results.json", len(found.findings)
    try:
        stored = folder.legacy_results()
        rows = {_row_key(row): row for row in stored["rows"]}
    except (DataError, KeyError, TypeError) as error:
        is_there = path.exists()
        what = f"cannot be read: {error}" if is_there else "is missing; `kvl-eval score` makes it"
        found.add("damaged" if is_there else "incomplete", "results.missing", path, what)
        return
    wanted = {(row["task"], row["protocol"], row["thinking"]) for row in stored["rows"]}
    with shadow(folder) as again:
        try:
            score_again(again, wanted, lookup)
            new = {_row_key(row): row for row in again.legacy_results()["rows"]}
        except KvlEvalError as error:
            found.add("incomplete", "scores.unchecked", path, f"cannot be scored again: {error.message}")
            return
        for key, change in _row_changes(rows, new):
            if key[-1] is None or not _judged_again(rows.get(key), new.get(key)):
                _stale(folder, found, "results.differ", path, change)
            else:
                found.add("incomplete", "results.judge", path, f"{change}; `kvl-eval score` writes it anew")
        _check_score_files(folder, again, found)
    for change in differences(_origin(stored), _origin(folder.legacy_manifest)):
        found.add("damaged", "results.differ", path, f"{change} (results.json → run.json)")
    if len(found.findings) == before:
        found.proven.append(f"results.json and scores/: {len(rows)} rows, equal when scored again")


def _origin(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What results.json repeats of run.json and a change of device leaves alone."""
    model = fields.get("model") or {}
    identity = {name: value for name, value in model.items() if name.startswith(MODEL_IDENTITY)}
    return {"created": fields.get("created"), "demo": bool(fields.get("demo")), "model": identity}


def _row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("task", "split", "budget", "policy", "protocol", "thinking", "judge")
    return tuple(row.get(name) for name in names)


def _judged_again(stored: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    """Whether replies came after the results were written: a crash between the two leaves it so."""
    return new is not None and (stored is None or stored["n_scored"] < new["n_scored"])


def _row_changes(stored: Mapping[Any, Any], new: Mapping[Any, Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    for key in dict.fromkeys((*stored, *new)):
        name = " ".join(str(part) for part in key if part is not None)
        if key not in new:
            yield key, f"{name}: scoring again gives no such row"
        elif key not in stored:
            yield key, f"{name}: the row is missing"
        elif changes := differences(stored[key], new[key]):
            yield key, f"{name}: {'; '.join(changes[:SHOWN])}"


def _stale(folder: RunFolder, found: Verification, code: str, where: object, what: str) -> None:
    """What is derived may lag behind the records of a run that has not finished."""
    done = folder.status == "finished"
    found.add("damaged" if done else "incomplete", code, where, f"{what} (stored → scored again)")


def _check_score_files(folder: RunFolder, again: RunFolder, found: Verification) -> None:
    stored = {path.name: path for path in sorted((folder.path / "scores").glob("*.jsonl"))}
    for new in sorted((again.path / "scores").glob("*.jsonl")):
        path = stored.pop(new.name, None)
        if path is None:
            where = folder.path / "scores" / new.name
            found.add("incomplete", "scores.missing", where, "is missing; `kvl-eval score` makes it")
        elif change := _first_change(path, new):
            _stale(folder, found, "scores.differ", *change)
    for path in stored.values():  # of another version, or of a protocol that results.json has no row for
        for line in read_lines(path):
            if line.fields is None:
                found.add("damaged", "scores.damaged", f"{path} line {line.number}", line.damage)


def _first_change(stored: Path, new: Path) -> tuple[str, str] | None:
    with open(stored, "rb") as left, open(new, "rb") as right:
        for number, (before, after) in enumerate(zip_longest(left, right), 1):
            if before != after:
                lacking = "a line too few" if before is None else "a line too many" if after is None else "differs"
                return f"{stored} line {number}", lacking
    return None


# -- the data set -----------------------------------------------------------------------------------------------


def _check_data(folder: RunFolder, lookup: Lookup, found: Verification) -> None:
    for task in data_changes(folder, lookup):
        if task.unreachable is not None:
            found.add("note", "data.unreachable", task.task, f"data set not compared: {task.unreachable}")
            continue
        for sample_id, what in task.samples.items():
            found.add("damaged", "data.changed", f"{task.task} {sample_id}", f"changed since the run: {what}")
        if task.elsewhere:
            what = "its fingerprint changed since the run, in media or in samples that were not planned here"
            found.add("damaged", "data.changed", task.task, what)
        elif not task.samples:
            found.proven.append(f"data set of {task.task}: unchanged since the run")


def _shown(key: Key) -> str:
    """A key as text: the sample, and repeat and budget where there are several."""
    budget = "" if key.budget is None else f" budget {key.budget}"
    return f"{key.sample_id}{f' repeat {key.repeat}' if key.repeat else ''}{budget}"


# -- as text and JSON -------------------------------------------------------------------------------------------


def as_json(found: Verification) -> dict[str, Any]:
    """Everything found, as JSON values."""
    return {
        "run": str(found.path),
        "verdict": found.verdict,
        "exit_code": found.exit_code,
        "counts": found.counts,
        "proven": found.proven,
        "findings": [
            {"severity": one.severity, "code": one.code, "where": one.where, "what": one.what} for one in found.findings
        ],
    }


def as_text(found: Verification) -> str:
    """The findings, worst first, at most 20 of a kind; then what held, and the verdict."""
    lines = [f"proven      {text}" for text in found.proven]
    for severity in EXIT_CODES:
        lines += _kinds([one for one in found.findings if one.severity == severity])
    counts = ", ".join(f"{number} {name}" for name, number in found.counts.items())
    return "\n".join([*lines, f"{found.verdict:<11} {found.path}{f': {counts}' if counts else ''}"])


def _kinds(findings: Iterable[Finding]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for one in findings:
        seen[one.code] += 1
        if seen[one.code] <= SHOWN:
            yield f"{one.severity:<11} {one.code}  {one.where}: {one.what}"
    for code, number in seen.items():
        if number > SHOWN:
            yield f"{'':<11} {code}  and {number - SHOWN} more"
