"""`config.yaml` of a run folder: its hash is in `run.json`; made again where it is gone, checked by `verify`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kvl_eval.errors import ConfigError, DataError
from kvl_eval.run.config import RunConfig, from_json, to_yaml
from kvl_eval.store.run_files import read_run_file
from kvl_eval.store.run_folder import RunFolder

LARGEST = 16 << 20  # bytes
FILE, PROMPT = "config.yaml", "prompt.txt"


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What became of one of these files."""

    path: Path
    what: Literal["missing", "changed"]


def config_files(config: RunConfig, path: Path) -> dict[str, bytes]:
    """Of a run folder at `path`: `config.yaml`, and `prompt.txt` where the user brought a prompt of their own."""
    own = {PROMPT: _prompt(config)} if config.prompt_text else {}
    return {**own, FILE: to_yaml(config, path / PROMPT if own else None).encode()}


def restore_config(folder: RunFolder) -> bool:
    """Write the files again where one is gone and none was changed; whether that was so. The lock must be held."""
    changes = list(config_changes(folder))
    if not changes or any(change.what == "changed" for change in changes):
        return False
    contents = config_files(from_json(folder.manifest.config), folder.path)
    for name, content in contents.items():
        folder.disk.replace(folder.path / name, [content])
    folder.save(replace(folder.manifest, config_sha256=hashlib.sha256(contents[FILE]).hexdigest()))
    return True


def config_changes(folder: RunFolder) -> Iterator[ConfigChange]:
    """Which of the files are gone, or are not what was written; nothing of a run without a configuration.

    A run of a version that stored no hash has one that cannot be compared.
    """
    manifest = folder.manifest
    if folder.problem is not None or not manifest.config:
        return
    try:
        config = from_json(manifest.config)
    except ConfigError:
        return
    path, own = folder.path / FILE, folder.path / PROMPT
    stored = _content(path)
    if stored is None:
        yield ConfigChange(path, "missing")
    elif manifest.config_sha256 not in (None, hashlib.sha256(stored).hexdigest()):
        yield ConfigChange(path, "changed")
    if config.prompt_text:
        prompt = _content(own)
        if prompt != _prompt(config):
            yield ConfigChange(own, "missing" if prompt is None else "changed")


def _prompt(config: RunConfig) -> bytes:
    return str(config.prompt_text).encode()


def _content(path: Path) -> bytes | None:
    """The bytes of a regular file; None where there is nothing; no bytes of anything but a file."""
    try:
        return read_run_file(path, LARGEST)
    except FileNotFoundError:
        return None
    except DataError:
        return b""
