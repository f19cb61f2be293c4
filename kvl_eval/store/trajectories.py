"""Episodes of agents in a run folder: `trajectories/TASK/SAMPLE/REPEAT.jsonl`, and their screens in `media/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from kvl_eval.decode import DecodeError, decode
from kvl_eval.errors import DataError
from kvl_eval.store.journal import StoredLine, read_lines
from kvl_eval.store.trajectory_records import TrajectoryHead, TrajectoryOutcome, TrajectoryStep

FOLDER = "trajectories"
_REPEAT = re.compile(r"(\d+)\.jsonl")  # `0.1.jsonl` is an attempt that was abandoned
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEpisode:
    """One episode as its journal holds it.

    Attributes:
        task:    as the folder's name spells it; `sample_id` likewise.
        outcome: None where the episode was stopped, or goes still.
        damage:  lines that could not be read.
    """

    task: str
    sample_id: str
    repeat: int
    head: TrajectoryHead
    steps: tuple[TrajectoryStep, ...]
    outcome: TrajectoryOutcome | None
    damage: tuple[str, ...] = ()


def trajectories(run: Path) -> Iterator[StoredEpisode]:
    """The episodes of a run folder by task, sample and repeat; none without any.

    Raises: DataError `run.file` for a journal that lies outside the run, `run.damaged` for one without a head.
    """
    for path in sorted((run / FOLDER).glob("*/*/*.jsonl"), key=_order):
        if _REPEAT.fullmatch(path.name):
            if not path.resolve().is_relative_to(run.resolve()):
                raise DataError("run.file", f"{path} leads out of the run folder", fix="remove the link")
            yield read_trajectory(path)


def read_trajectory(path: Path) -> StoredEpisode:
    """The episode of a journal. Raises: DataError `run.damaged` where its first line is not a head, `run.file`."""
    lines = read_lines(path)
    first = next(lines, None)
    try:
        head = decode(TrajectoryHead, {} if first is None or first.fields is None else first.fields)
    except DecodeError as error:
        raise DataError(
            "run.damaged", "an episode's first line cannot be read", where=str(path), why=error.message
        ) from error
    steps: list[TrajectoryStep] = []
    damage: list[str] = []
    outcome: TrajectoryOutcome | None = None
    for line in lines:
        try:
            entry = _entry(line)
        except DecodeError as error:
            damage.append(f"line {line.number}: {error.message}")
            continue
        if isinstance(entry, TrajectoryOutcome):
            outcome = entry
        elif entry is not None:
            steps.append(entry)
        else:
            damage.append(f"line {line.number}: {line.damage}")
    repeat = _REPEAT.fullmatch(path.name)
    return StoredEpisode(
        task=unquote(path.parent.parent.name),
        sample_id=unquote(path.parent.name),
        repeat=int(repeat[1]) if repeat else 0,
        head=head,
        steps=tuple(steps),
        outcome=outcome,
        damage=tuple(damage),
    )


def screen_path(run: Path, sha256: str) -> Path | None:
    """Where a screen is stored; None for anything but a hash."""
    return run / "media" / f"{sha256}.png" if _SHA256.fullmatch(sha256) else None


def _entry(line: StoredLine) -> TrajectoryStep | TrajectoryOutcome | None:
    """What a line holds; None where it is damaged. Raises: DecodeError."""
    if line.fields is None:
        return None
    return decode(TrajectoryOutcome if "ended_by" in line.fields else TrajectoryStep, line.fields)


def _order(path: Path) -> tuple[str, str, int, str]:
    repeat = _REPEAT.fullmatch(path.name)
    return path.parent.parent.name, path.parent.name, int(repeat[1]) if repeat else 0, path.name
