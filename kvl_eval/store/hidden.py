"""Run folders that are being made: under a hidden name, until they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from kvl_eval.errors import UsageError
from kvl_eval.store.journal import is_running

SUFFIX = ".new"


def hidden_folder(output_dir: Path, name: str) -> Path:
    """A new, hidden folder below `output_dir`, which is made if need be; those of processes that are gone go.

    Raises: UsageError `output.unusable`.
    """
    path = output_dir / f".{name}.{uuid4().hex[:8]}.{os.getpid()}{SUFFIX}"
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for left in output_dir.glob(f".*{SUFFIX}"):
            pid = left.name.split(".")[-2]
            if pid.isdecimal() and not is_running(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
        (path / "samples").mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            "output.unusable",
            f"cannot create a run folder in {output_dir}",
            why=error.strerror or str(error),
            fix="use another --output-dir",
        ) from error
    return path


def free_names(output_dir: Path, name: str) -> Iterator[Path]:
    """`name`, `name-2`, ... below `output_dir`: up to a thousand that are not taken."""
    paths = (output_dir / (name if number == 1 else f"{name}-{number}") for number in range(1, 1000))
    return (path for path in paths if not path.exists())
