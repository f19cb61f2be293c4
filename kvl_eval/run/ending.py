"""The lines that a run ends with on the terminal: what to type next, and where the run is."""

from __future__ import annotations

import os
from pathlib import Path

from kvl_eval.printable import whole

RESULTS_DIR = "KVL_EVAL_RESULTS_DIR"


def run_argument(path: Path) -> str:
    """What commands call a run folder: `latest` if it is the newest of the default results folder, else its path."""
    default = Path(os.environ.get(RESULTS_DIR) or "results")
    if path.parent.resolve() != default.resolve():
        return str(path)
    runs = [folder.name for folder in default.iterdir() if (folder / "run.json").is_file()]
    return "latest" if path.name == max(runs, default="") else str(path)


def labelled(label: str, text: object) -> str:
    """`next:    kvl-eval resume latest`: a label, and a text that is never cut."""
    return whole(f"{label + ':':<9}{text}")


def stop_lines(path: Path, answered: int, planned: int) -> list[str]:
    """The last lines of a run that was stopped: how much is saved, how to continue, where it is."""
    return [
        f"stopped: {answered:,} of {planned:,} answers saved",
        labelled("next", f"kvl-eval resume {run_argument(path)}"),
        labelled("folder", path),
    ]
