"""Journals of agents' episodes in a run folder, and the screens that they name.

    trajectories/TASK/SAMPLE/REPEAT.jsonl     the journal that counts
    trajectories/TASK/SAMPLE/REPEAT.1.jsonl   an earlier one: its episode was abandoned, or played again
    media/SHA256.png                          a screen, stored once
    evidence/SHA256                           what a value was computed from, stored once

An episode is never continued: a desktop cannot be brought back to the middle of one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.store.evidence import EVIDENCE, store_evidence
from kvl_eval.store.journal import DamagedLine, Disk, Journal, StoredLine, read_lines, storing
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_files import open_run_file
from kvl_eval.store.trajectory_records import TrajectoryHead, TrajectoryOutcome, TrajectoryStep

FOLDER = "trajectories"
MEDIA = "media"
CHUNK = 1 << 20  # bytes
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrajectory:
    """A journal as it is on the disk; without an outcome its episode was abandoned, or is still running.

    `damage` says of each line that could not be read which it is, and why.
    """

    head: TrajectoryHead
    steps: tuple[TrajectoryStep, ...]
    outcome: TrajectoryOutcome | None
    damage: tuple[str, ...] = ()


def trajectory_name(task: str, sample_id: str, repeat: int) -> str:
    """The journal of an episode, as a path below the run folder, with `/`."""
    return f"{FOLDER}/{file_name(task)}/{file_name(sample_id)}/{repeat}.jsonl"


def trajectory_path(run: Path, name: str) -> Path:
    """Where a journal is, by its name in a record. Raises StorageError `storage.outside` for one that leaves."""
    return OutputFolder(run).path(*name.split("/"))


def screen_name(sha256: str) -> str:
    """The file of a screen in `media/`."""
    return f"{sha256}.png"


def screen_path(run: Path, sha256: str) -> Path | None:
    """Where a screen is stored; None for anything but a hash."""
    return run / MEDIA / screen_name(sha256) if _SHA256.fullmatch(sha256) else None


def store_screen(run: Path, disk: Disk, sha256: str, png: bytes) -> Path:
    """Put a screen into `media/` unless it is there already. Raises StorageError."""
    folder = OutputFolder(run, disk)
    path = folder.path(MEDIA, screen_name(sha256))
    return path if path.is_file() else folder.write([png], MEDIA, screen_name(sha256))


class TrajectoryJournal:
    """The journal of one episode, open for writing. What an earlier episode left is kept under another name."""

    def __init__(self, run: Path, disk: Disk, head: TrajectoryHead) -> None:
        self.name = trajectory_name(head.task, head.sample_id, head.repeat)
        self.path = trajectory_path(run, self.name)
        self._run = run
        self._disk = disk
        set_aside(self.path)
        self._journal = Journal(self.path, disk)
        self._is_open = True
        self._journal.append(encode_object(head))

    def screen(self, sha256: str, png: bytes) -> None:
        """Store a screen, before the line that names it. Raises StorageError."""
        store_screen(self._run, self._disk, sha256, png)

    def evidence(self, content: bytes | None) -> str | None:
        """Store what a value was computed from, before the outcome, and return its hash. Raises StorageError."""
        return None if content is None else store_evidence(self._run, self._disk, content)

    def step(self, step: TrajectoryStep) -> None:
        """Write a step. Raises StorageError."""
        self._journal.append(encode_object(step))

    def end(self, outcome: TrajectoryOutcome) -> None:
        """Write the outcome, wait until all lies on the disk, and close. Raises StorageError."""
        self._journal.append(encode_object(outcome))
        self.close()

    def close(self) -> None:
        """Close the file; without an outcome the episode counts as abandoned. May be called twice."""
        if self._is_open:
            self._is_open = False
            self._journal.close()


def set_aside(path: Path) -> Path | None:
    """Give the journal of an earlier episode the first free name `REPEAT.k.jsonl`, and return that."""
    if not os.path.lexists(path):
        return None
    number = 1
    while os.path.lexists(other := path.with_name(f"{path.stem}.{number}.jsonl")):
        number += 1
    with storing(path):
        os.rename(path, other)
    return other


def trajectories(run: Path) -> Iterator[StoredTrajectory | DataError]:
    """The episodes of a run folder by task, sample and repeat, damage included; abandoned attempts are left out.

    The error stands in place of a journal whose first line cannot be read. Raises: StorageError `storage.outside` for a
    link that leaves the run.
    """
    for path in sorted((run / FOLDER).glob("*/*/*.jsonl"), key=_order):
        if not path.stem.isdecimal():
            continue
        journal = OutputFolder(run).path(*path.relative_to(run).parts)
        try:
            yield read_trajectory(journal, damaged=True)
        except DataError as error:
            yield error


def _order(path: Path) -> list[tuple[int, str]]:
    """By task, sample and repeat, numbers by their size."""
    return [
        (int(part) if part.isdecimal() else 0, part)
        for name in path.parts[-3:]
        for part in re.split(r"([0-9]{1,18})", name)
    ]


def read_trajectory(path: Path, *, damaged: bool = False) -> StoredTrajectory:
    """A journal in its parts; a torn last line is left out. With `damaged`, lines that cannot be read are listed.

    Raises: DataError `run.trajectory`, naming file and line, for a line that is damaged or out of place, in any case
    for the first.
    """
    head: TrajectoryHead | None = None
    outcome: TrajectoryOutcome | None = None
    steps: list[TrajectoryStep] = []
    damage: list[str] = []
    for line in read_lines(path):
        if line.torn:
            break
        try:
            part = _part(line)
            if outcome is not None or isinstance(part, TrajectoryHead) != (line.number == 1):
                raise DamagedLine("it is out of place")
        except DamagedLine as error:
            if not damaged or line.number == 1:
                raise _unreadable(f"{path} line {line.number}", str(error)) from error
            damage.append(f"line {line.number}: {error}")
            continue
        if isinstance(part, TrajectoryHead):
            head = part
        elif isinstance(part, TrajectoryOutcome):
            outcome = part
        else:
            steps.append(part)
    if head is None:
        raise _unreadable(str(path), "it has no first line")
    return StoredTrajectory(head=head, steps=tuple(steps), outcome=outcome, damage=tuple(damage))


def copy_trajectories(source: Path, target: Path, disk: Disk) -> None:
    """Put journals, screens and evidence of one run into another, those of abandoned episodes too.

    Raises: StorageError; DataError `run.file` for a file that is a link or not a file.
    """
    folder = OutputFolder(target, disk)
    files = [
        *(source / FOLDER).glob("*/*/*.jsonl"),
        *(source / MEDIA).glob("*.png"),
        *(source / EVIDENCE).glob("[0-9a-f]*"),
    ]
    for parts in sorted(path.relative_to(source).parts for path in files):
        with open_run_file(OutputFolder(source).path(*parts)) as file:
            folder.write(iter(partial(file.read, CHUNK), b""), *parts)


def _part(line: StoredLine) -> TrajectoryHead | TrajectoryStep | TrajectoryOutcome:
    """A line by what it holds: an outcome says what ended the episode, a step has a number. Raises DamagedLine."""
    fields = line.fields
    if fields is None:
        raise DamagedLine(line.damage)
    try:
        if "ended_by" in fields:
            return decode(TrajectoryOutcome, fields)
        return decode(TrajectoryStep, fields) if "n" in fields else decode(TrajectoryHead, fields)
    except DecodeError as error:
        raise DamagedLine(error.message) from error


def _unreadable(where: str, why: str) -> DataError:
    return DataError(
        "run.trajectory",
        "the journal of an episode cannot be read",
        where=where,
        why=why,
        fix="`kvl-eval resume RUN --rerun ID` plays the episode again",
    )
