"""The lines that a run ends with on the terminal: what to type next, and where the run is."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.printable import Whole, printable
from kvl_eval.store.run_names import default_results_dir, run_names


def run_argument(path: Path) -> str:
    """What commands call a run folder: `latest` if it is the newest of the default results folder, else its path."""
    default = Path(default_results_dir())
    is_newest = path.parent.resolve() == default.resolve() and run_names(default)[:1] == [path.name]
    return "latest" if is_newest else str(path)


def labelled(label: str, text: object) -> str:
    """`next:    kvl-eval resume latest`: a label, and a text that is never cut."""
    return Whole(f"{label + ':':<9}{printable(text, keep='')}")


def stop_lines(path: Path, answered: int, planned: int) -> list[str]:
    """The last lines of a run that was stopped: how much is saved, how to continue, where it is."""
    return [
        f"stopped: {answered:,} of {planned:,} answers saved",
        labelled("next", f"kvl-eval resume {run_argument(path)}"),
        labelled("folder", path),
    ]
