"""The verb that lists gold answers against which several models agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kvl_eval.cli.explain import write_file
from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.printable import json_line, whole


def check_gold_verb(runs: Sequence[Path], flags: Flags, as_json: bool) -> int:
    """Print the doubts; with `--output-file`, write them as JSON Lines."""
    from kvl_eval.explanation.gold import doubts
    from kvl_eval.explanation.gold_text import as_lines, as_text
    from kvl_eval.scoring.run_reader import RunReader

    report = doubts([RunReader.open(run) for run in runs], flags.text("task"))
    if file := flags.text("output_file"):
        write_file(Path(file), as_lines(report).encode())
    echo(json_line(report.as_json()) if as_json else whole(as_text(report)))
    return report.exit_code
