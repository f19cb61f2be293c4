"""The runs of a results folder, and `index.json`, which is derived from them.

`index.json` holds what `list_runs` says of each run, and which files that was read from. A run whose files have not
changed since is not opened again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvl_eval.decode import DEFAULT_LIMITS, decode, encode_object, read_json
from kvl_eval.errors import DataError, DecodeError, InputError
from kvl_eval.store.journal import SCHEMA, Disk
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.manifest_file import json_text
from kvl_eval.store.result_records import ResultRow
from kvl_eval.store.run_entry import RunEntry, RunScore
from kvl_eval.store.run_files import open_run_file, read_run_file
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.run_lock import is_held
from kvl_eval.store.run_names import INDEX

SOURCES = ("run.json", "results.json")  # files of a run that an entry is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`index.json`.

    Attributes:
        schema: 1.
        runs:   oldest first; their paths are folder names.
        files:  {folder name: the files its entry was made of, as `_stamp` says}.
    """

    schema: int = SCHEMA
    runs: tuple[RunEntry, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def list_runs(output_dir: Path) -> list[RunEntry]:
    """The runs below `output_dir`, oldest first. Writes nothing."""
    return [entry for entry, _ in _stamped_runs(output_dir)]


def write_index(output_dir: Path, disk: Disk | None = None) -> None:
    """Write `index.json` again from the runs."""
    runs = _stamped_runs(output_dir)
    index = Index(
        runs=tuple(replace(entry, path=entry.run_id) for entry, _ in runs),
        files={entry.run_id: stamp for entry, stamp in runs if entry.status != "unreadable"},
    )
    (disk or Disk()).replace(output_dir / INDEX, [json_text(encode_object(index))])


def _stamped_runs(output_dir: Path) -> list[tuple[RunEntry, str]]:
    """Entries, oldest first, each with the stamp of the files it was made of."""
    folders = sorted(output_dir.iterdir()) if output_dir.is_dir() else []
    index = _read_index(output_dir / INDEX)
    known = {entry.run_id: entry for entry in index.runs}
    runs = []
    for path in folders:
        if not (path / "run.json").is_file():
            continue
        stamp = _stamp(path)  # before the files are read: a later change makes the entry old
        entry = known.get(path.name)
        if entry is None or index.files.get(path.name) != stamp:
            entry = _run_entry(path)
        runs.append((_as_of_now(replace(entry, path=str(path))), stamp))
    return sorted(runs, key=lambda run: (str(run[0].created), run[0].run_id))


def _read_index(path: Path) -> Index:
    """What `index.json` holds; nothing where it is missing, damaged or of another version."""
    try:
        return decode(Index, read_json(read_run_file(path, DEFAULT_LIMITS.size)))
    except (DecodeError, DataError, OSError):
        return Index()


def _stamp(path: Path) -> str:
    """Inode, time and size of the files an entry is made of. They are replaced as a whole, so each has a new inode."""
    parts = []
    for name in SOURCES:
        try:
            found = os.stat(path / name)
        except OSError:
            parts.append("-")
        else:
            parts.append(f"{found.st_ino}:{found.st_mtime_ns}:{found.st_size}")
    return " ".join(parts)


def _as_of_now(entry: RunEntry) -> RunEntry:
    """A run whose process is gone is interrupted. Of a run that did not end in order the records are counted."""
    if entry.status not in ("planned", "running"):
        return entry
    lines = sum(map(_line_count, (Path(entry.path) / "samples").glob("*.jsonl")))
    entry = replace(entry, answered=lines if entry.planned is None else min(lines, entry.planned))
    is_gone = entry.status == "running" and not is_held(Path(entry.path))
    return replace(entry, status="interrupted") if is_gone else entry


def _line_count(path: Path) -> int:
    try:
        with open_run_file(path) as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except (OSError, DataError):
        return 0


def _run_entry(path: Path) -> RunEntry:
    try:
        folder = RunFolder.open(path)
    except InputError as error:  # such as one written by a newer version: it is there, more is not known
        return _unreadable(path, error.message)
    if folder.problem is not None:
        return _unreadable(path, folder.problem)
    manifest = folder.manifest
    protocol, counts = manifest.config.get("protocol"), manifest.counts
    return RunEntry(
        run_id=path.name,
        path=str(path),
        status=manifest.status,
        created=manifest.created,
        finished=manifest.finished,
        model=manifest.model.name,
        demo=manifest.demo,
        tasks=tuple(manifest.data),
        protocol=protocol if isinstance(protocol, str) else None,
        config_fingerprint=manifest.config_fingerprint,
        counts=counts,
        planned=None if counts is None else counts.planned,
        answered=None if counts is None else counts.planned - counts.pending,
        results=_scores(folder),
        parent=None if manifest.parent is None else manifest.parent.run,
    )


def _unreadable(path: Path, why: str) -> RunEntry:
    return RunEntry(run_id=path.name, path=str(path), status="unreadable", reason=why)


def _scores(folder: RunFolder) -> tuple[RunScore, ...]:
    """The run's results under each protocol, of several judges the newest one's; none where they cannot be read."""
    try:
        rows = folder.results().rows
    except DataError:
        return ()
    latest = {(row.task, row.split, row.budget, row.policy, row.protocol, row.thinking): row for row in rows}
    return tuple(_score(row, folder.manifest) for row in latest.values())


def _score(row: ResultRow, manifest: Manifest) -> RunScore:
    data = manifest.data.get(row.task)
    return RunScore(
        task=row.task,
        split=row.split,
        budget=row.budget,
        policy=row.policy,
        protocol=row.protocol,
        label=row.label,
        n=row.n_scored,
        n_planned=row.n_planned,
        n_total=None if data is None else data.total,
        score=row.score,
        ci95=row.ci95,
        unit=row.unit,
        partial=row.partial,
    )
