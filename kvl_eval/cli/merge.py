"""The verb that joins the shards of one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kvl_eval.cli.terminal import echo


def merge_verb(runs: Sequence[Path], output_dir: Path, *, compress: bool, as_json: bool) -> int:
    """Join shards, say what each held, show the result."""
    from kvl_eval.audit.merge import merge, shard_lines
    from kvl_eval.cli.run import show

    outcome, shards = merge(runs, output_dir, compress=compress)
    for line in shard_lines(shards):
        echo(line, err=True)
    return show(outcome, as_json)
