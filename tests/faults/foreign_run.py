"""Run folders as a stranger would hand them over: changed and sealed again, which needs no secret."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[dict[str, Any]], None]


def seal(folder: Path, change: Change) -> None:
    """Change `run.json` and make its checksum (the sha256 of the file with that field emptied) fit."""
    path = folder / "run.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest.pop("sha256", None)
    manifest["sha256"] = ""

    def text() -> bytes:
        return (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")

    manifest["sha256"] = hashlib.sha256(text()).hexdigest()
    path.write_bytes(text())


def judge(url: str, variable: str) -> Change:
    facts = {"base_url": url, "model": "m", "key_env": variable, "max_connections": 1, "request_timeout": 5.0}
    facts |= {"max_retries": 0, "pause": 0.1}
    return lambda manifest: manifest["config"].update(judge=facts)


def endpoint(url: str, variable: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        manifest["config"].update(model="endpoint", family="endpoint")
        manifest["config"]["settings"].update(base_url=url, api_key_env=variable, model_args={})
        manifest["status"] = "interrupted"

    return change


def cluster(address: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        manifest["config"]["settings"].update(backend="ray", ray_address=address)
        manifest["status"] = "interrupted"

    return change


def interrupt(folder: Path) -> None:
    """Cut the last record off, and what was made of it."""
    [file] = (folder / "samples").glob("*.jsonl")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    shutil.rmtree(folder / "scores", ignore_errors=True)
    (folder / "results.json").unlink(missing_ok=True)
    seal(folder, lambda manifest: manifest.update(status="interrupted"))


def foreign(run: Path, new: Path, change: Change) -> Path:
    """A copy of `run` with another manifest."""
    shutil.copytree(run, new)
    seal(new, change)
    return new
