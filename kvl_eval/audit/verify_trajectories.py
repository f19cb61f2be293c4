"""Whether the journals and screens of agents' episodes are whole, and say what the records say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kvl_eval.audit.verification import Verification, key_text
from kvl_eval.decode import encode_object, read_json
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.scorers.episode import episode_answer
from kvl_eval.store.evidence import read_evidence
from kvl_eval.store.records import Record, text_sha256
from kvl_eval.store.run_files import open_run_file
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import MEDIA, StoredTrajectory, read_trajectory, screen_name, trajectory_name

CHUNK = 1 << 20  # bytes


def check_trajectories(folder: RunFolder, proof: Verification) -> None:
    """Look at the journal of every recorded episode, and at every screen that one of them names."""
    before, journals = len(proof.findings), 0
    screens: dict[str, Path] = {}  # {hash: a journal that names it}
    evidence: dict[str, Path] = {}  # the same
    for task in _tasks_of_agents(folder):
        for record in folder.records(task):
            if record.extra.trajectory is None and record.status == "failed":
                continue  # no episode began
            path = folder.path / trajectory_name(task, record.sample_id, record.repeat)
            trajectory = _journal(record, path, folder.path, proof)
            if trajectory is not None:
                journals += 1
                screens.update(dict.fromkeys(_screens(trajectory), path))
                evidence.update(dict.fromkeys(_evidence(trajectory), path))
    for sha256, journal in sorted(screens.items()):
        _check_screen(folder.path / MEDIA / screen_name(sha256), sha256, journal, proof)
    for sha256 in sorted(evidence):
        try:
            read_evidence(folder.path, sha256)
        except DataError as error:
            proof.add("damaged", "evidence.unusable", error.where or evidence[sha256], error.why or error.message)
    if journals and len(proof.findings) == before:
        proof.proven.append(f"trajectories/: {journals} journals agree with their records")
        proof.proven.append(f"media/: hash of each of {len(screens)} screens")
        if evidence:
            proof.proven.append(f"evidence/: hash of each of {len(evidence)} files")


def _tasks_of_agents(folder: RunFolder) -> Iterator[str]:
    tasks = folder.manifest.config.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict) and task.get("episode") is not None:
            yield str(task.get("task"))


def _journal(record: Record, path: Path, run: Path, proof: Verification) -> StoredTrajectory | None:
    """The journal of a record; None where it cannot be read."""
    if record.extra.trajectory != path.relative_to(run).as_posix():
        proof.add("damaged", "trajectory.name", path, f"{key_text(record.key)} names another journal")
        return None
    if not path.is_file():
        proof.add("damaged", "trajectory.missing", path, f"{key_text(record.key)} has no journal")
        return None
    try:
        trajectory = read_trajectory(path)
    except DataError as error:
        proof.add("damaged", "trajectory.damaged", error.where or path, error.why or error.message)
        return None
    for fault in _faults(record, trajectory):
        proof.add("damaged", "trajectory.fault", path, fault)
    return trajectory


def _faults(record: Record, trajectory: StoredTrajectory) -> Iterator[str]:
    head, outcome = trajectory.head, trajectory.outcome
    if (head.task, head.sample_id, head.repeat) != (record.task, record.sample_id, record.repeat):
        yield "belongs to another sample"
    if head.config_fingerprint != record.config_fingerprint:
        yield "belongs to another run"
    if any(text_sha256(step.prompt_text) != step.prompt_sha256 for step in trajectory.steps):
        yield "prompt_sha256 is not the hash of prompt_text"
    if record.status == "ok":
        if outcome is None or outcome.value is None:
            yield "has no outcome, but its record has a value"
        elif record.answer != _answer(trajectory, outcome.value):
            yield f"its outcome is not that of its record, {record.answer!r}"
        if _recorded_actions(record) != [encode_object(action) for step in trajectory.steps for action in step.actions]:
            yield "its actions are not those of its record"


def _answer(trajectory: StoredTrajectory, value: float) -> str:
    """What a record says of an outcome with this value."""
    outcome, parses = trajectory.outcome, [step.parse for step in trajectory.steps]
    if outcome is None:
        return ""
    return episode_answer(
        value, outcome.ended_by, outcome.steps, parses.count("unsupported"), parses.count("unparsable")
    )


def _recorded_actions(record: Record) -> object:
    try:
        return read_json(record.raw_output.encode())
    except DecodeError:
        return None


def _screens(trajectory: StoredTrajectory) -> Iterator[str]:
    yield from (step.screenshot_sha256 for step in trajectory.steps)
    if trajectory.outcome is not None and trajectory.outcome.screenshot_sha256 is not None:
        yield trajectory.outcome.screenshot_sha256


def _evidence(trajectory: StoredTrajectory) -> Iterator[str]:
    checks = () if trajectory.outcome is None else trajectory.outcome.evaluator
    yield from (check.evidence for check in checks if check.evidence is not None)


def _check_screen(path: Path, sha256: str, journal: Path, proof: Verification) -> None:
    try:
        with open_run_file(path) as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        proof.add("damaged", "screen.missing", path, f"{journal} names it")
        return
    except DataError as error:
        proof.add("damaged", "screen.unreadable", path, error.message)
        return
    if digest.hexdigest() != sha256:
        proof.add("damaged", "screen.changed", path, "its content is not what its name says")
