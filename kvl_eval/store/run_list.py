"""The runs below a folder of results, and `index.json`, which is derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvl_eval.decode import decode
from kvl_eval.errors import InputError
from kvl_eval.store.journal import SCHEMA, Disk
from kvl_eval.store.manifest import RunEntry
from kvl_eval.store.run_folder import RunFolder, json_text


def list_runs(output_dir: Path) -> list[RunEntry]:
    """The runs below `output_dir`, oldest first."""
    return [decode(RunEntry, run) for run in legacy_list_runs(output_dir)]


def legacy_list_runs(output_dir: Path) -> list[dict[str, Any]]:
    """The runs below `output_dir`, oldest first: run_id, path, status, created, model, tasks, counts."""
    found = []
    for path in sorted(output_dir.iterdir()) if output_dir.is_dir() else []:
        if not (path / "run.json").is_file():
            continue
        try:
            folder = RunFolder.open(path)
        except InputError:  # written by a newer version: it is there, more is not known
            found.append(_run_entry(path, "unreadable", {}))
        else:
            found.append(_run_entry(path, folder.status, folder.legacy_manifest))
    return sorted(found, key=lambda run: (str(run["created"]), run["run_id"]))


def _run_entry(path: Path, status: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": path.name,
        "path": str(path),
        "status": status,
        "created": manifest.get("created"),
        "model": (manifest.get("model") or {}).get("name"),
        "demo": bool(manifest.get("demo")),
        "tasks": list(manifest.get("data") or {}),
        "config_fingerprint": manifest.get("config_fingerprint"),
        "counts": manifest.get("counts"),
    }


def write_index(output_dir: Path, disk: Disk | None = None) -> None:
    """Write `index.json` anew from the manifests."""
    runs = [{**run, "path": Path(run["path"]).name} for run in legacy_list_runs(output_dir)]
    (disk or Disk()).replace(output_dir / "index.json", [json_text({"schema": SCHEMA, "runs": runs})])
