"""The verb that proves a run whole."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.cli.task_data import task_and_source
from kvl_eval.cli.terminal import echo
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line


def verify_verb(run: Path, *, strict: bool, as_json: bool) -> int:
    """Prove a run whole; the exit code says whether it is."""
    from kvl_eval.audit import verify
    from kvl_eval.audit.verify_text import as_text
    from kvl_eval.scoring.run_reader import RunReader

    report = verify.verify(RunReader.open(run), strict=strict)
    echo(json_line(report.as_json()) if as_json else as_text(report))
    return report.exit_code


def verify_card_verb(card: Path, run: str | None, data_dir: str | None, *, as_json: bool) -> int:
    """Check a result card: alone, against a run, or against the gold answers in a folder."""
    from kvl_eval.audit.verify_text import as_text
    from kvl_eval.card.checking import check_card, read_card
    from kvl_eval.scoring.run_reader import RunReader

    samples = None
    if data_dir is not None:
        about, _ = read_card(card)
        flags = {"data_dir": data_dir, "split": about.split}
        task, source, split = task_and_source(about.task, flags)
        if split not in task.splits:
            raise UsageError("usage.split", f"{task.name} has no split {split!r}", fix=f"kvl-eval describe {task.name}")
        samples = task.load(source, split)
    proof = check_card(card, None if run is None else RunReader.open(run), samples)
    echo(json_line(proof.as_json()) if as_json else as_text(proof))
    return proof.exit_code
