"""Proves a run whole: everything planned is accounted for, nothing was changed, and scoring again gives the same.

Nothing in the run folder is written. What is found is one of
    damaged     a file does not hold what was written, or what it says contradicts another file
    incomplete  something planned has no record, or what is derived has not been made
    trace       left behind by a crash that the run has outlived; counts as damage under `strict`
    note        worth knowing, and in order
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvl_eval.audit.data_changes import data_changes
from kvl_eval.audit.verification import Verification, key_text
from kvl_eval.audit.verify_samples import Planned, check_samples
from kvl_eval.audit.verify_scores import check_scores
from kvl_eval.audit.verify_trajectories import check_trajectories
from kvl_eval.decode import decode, read_json
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.run.fingerprint import fingerprint_of
from kvl_eval.run.stored_config import config_changes
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import StoredLine, read_lines
from kvl_eval.store.records import Key, PlanEntry, PlannedSample
from kvl_eval.store.run_folder import RunFolder

FIELDS = ("config_fingerprint", "identity", "selection", "config", "data", "counts", "plan_sha256")


def verify(run: RunReader, *, strict: bool = False) -> Verification:
    """Check everything that can be checked without model and network.

    Raises: InputError `run.schema` for a run written by a newer version.
    """
    folder = run.folder
    proof = Verification(folder.path, strict)
    _check_manifest(folder, proof)
    plan = _check_plan(folder, proof)
    with _as_damage(proof):
        _check_parent(folder, proof)
    with _as_damage(proof):
        check_samples(folder, plan, proof)
    with _as_damage(proof):
        check_trajectories(folder, proof)
    if not proof.has("damaged"):
        with _as_damage(proof):
            check_scores(run, proof)
            _check_data(run, proof)
    for path in sorted(folder.path.rglob(".*.tmp")):
        proof.add("trace", "file.leftover", path, "left by a process that crashed while writing")
    return proof


@contextmanager
def _as_damage(proof: Verification) -> Iterator[None]:
    """A file that cannot be read costs what rests on it, and is named."""
    try:
        yield
    except DataError as error:
        proof.add("damaged", "file.unreadable", error.where or proof.path, error.message)


def _check_manifest(folder: RunFolder, proof: Verification) -> None:
    path, manifest = folder.path / "run.json", folder.manifest
    if folder.problem is not None:
        proof.add("damaged", "manifest.damaged", path, folder.problem)
        return
    stored = read_json(path.read_bytes())
    for name in FIELDS:
        if not isinstance(stored, dict) or name not in stored:
            proof.add("damaged", "manifest.field", path, f"{name} is missing")
    if manifest.status == "unknown":
        proof.add("damaged", "manifest.field", path, "status is 'unknown'")
    if fingerprint_of(manifest.identity) != manifest.config_fingerprint:
        proof.add("damaged", "manifest.fingerprint", path, "config_fingerprint is not the hash of identity")
    if folder.status != "finished":
        proof.add("incomplete", "run.status", path, f"the run is {folder.status}")
    if not proof.findings:
        proof.proven.append("run.json: hash and fingerprint")
    _check_config(folder, proof)


def _check_config(folder: RunFolder, proof: Verification) -> None:
    changes = list(config_changes(folder))
    for change in changes:
        again = f"`kvl-eval score {folder.path}` writes it again"
        if change.what == "missing":
            proof.add("note", "config.missing", change.path, f"is missing; {again}")
        else:
            proof.add(
                "damaged", "config.changed", change.path, f"differs from what was written; delete it, then {again}"
            )
    if not changes and folder.manifest.config_sha256 is not None:
        proof.proven.append("config.yaml: hash")


def _check_plan(folder: RunFolder, proof: Verification) -> Planned | None:
    """The planned keys of each task; None where the plan is not to be trusted."""
    path, before = folder.path / "plan.jsonl", len(proof.findings)
    if folder.problem is None:
        try:
            folder.check_plan()
        except DataError as error:
            proof.add("damaged", "plan.damaged", path, error.why or error.message)
    planned: dict[str, set[Key]] = {}
    with _as_damage(proof):
        for line in read_lines(path):
            where = f"{path} line {line.number}"
            try:
                entry = _entry(line)
            except DecodeError as error:
                proof.add("damaged", "plan.line", where, error.message)
                continue
            keys = planned.setdefault(entry.task, set())
            if entry.key in keys:
                proof.add("damaged", "plan.duplicate", where, f"{key_text(entry.key)} is planned twice")
            keys.add(entry.key)
    total = sum(len(keys) for keys in planned.values())
    counts = folder.manifest.counts
    if counts is not None and counts.planned != total and len(proof.findings) == before:
        proof.add("damaged", "plan.count", path, f"plans {total} answers, but run.json says {counts.planned}")
    if len(proof.findings) > before:
        return None
    proof.proven.append(f"plan.jsonl: {total} answers planned, checksums of the file and of each line")
    return planned


def _check_parent(folder: RunFolder, proof: Verification) -> None:
    """Of a probe: its samples are those of the run that it asks again."""
    parent = folder.manifest.parent
    if parent is None:
        return
    path = folder.path.parent / parent.run
    if not (path / "plan.jsonl").is_file():
        proof.add("note", "parent.missing", path, "the run whose samples were asked again is not there")
        return
    theirs = RunFolder.open(path)
    if theirs.manifest.plan_sha256 != parent.plan:
        proof.add("damaged", "parent.changed", path, "is not the run whose samples were asked again")
        return
    tasks = set(folder.manifest.data)
    known = {(entry.task, entry.sample_id) for entry in theirs.plan() if entry.task in tasks}
    if strange := {(entry.task, entry.sample_id) for entry in folder.plan()} - known:
        proof.add(
            "damaged", "parent.samples", folder.path / "plan.jsonl", f"{len(strange)} samples are not of {path.name}"
        )
        return
    proof.proven.append(f"samples: those of {parent.run}")


def _entry(line: StoredLine) -> PlanEntry:
    """What a line of the plan asks for. Raises DecodeError; a sample's first line also says what its answers share."""
    if line.fields is None:
        raise DecodeError("input.form", line.damage)
    if "row" in line.fields:
        decode(PlannedSample, line.fields)
    return decode(PlanEntry, line.fields)


def _check_data(run: RunReader, proof: Verification) -> None:
    for task in data_changes(run):
        if task.unreachable is not None:
            proof.add("note", "data.unreachable", task.task, f"data set not compared: {task.unreachable}")
            continue
        for sample_id, what in task.samples.items():
            proof.add("damaged", "data.changed", f"{task.task} {sample_id}", f"changed since the run: {what}")
        if task.elsewhere:
            what = "its fingerprint changed since the run, in media or in samples outside this plan"
            proof.add("damaged", "data.changed", task.task, what)
        elif not task.samples:
            proof.proven.append(f"data set of {task.task}: unchanged since the run")
