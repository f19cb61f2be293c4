"""Room on a disk, asked for before something large is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from kvl_eval.errors import StorageError


def require_space(folder: Path, needed: int, what: str = "") -> None:
    """Raise StorageError `storage.full` where a folder's disk has no room for so many bytes; `what` names them."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            "storage.full",
            f"not enough space in {folder} for {needed / 1e9:.1f} GB{what and f' of {what}'}",
            why=f"{free / 1e9:.1f} GB are free",
            fix="free some space or use another folder with --cache-dir, then run the same command again to continue",
        )
