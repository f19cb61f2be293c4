"""The verb that proves a run whole."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.cli.terminal import echo
from kvl_eval.printable import json_line


def verify_verb(run: Path, *, strict: bool, as_json: bool) -> int:
    """Prove a run whole; the exit code says whether it is."""
    from kvl_eval.audit import verify
    from kvl_eval.audit.verify_text import as_text
    from kvl_eval.scoring.run_reader import RunReader

    report = verify.verify(RunReader.open(run), strict=strict)
    echo(json_line(report.as_json()) if as_json else as_text(report))
    return report.exit_code
