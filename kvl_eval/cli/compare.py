"""The verb that sets two runs side by side, or two protocols of one."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.cli.terminal import echo
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line

NOTHING = 3  # exit code: there was nothing to compare


def compare_verb(a: Path, b: Path | None, *, task: str | None, protocol: str | None, as_json: bool) -> int:
    """Set two runs side by side, or, without a second one, two protocols or the budgets of one."""
    from kvl_eval.audit.compare import compare
    from kvl_eval.audit.compare_text import as_text
    from kvl_eval.scoring.run_reader import RunReader

    first = RunReader.open(a)
    second = first if b is None else RunReader.open(b)
    name = None if task is None else task.lower().replace("_", "-")
    comparison = compare(first, second, task=name, protocols=_protocols(protocol))
    echo(json_line(comparison.as_json()) if as_json else as_text(comparison))
    return 0 if any(task.pairs.counts.n for task in comparison.comparisons) else NOTHING


def _protocols(text: str | None) -> tuple[str | None, str | None]:
    """`P` for both runs, `P,Q` for A and B. Raises UsageError."""
    if text is None:
        return None, None
    names = [name.strip() for name in text.split(",")]
    if len(names) > 2 or not all(names):
        raise UsageError(
            "usage.protocol",
            f"--protocol takes one name, or two separated by a comma, got {text!r}",
            fix="such as --protocol official,reader",
        )
    return names[0], names[-1]
