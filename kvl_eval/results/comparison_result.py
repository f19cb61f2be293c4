"""Two runs side by side, as an object, text and data frame."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.audit import compare as audit
from kvl_eval.audit.compare_text import as_text
from kvl_eval.decode import Json
from kvl_eval.results.evaluation_result import EvaluationResult, open_run

if TYPE_CHECKING:
    import pandas as pd

    from kvl_eval.audit.compare import RunComparison, TaskComparison



class ComparisonResult:
    """How run B differs from run A on the samples that both have scored; `print(comparison)` shows all of it.

    Attributes:
        comparison: settings that differ, and each task's paired difference.
    """

    def __init__(self, comparison: RunComparison) -> None:
        self.comparison = comparison

    def as_json(self) -> dict[str, Json]:
        """The document of `kvl-eval compare --json`."""
        return self.comparison.as_json()

    def to_pandas(self) -> pd.DataFrame:
        """One row per task and pair of budgets: scores, difference B - A with its interval, changed samples."""
        import pandas as pd

        rows = [_cells(task) for task in self.comparison.comparisons]
        return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in DTYPES.items()})

    def __str__(self) -> str:
        """The text of `kvl-eval compare`."""
        return as_text(self.comparison)

    def __repr__(self) -> str:
        """One line."""
        sides = f"{self.comparison.a.run} and {self.comparison.b.run}"
        return f"<ComparisonResult {sides}, {len(self.comparison.comparisons)} results>"

    def _repr_html_(self) -> str:
        """The text for notebooks."""
        return f"<pre>{escape(str(self))}</pre>"


DTYPES = {
    "task": "string",
    "budget_a": "Int64",
    "budget_b": "Int64",
    "protocol": "string",
    "n": "int64",
    "score_a": "float64",
    "score_b": "float64",
    "difference": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "p_value": "float64",
    "gained": "int64",
    "lost": "int64",
}


def _cells(task: TaskComparison) -> dict[str, str | int | float | None]:
    cells: dict[str, str | int | float | None] = {
        "task": task.task,
        "budget_a": task.a.budget,
        "budget_b": task.b.budget,
        "protocol": task.a.protocol,
        "n": task.pairs.counts.n,
        "gained": len(task.pairs.gained),
        "lost": len(task.pairs.lost),
    }
    if task.pairs.scores is not None:
        scores, difference = task.pairs.scores, task.pairs.scores.difference
        low, high = difference.ci95
        cells |= {"score_a": scores.score_a, "score_b": scores.score_b, "difference": difference.mean}
        cells |= {"ci_low": low, "ci_high": high, "p_value": difference.p_value}
    return cells


def compare(
    a: EvaluationResult | str | Path, b: EvaluationResult | str | Path, *, task: str | None = None
) -> ComparisonResult:
    """How run B differs from run A on the samples that both have scored.

    Args:
        a, b: results, or runs as `open_run` takes them.
        task: one task; None means every task that both runs have.
    Raises: UsageError for runs without a common task, or a run compared with itself; DataError.
    """
    first, second = (run if isinstance(run, EvaluationResult) else open_run(run) for run in (a, b))
    name = None if task is None else task.lower().replace("_", "-")
    return ComparisonResult(audit.compare(first.reader(), second.reader(), task=name))
