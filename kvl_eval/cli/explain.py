"""The verb that says why a score is not the one expected, from stored answers and from probes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo, note
from kvl_eval.errors import StorageError, UsageError
from kvl_eval.printable import json_line, whole

if TYPE_CHECKING:
    from kvl_eval.explanation.document import Explanation


def explain_verb(path: Path, flags: Flags, results_dir: Path, as_json: bool) -> int:
    """Print why the score of a run differs from a published result, a number or another run; first ask its probes."""
    from kvl_eval.explanation.case import ExplainOptions
    from kvl_eval.explanation.resolving import explain
    from kvl_eval.explanation.text import as_text
    from kvl_eval.scoring.run_reader import RunReader

    count = flags.values.get("to_n")
    options = ExplainOptions(
        task=flags.text("task"),
        to=flags.text("to"),
        to_n=count if isinstance(count, int) else None,
        protocol=flags.text("protocol"),
        as_=flags.text("as"),
        budget=_budget(flags.text("budget")),
    )
    if flags.text("probe") is not None:
        from kvl_eval.cli.explain_probe import probe

        code = probe(RunReader.open(path), options, flags, results_dir)
        if code is not None:
            return code
    with _nothing_collected():
        explanation = explain(RunReader.open(path), options, results_dir)
    for text in explanation.notices:
        note(text)
    if file := flags.text("output_file"):
        write_file(Path(file), _content(Path(file), explanation))
    echo(json_line(explanation.as_json()) if as_json else whole(as_text(explanation)))
    return 0


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """What is read is kept until the end: looking for cycles in it would take a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _budget(text: str | None) -> int | None:
    """A thinking budget, `4k` or `4096`; None for the largest. Raises: ConfigError, UsageError `usage.budget`."""
    from kvl_eval.options.values import budgets

    values = budgets(text)
    if len(values) > 1:
        raise UsageError("usage.budget", f"--budget takes one thinking budget, got {text!r}", fix="such as --budget 4k")
    return values[0] if values else None


def _content(path: Path, explanation: Explanation) -> bytes:
    """A page where the file's name ends in .html, else Markdown."""
    if path.suffix.lower() in (".html", ".htm"):
        from kvl_eval.reports.explain_file import explain_html

        return explain_html(explanation)
    from kvl_eval.explanation.markdown import as_markdown

    return as_markdown(explanation).encode()


def write_file(path: Path, content: bytes) -> None:
    """Write what `--output-file` names. Raises: StorageError `storage.write`."""
    try:
        path.write_bytes(content)
    except OSError as error:
        fix = "use another --output-file"
        raise StorageError("storage.write", f"cannot write {path}", why=str(error.strerror), fix=fix) from error
