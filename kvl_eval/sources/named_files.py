"""Single files of a hub data set, put where a task's own environment looks for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from kvl_eval.errors import StorageError
from kvl_eval.sources.base import STRICT, Reporter, Source
from kvl_eval.sources.hub import fetch_files


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file: its path in the data set, and where it goes, below a folder."""

    path: str
    place: str


def bring_named(
    source: Source, files: Sequence[NamedFile], home: Path, *, task: str, reporter: Reporter = STRICT
) -> list[str]:
    """Fetch those that are not below `home` yet, and return the paths of those that the data set does not have.

    Without anything to fetch no request is sent. Raises: DataError as `fetch_files`; StorageError.
    """
    lacking = [file for file in files if not (home / file.place).is_file()]
    if not lacking:
        return []
    patterns = [escape(path) for path in dict.fromkeys(file.path for file in lacking)]
    snapshot = fetch_files(replace(source, data_dir=None), patterns, task=task, reporter=reporter).data_dir
    assert snapshot is not None
    absent = []
    for file in lacking:
        if (snapshot / file.path).is_file():
            _put(snapshot / file.path, home / file.place)
        else:
            absent.append(file.path)
    return absent


def _put(path: Path, target: Path) -> None:
    """A copy, not a link: the environment writes into the folder. Raises StorageError."""
    draft = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, draft)
        os.replace(draft, target)
    except OSError as error:
        raise StorageError(
            "storage.write",
            f"cannot write {target}",
            why=error.strerror or str(error),
            fix="run the same command again to continue",
        ) from None
