"""Addresses of samples in a report: what the sample browser calls them, and what other pages and `compare` link to."""

from __future__ import annotations

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
