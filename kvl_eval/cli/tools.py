"""The verbs that work on whole runs: verify, compare, merge, export. None loads a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kvl_eval.errors import UsageError

NOTHING = 3  # exit code: there was nothing to compare, or answers are missing


def verify_verb(run: Path, *, strict: bool, as_json: bool) -> int:
    """Prove a run whole; the exit code says whether it is."""
    from kvl_eval.audit import verify
    from kvl_eval.audit.verify_text import as_text
    from kvl_eval.reports.figures import plain
    from kvl_eval.scoring.run_reader import RunReader

    found = verify.verify(RunReader.open(run), strict=strict)
    click.echo(_json(found.as_json()) if as_json else plain(as_text(found), keep="\n"))
    return found.exit_code


def compare_verb(a: Path, b: Path | None, *, task: str | None, protocol: str | None, as_json: bool) -> int:
    """Set two runs side by side, or, without a second one, two protocols or the budgets of one."""
    from kvl_eval.audit.compare import compare
    from kvl_eval.audit.compare_text import as_text
    from kvl_eval.scoring.run_reader import RunReader

    first = RunReader.open(a)
    second = first if b is None else RunReader.open(b)
    name = None if task is None else task.lower().replace("_", "-")
    found = compare(first, second, task=name, protocols=_protocols(protocol))
    click.echo(_json(found.as_json()) if as_json else as_text(found))
    return 0 if any(task.pairs.counts.n for task in found.comparisons) else NOTHING


def _protocols(text: str | None) -> tuple[str | None, str | None]:
    """`P` for both runs, `P,Q` for A and B. Raises UsageError."""
    if text is None:
        return None, None
    names = [name.strip() for name in text.split(",")]
    if len(names) > 2 or not all(names):
        raise UsageError("usage.protocol", f"--protocol {text!r} is neither P nor P,Q")
    return names[0], names[-1]


def merge_verb(runs: Sequence[Path], output_dir: Path, *, compress: bool, as_json: bool) -> int:
    """Join shards, say what each held, show the result."""
    from kvl_eval.audit.merge import merge, shard_lines
    from kvl_eval.cli.run import show

    outcome, shards = merge(runs, output_dir, compress=compress)
    for line in shard_lines(shards):
        click.echo(line, err=True)
    return show(outcome, as_json)


def export_verb(run: Path, *, format: str, out: str | None, protocol: str | None, as_json: bool) -> int:
    """Write a run for another tool; the exit code says whether answers are missing from it."""
    from kvl_eval.exports import export_run
    from kvl_eval.scoring.rescore import fresh_results
    from kvl_eval.scoring.run_reader import RunReader

    reader = RunReader.open(run)
    rows = fresh_results(reader).rows
    written = export_run(reader.folder, format, Path(out) if out else run / "export" / format, protocol)
    names = [str(path) for path in written]
    click.echo(json.dumps(names) if as_json else "\n".join(names))
    lacking = sorted({row.task for row in rows if row.n_ok < row.n_planned})
    if lacking:
        click.echo(f"notice: failed or pending samples have no answer here: {', '.join(lacking)}", err=True)
    return NOTHING if lacking else 0


def export_model_verb(name: str, out: str | None, as_json: bool) -> int:
    """Write a model in the form vLLM serves, and say how to start the server."""
    from kvl_eval.backends import resolve_model
    from kvl_eval.model.kimi_vl.vllm_export import export_for_vllm

    if out is None:
        raise UsageError("usage.export", "no folder is named", fix="kvl-eval export --format vllm MODEL FOLDER")
    export_for_vllm(resolve_model(name).location, out)
    click.echo(_json([out]) if as_json else out)
    click.echo(f"vllm serve {out} --dtype float32 --trust-remote-code   (CPU: see docs/backends.md)", err=True)
    return 0


def _json(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False)
