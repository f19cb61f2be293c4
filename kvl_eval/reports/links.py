"""Addresses of samples in a report: what the sample browser calls them, and what other pages and `compare` link to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from kvl_eval.reports.numbers import plain


def sample_key(run: int, entry: Mapping[str, Any]) -> str:
    """`0/mathvista/17/r1/b1024cut`: the run's place in the report, task, id, and repeat and budget if there are any."""
    parts = [str(run), entry["task"], entry["sample_id"]]
    parts += [f"r{entry['repeat']}"] if entry.get("repeat") else []
    parts += [f"b{entry['budget']}{entry.get('policy') or ''}"] if entry.get("budget") is not None else []
    return "/".join(map(plain, parts))


def sample_address(run: int, entry: Mapping[str, Any]) -> str:
    """The sample's page, seen from the report's folder."""
    return f"samples.html#{urlencode({'sample': sample_key(run, entry)})}"
