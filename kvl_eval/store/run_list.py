"""The runs below a folder of results, and `index.json`, which is derived from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kvl_eval.decode import encode
from kvl_eval.errors import InputError
from kvl_eval.store.journal import SCHEMA, Disk
from kvl_eval.store.manifest import RunEntry
from kvl_eval.store.manifest_file import json_text
from kvl_eval.store.run_folder import RunFolder


def list_runs(output_dir: Path) -> list[RunEntry]:
    """The runs below `output_dir`, oldest first."""
    folders = sorted(output_dir.iterdir()) if output_dir.is_dir() else []
    runs = [_run_entry(path) for path in folders if (path / "run.json").is_file()]
    return sorted(runs, key=lambda run: (str(run.created), run.run_id))


def _run_entry(path: Path) -> RunEntry:
    try:
        folder = RunFolder.open(path)
    except InputError as error:  # such as one written by a newer version: it is there, more is not known
        return _unreadable(path, error.message)
    if folder.problem is not None:
        return _unreadable(path, folder.problem)
    manifest = folder.manifest
    return RunEntry(
        run_id=path.name,
        path=str(path),
        status=folder.status,
        created=manifest.created,
        model=manifest.model.name,
        demo=manifest.demo,
        tasks=tuple(manifest.data),
        config_fingerprint=manifest.config_fingerprint,
        counts=manifest.counts,
    )


def _unreadable(path: Path, why: str) -> RunEntry:
    return RunEntry(run_id=path.name, path=str(path), status="unreadable", reason=why)


def write_index(output_dir: Path, disk: Disk | None = None) -> None:
    """Write `index.json` anew from the manifests."""
    runs = [encode(replace(run, path=Path(run.path).name)) for run in list_runs(output_dir)]
    (disk or Disk()).replace(output_dir / "index.json", [json_text({"schema": SCHEMA, "runs": runs})])
