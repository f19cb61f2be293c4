"""What runs, and the files in their folders, are called."""

from __future__ import annotations

import hashlib
from datetime import datetime
from urllib.parse import quote

LONGEST = 80  # ASCII characters of a name that stays as it is
SHORTENED = 60  # of one that does not, before its hash
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}


def scores_name(protocol: str, view: str = "answer", judge: str | None = None) -> str:
    """How `scores/` calls a protocol: `official`, `official.raw` (shown the thought too), `official+JUDGE`."""
    return protocol + (".raw" if view == "raw" else "") + (f"+{judge}" if judge is not None else "")


def scores_file(task: str, scorer: str, version: str) -> str:
    """The file in `scores/` of a task's scores; `scorer` as `scores_name` gives it, `version` of kvl-eval."""
    return f"{file_name(task)}@{file_name(scorer)}-{version}.jsonl"


def file_name(name: str) -> str:
    """Any text as part of a file name, at most 100 bytes: letters, digits and `-_.+` stay, the rest is spelled `%2F`.

    What would be hidden, too long or a device ends in a hash, so that different texts have different names.
    """
    quoted = quote(name, safe="-_.+", errors="surrogatepass")
    safe = quoted.strip(".")
    if safe == quoted != "" and len(safe) <= LONGEST and safe.partition(".")[0].upper() not in DEVICES:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{safe[:SHORTENED] or '_'}-{digest}"


def run_name(created: datetime, model: str, tasks: list[str], fingerprint: str) -> str:
    """Time, model, tasks (shortened) and the first four hex digits of the fingerprint."""
    shown, hidden = tasks[:3], len(tasks) - 3
    parts = "+".join(shown) + (f"+{hidden}more" if hidden > 0 else "")
    return f"{created:%Y%m%d-%H%M%S}_{file_name(model)[:40]}_{file_name(parts)[:60]}_{fingerprint[:4]}"
