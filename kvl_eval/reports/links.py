"""Addresses in a report: of samples, as other pages link to them, and of tasks."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlencode

from kvl_eval.reports.numbers import plain


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
