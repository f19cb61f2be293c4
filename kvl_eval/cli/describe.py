"""The verb that shows everything that defines a task's number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import click

from kvl_eval.cli.task_data import task_and_source


def describe_verb(name: str, flags: Mapping[str, object], as_json: bool) -> int:
    """Print everything that defines a task's number."""
    from kvl_eval.describe import as_text, describe

    task, source, split = task_and_source(name, flags, default="mini")
    description = describe(task, source, split)
    click.echo(json.dumps(asdict(description), ensure_ascii=False, default=str) if as_json else as_text(description))
    return 0
