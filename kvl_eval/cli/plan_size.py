"""The verb that says how many samples a precision or a difference needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.cli.explain import write_file
from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import echo
from kvl_eval.errors import UsageError
from kvl_eval.printable import json_line, whole

if TYPE_CHECKING:
    from kvl_eval.explanation.plan_size import PlanSize, SizeRequest
    from kvl_eval.explanation.score_columns import ScoreColumns
    from kvl_eval.tasks.base import Task
    from kvl_eval.types import Unit


def plan_size_verb(runs: Sequence[Path], flags: Flags, as_json: bool) -> int:
    """Print how many samples are needed; with `--output-file`, write the ids of a stratified list."""
    from kvl_eval.explanation.plan_size import plan_size, task_unit
    from kvl_eval.explanation.plan_size_text import as_text
    from kvl_eval.explanation.score_columns import columns_of
    from kvl_eval.scoring.run_reader import RunReader
    from kvl_eval.tasks import task_named

    if (flags.values["precision"] is None) == (flags.values["detect"] is None):
        message = "plan-size needs either --precision or --detect"
        raise UsageError("usage.plan_size", message, fix="such as --precision 2, or --detect 3")
    name = flags.text("task")
    if not runs and name is None:
        message = "plan-size needs a run or --task"
        raise UsageError("usage.plan_size", message, fix="such as kvl-eval plan-size latest --precision 2")
    readers = [RunReader.open(path) for path in runs]
    if readers:
        columns = [columns_of(reader, name) for reader in readers]
        task, unit = columns[0].case.task, columns[0].unit
    else:
        columns, task = [], task_named(str(name).lower().replace("_", "-"))
        unit = task_unit(task)
    document = plan_size(columns, task, _request(flags, unit, has_runs=bool(runs)))
    if file := flags.text("output_file"):
        document = _listed(document, columns, Path(file), task)
    echo(json_line(document.as_json()) if as_json else whole(as_text(document)))
    return document.exit_code


def _request(flags: Flags, unit: Unit, *, has_runs: bool) -> SizeRequest:
    """What is wanted, as fractions. Raises: UsageError `usage.plan_size` for a number out of range."""
    from kvl_eval.explanation.plan_size import SizeRequest

    power = _number(flags, "power") or 0.8
    if not 0.05 < power < 1:
        raise _out_of_range("power", power, "0.05 to 1", "--power 0.8")
    if flags.values["score"] is not None and (has_runs or flags.values["detect"] is not None):
        message = "--score is for --task and --precision, without a run"
        raise UsageError("usage.plan_size", message, fix="remove --score")
    return SizeRequest(
        precision=_fraction(flags, "precision", unit),
        detect=_fraction(flags, "detect", unit),
        power=power,
        score=_fraction(flags, "score", unit),
    )


def _number(flags: Flags, name: str) -> float | None:
    value = flags.values[name]
    return float(value) if isinstance(value, int | float) else None


def _fraction(flags: Flags, name: str, unit: Unit) -> float | None:
    """A value in the task's unit, as a fraction of the whole."""
    from kvl_eval.references import MAXIMUM

    value, largest = _number(flags, name), MAXIMUM[unit]
    if value is None:
        return None
    least = 0.0 if name == "score" else largest / 10_000
    if not least <= value <= largest:
        raise _out_of_range(name, value, f"{least:g} to {largest:g} in {unit}", f"--{name} {largest / 50:g}")
    return value / largest


def _out_of_range(name: str, value: float, span: str, fix: str) -> UsageError:
    return UsageError("usage.plan_size", f"--{name} must be {span}, got {value:g}", fix=f"such as {fix}")


def _listed(document: PlanSize, columns: Sequence[ScoreColumns], file: Path, task: Task) -> PlanSize:
    """The document of a list that was written. Raises: UsageError without a run, StorageError."""
    from kvl_eval.explanation.stratified import chosen_ids, stratified_order

    if not columns:
        raise UsageError(
            "usage.plan_size",
            "--output-file needs a run, whose plan lists the samples",
            fix=f"kvl-eval run {task.name} first, then kvl-eval plan-size latest --precision 2 --output-file {file}",
        )
    ids = chosen_ids(stratified_order(columns[0]), document.wanted)
    write_file(file, "".join(f"{name}\n" for name in ids).encode())
    return replace(document, file=str(file), n_listed=len(ids))
