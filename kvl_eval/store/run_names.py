"""How users name a run: a path, its id, a unique beginning or end of that, or `latest`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kvl_eval.errors import DataError, UsageError
from kvl_eval.printable import one_line

RESULTS_DIR = "KVL_EVAL_RESULTS_DIR"  # environment variable: where run folders are
LISTING = "kvl-eval list runs"
INDEX = "index.json"  # of a results folder: the list of its runs
SHOWN = 10  # candidates that an error names
_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_RUN_ID = re.compile(r"(?P<time>\d{8}-\d{6})_.*_(?P<hash>[0-9a-f]{4})(?P<suffix>-\d+)?", re.DOTALL)
_FILES = ("run.json", "plan.jsonl", "samples", "index.html")  # of a run folder, and of a written report


def default_results_dir() -> str:
    """The results folder where no option names one: `$KVL_EVAL_RESULTS_DIR`, or `results`."""
    return os.environ.get(RESULTS_DIR) or "results"


def find_run(text: str, results_dir: Path) -> Path:
    """The folder that `text` names: an existing path, or a run below `results_dir`.

    A text with a path separator is always a path, and comes back whether or not it exists.
    Raises: UsageError `usage.run` for an ambiguous name, DataError `run.missing` for an unknown one.
    """
    path = Path(text).expanduser()
    if "/" in text or os.sep in text or any((path / name).exists() for name in _FILES):
        return path
    if latest := _LATEST.fullmatch(text):
        return _latest(int(latest[1] or 0), results_dir)
    names = run_names(results_dir)
    chosen = _matches(text, names)
    if not chosen:
        raise DataError(
            "run.missing",
            f"not a run folder: {one_line(text)}",
            why=f"no run in {one_line(results_dir)} has that name, beginning or end",
            fix=LISTING,
        )
    if len(chosen) > 1:
        shown = ", ".join(map(one_line, chosen[:SHOWN]))
        more = f" and {len(chosen) - SHOWN} more" if len(chosen) > SHOWN else ""
        raise UsageError(
            "usage.run",
            f"{len(chosen)} runs match {one_line(repr(text))}",
            where=str(results_dir),
            why=f"{shown}{more}",
            fix=f"type more of the name; see {LISTING}",
        )
    return results_dir / chosen[0]


def run_names(results_dir: Path) -> list[str]:
    """Ids of the runs below `results_dir`, the newest first by their names; nothing is opened."""
    try:
        with os.scandir(results_dir) as entries:
            names = [entry.name for entry in entries if os.path.isfile(os.path.join(entry.path, "run.json"))]
    except OSError:
        return []
    return sorted(names, reverse=True)


def short_names(run_ids: Sequence[str]) -> Mapping[str, str]:
    """{run id: what lists call it}: its time, with more of the name where several runs have the same time.

    `find_run` takes each of them where `run_ids` are all runs of the results folder.
    """
    parts = {run_id: _RUN_ID.fullmatch(run_id) for run_id in run_ids}
    forms = [
        {run_id: match["time"] + (match["suffix"] or "") for run_id, match in parts.items() if match},
        {run_id: f"{match['time']}-{match['hash']}{match['suffix'] or ''}" for run_id, match in parts.items() if match},
    ]
    short = {run_id: run_id for run_id in run_ids}
    for form in reversed(forms):
        counts = Counter([*form.values(), *run_ids])
        short |= {run_id: name for run_id, name in form.items() if counts[name] == 1}
    return short


def _latest(back: int, results_dir: Path) -> Path:
    from kvl_eval.store.run_list import list_runs  # slow to import, and completion needs the names alone

    runs = [run for run in list_runs(results_dir) if run.created is not None and run.parent is None]
    if back < len(runs):
        return Path(runs[-1 - back].path)
    count = "no runs" if not runs else f"only {len(runs)} run{'s'[: len(runs) > 1]}"
    raise DataError(
        "run.missing", f"{count} in {one_line(results_dir)}", fix="name a run folder, or give --results-dir DIR"
    )


def _matches(text: str, names: Sequence[str]) -> list[str]:
    """The runs that a name fits best: as the whole id or the listed name, else as a beginning or an end."""
    if not text:
        return []
    whole = [run_id for run_id, short in short_names(names).items() if text in (run_id, short)]
    return whole or [name for name in names if name.startswith(text) or name.endswith(text)]
