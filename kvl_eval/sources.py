"""Where a task's rows come from: the hub, its cache, or a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    """

    repo: str | None = None
    revision: str | None = None
    data_dir: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    max_download: int | None = None
    version: str | None = None
