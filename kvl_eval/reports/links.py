"""Addresses of samples in a report: what the sample browser calls them, and what other pages and `compare` link to."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlencode

from kvl_eval.reports.numbers import plain
from kvl_eval.store.records import Key


def sample_key(run: int, task: str, key: Key) -> str:
    """`0/mathvista/17/r1/b1024cut`: the run's place in the report, task, id, and repeat and budget if there are any."""
    parts = [str(run), task, key.sample_id]
    parts += [f"r{key.repeat}"] if key.repeat else []
    parts += [f"b{key.budget}{key.policy or ''}"] if key.budget is not None else []
    return "/".join(map(plain, parts))


def sample_address(run: int, task: str, key: Key) -> str:
    """The sample's page, seen from the report's folder."""
    return f"samples.html#{urlencode({'sample': sample_key(run, task, key)})}"


def filtered_address(**filters: object) -> str:
    """The sample browser with these filters set, empty ones left out: `task`, `run`, `outcome`, `category`, ..."""
    texts = {name: plain(value) for name, value in filters.items() if value not in ("", None)}
    return f"samples.html#{urlencode(texts)}"


def task_file(task: str) -> str:
    """File name of a task's page; names with other characters than a-z, 0-9 and - get a hash."""
    slug = re.sub(r"[^a-z0-9-]+", "-", task.lower())[:40].strip("-")
    if slug == task:
        return f"task-{slug}.html"
    return f"task-{slug}-{hashlib.sha256(task.encode(errors='replace')).hexdigest()[:8]}.html"
