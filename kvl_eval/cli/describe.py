"""The verb that shows everything that defines a task's number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from kvl_eval.cli.task_data import task_and_source
from kvl_eval.cli.terminal import echo
from kvl_eval.printable import json_line


def describe_verb(name: str, flags: Mapping[str, object], as_json: bool) -> int:
    """Print everything that defines a task's number."""
    from kvl_eval.describe import as_text, describe

    task, source, split = task_and_source(name, flags, default="mini")
    description = describe(task, source, split)
    echo(json_line(asdict(description), default=str) if as_json else as_text(description))
    return 0
