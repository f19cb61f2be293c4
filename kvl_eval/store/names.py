"""What runs, and the files in their folders, are called."""

from __future__ import annotations

import hashlib
from datetime import datetime
from urllib.parse import quote


def scores_name(protocol: str, view: str = "answer", judge: str | None = None) -> str:
    """How `scores/` calls a protocol: `official`, `official.raw` (shown the thought too), `official+JUDGE`."""
    return protocol + (".raw" if view == "raw" else "") + (f"+{judge}" if judge is not None else "")


def scores_file(task: str, scorer: str, version: str) -> str:
    """The file in `scores/` of a task's scores; `scorer` as `scores_name` gives it, `version` of kvl-eval."""
    return f"{file_name(task)}@{file_name(scorer)}-{version}.jsonl"


def file_name(name: str) -> str:
    """`name` as part of a file name: letters, digits and `-_.+` stay, long ones end in a hash."""
    safe = quote(name, safe="-_.+", errors="surrogatepass").lstrip(".") or "_"
    return (
        safe
        if len(safe) <= 80
        else f"{safe[:60]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    )


def run_name(created: datetime, model: str, tasks: list[str], fingerprint: str) -> str:
    """Time, model, tasks (shortened) and the first four hex digits of the fingerprint."""
    shown, hidden = tasks[:3], len(tasks) - 3
    parts = "+".join(shown) + (f"+{hidden}more" if hidden > 0 else "")
    return f"{created:%Y%m%d-%H%M%S}_{file_name(model)[:40]}_{file_name(parts)[:60]}_{fingerprint[:4]}"
