"""Cards of a run, written: one file per task."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.card.building import card_of
from kvl_eval.card.page import page
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder


def write_cards(run: RunReader, out: Path | None = None, protocol: str | None = None) -> list[Path]:
    """Write `card.html`, or `card-TASK.html` where the run has several tasks, and return the paths.

    Raises: UnscoredError for a task without a score, UsageError, DataError, StorageError.
    """
    root = OutputFolder.inside(run.folder.path, "export", "card") if out is None else OutputFolder(out)
    cards = [card_of(run, task, protocol) for task in run.task_names]
    names = ["card.html"] if len(cards) == 1 else [f"card-{file_name(card.task)}.html" for card in cards]
    return [root.write([page(card).encode("utf-8")], name) for card, name in zip(cards, names, strict=True)]
