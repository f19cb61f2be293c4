"""The verb that writes a run, or a model, for another tool."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.cli.terminal import echo, warn
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line, whole

GAPS = 3  # exit code: answers are missing


def export_verb(run: Path, *, format: str, out: str | None, protocol: str | None, as_json: bool) -> int:
    """Write a run for another tool; the exit code says whether answers are missing from it."""
    from kvl_eval.exports import export_run
    from kvl_eval.scoring.rescore import fresh_results
    from kvl_eval.scoring.run_reader import RunReader

    reader = RunReader.open(run)
    rows = fresh_results(reader).rows
    written = export_run(reader.folder, format, Path(out) if out else None, protocol)
    names = [str(path) for path in written]
    echo(json_line(names) if as_json else whole("\n".join(names)))
    lacking = sorted({row.task for row in rows if row.n_ok < row.n_planned})
    if lacking:
        warn(f"samples without an answer were left out: {', '.join(lacking)}")
    return GAPS if lacking else 0


def export_card_verb(run: Path, out: str | None, protocol: str | None, *, as_json: bool) -> int:
    """Write a result card per task; the exit code says whether answers are missing from it."""
    from kvl_eval.card.writing import write_cards
    from kvl_eval.scoring.rescore import current_results
    from kvl_eval.scoring.run_reader import RunReader

    reader = RunReader.open(run)
    names = [str(path) for path in write_cards(reader, Path(out) if out else None, protocol)]
    echo(json_line(names) if as_json else whole("\n".join(names)))
    return GAPS if any(row.n_ok < row.n_planned for row in current_results(reader).rows) else 0


def export_model_verb(name: str, out: str | None, as_json: bool) -> int:
    """Write a model in the form vLLM serves, and say how to start the server."""
    from kvl_eval.backends import resolve_model
    from kvl_eval.model.kimi_vl.vllm_export import export_for_vllm

    if out is None:
        raise UsageError("usage.export", "no output folder given", fix="use kvl-eval export --format vllm MODEL FOLDER")
    export_for_vllm(resolve_model(name).location, out)
    echo(json_line([out]) if as_json else whole(out))
    echo(f"vllm serve {out} --dtype float32 --trust-remote-code   (CPU: see docs/backends.md)", err=True)
    echo(
        f"or          kvl-eval run --model {name} --backend vllm, which exports the model and runs the server", err=True
    )
    return 0
