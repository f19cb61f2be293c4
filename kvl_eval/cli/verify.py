"""The verb that proves a run whole."""

from __future__ import annotations

import json
from pathlib import Path

import click


def verify_verb(run: Path, *, strict: bool, as_json: bool) -> int:
    """Prove a run whole; the exit code says whether it is."""
    from kvl_eval.audit import verify
    from kvl_eval.audit.verify_text import as_text
    from kvl_eval.reports.numbers import plain
    from kvl_eval.scoring.run_reader import RunReader

    report = verify.verify(RunReader.open(run), strict=strict)
    click.echo(json.dumps(report.as_json(), ensure_ascii=False) if as_json else plain(as_text(report), keep="\n"))
    return report.exit_code
