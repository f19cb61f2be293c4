"""What every reader of tables shares: where to look, what a row is, and the columns it must have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kvl_eval.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where to look for a data set.

    Attributes:
        repo:      hub data set id; used where `data_dir` is None.
        revision:  branch, tag or commit of `repo`.
        data_dir:  a local folder in any layout the task's `files` lists; nothing is downloaded then.
        cache_dir: where downloads go; None means the hub's own cache.
        offline:   use only what the cache holds.
        max_download: refuse downloads above this many bytes; None means no limit.
        version:   data version, for tasks that have several.
        faults:    where `check data` collects bad rows; None means that the first one is an error.
        announce:  called with the number of files and bytes that are about to be fetched; may raise to forbid it.
    """

    repo: str | None = None
    revision: str | None = None
    data_dir: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    max_download: int | None = None
    version: str | None = None
    faults: list[DataError] | None = field(default=None, compare=False, repr=False)
    announce: Callable[[int, int], None] | None = field(default=None, compare=False, repr=False)


class Row(NamedTuple):
    """One row of a table, and where it stands, for messages: `testmini.parquet row 12` (rows count from 1)."""

    values: dict[str, Any]
    where: str


def check_columns(found: Sequence[str], required: Sequence[str], *, where: str, task: str) -> None:
    """Raises DataError `data.field` naming the columns of `required` (`a|b` means either) that `found` lacks."""
    missing = [name for name in required if not set(name.split("|")) & set(found)]
    if missing:
        raise DataError(
            "data.field",
            f"{task}: column {', '.join(name.replace('|', ' or ') for name in missing)} is missing",
            where=where,
            why=f"found {', '.join(map(str, found)) or 'no columns'}",
            fix=f"`kvl-eval describe {task}` lists the layouts that are read",
        )
