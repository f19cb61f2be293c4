"""The verb that shows everything that defines a task's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from kvl_eval.cli.task_data import task_and_source
from kvl_eval.cli.terminal import echo
from kvl_eval.printable import json_line

TABLE_SAMPLES = 3  # samples of an own table that are shown unless the user says otherwise


def describe_verb(name: str, flags: Mapping[str, object], as_json: bool) -> int:
    """Print everything that defines a task's score, or the section and the number of samples that `flags` name."""
    from kvl_eval.describe import describe
    from kvl_eval.describe_text import SECTIONS, as_text

    task, source, split = task_and_source(name, flags, default="mini")
    asked = flags.get("samples")
    count = asked if isinstance(asked, int) else TABLE_SAMPLES if task.data.table is not None else 1
    description = describe(task, source, split, count)
    section = next((known for known in SECTIONS if known == flags.get("section")), None)
    echo(json_line(asdict(description), default=str) if as_json else as_text(description, section))
    return 0
