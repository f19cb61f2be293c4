"""The verb that proves a run whole."""

from __future__ import annotations

import json
from pathlib import Path

import click


def verify_verb(run: Path, *, strict: bool, as_json: bool) -> int:
    """Prove a run whole; the exit code says whether it is."""
    from kvl_eval.audit import verify
    from kvl_eval.reports.numbers import plain
    from kvl_eval.store.run_folder import RunFolder

    found = verify.verify(RunFolder.open(run), strict=strict)
    click.echo(
        json.dumps(verify.as_json(found), ensure_ascii=False) if as_json else plain(verify.as_text(found), keep="\n")
    )
    return found.exit_code
