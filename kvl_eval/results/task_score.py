"""One score of a run, and all of them as a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from kvl_eval.errors import UsageError
from kvl_eval.reports import numbers
from kvl_eval.store.result_records import ResultRow
from kvl_eval.types import Interval

if TYPE_CHECKING:
    import pandas as pd

DTYPES = {
    "task": "string",
    "split": "string",
    "budget": "Int64",
    "policy": "string",
    "protocol": "string",
    "label": "string",
    "judge": "string",
    "score": "float64",
    "unit": "string",
    "ci_low": "float64",
    "ci_high": "float64",
    "n": "int64",
    "n_planned": "int64",
    "no_answer": "int64",
    "failed": "int64",
    "complete": "bool",
    "partial": "string",
    "published": "float64",
    "delta": "float64",
}


@dataclass(frozen=True, slots=True, repr=False)
class TaskScore:
    """The score of one task under one protocol; `float(score)` is its value.

    Attributes:
        task:      the task's name.
        split:     the split's name; empty where the run does not say.
        budget:    most thinking tokens; None without a budget.
        policy:    `cut` or `force`; None without a budget.
        protocol:  the protocol's name.
        label:     what tables print for the protocol.
        judge:     the model whose replies were used; None for none.
        value:     a fraction from 0 to 1; None where nothing was scored.
        unit:      `percent` or `points`: how tables print the value.
        ci95:      its 95% confidence interval; None where it has none.
        n:         samples with a score.
        n_planned: samples that were planned.
        no_answer: replies from which nothing could be extracted; they count as 0.
        failed:    samples without a reply.
        complete:  whether every planned sample has a score.
        partial:   why fewer samples than the split has were planned; None for a whole split.
        published: the published result, as a fraction; None where none is comparable.
        delta:     value minus published.
    """

    task: str
    split: str
    budget: int | None
    policy: str | None
    protocol: str
    label: str
    judge: str | None
    value: float | None
    unit: str
    ci95: Interval | None
    n: int
    n_planned: int
    no_answer: int
    failed: int
    complete: bool
    partial: str | None
    published: float | None
    delta: float | None

    def __float__(self) -> float:
        """The value. Raises: UsageError `usage.score` where nothing was scored."""
        if self.value is None:
            raise UsageError(
                "usage.score",
                f"{self.task} has no score under {self.protocol}",
                why=f"{self.n} of {self.n_planned} samples were scored",
                fix="read .samples(): status and reason say why",
            )
        return self.value

    def __str__(self) -> str:
        """`63.3 [53.0, 72.6], n=90, official-rule`; in points where the whole split was scored so."""
        in_points = self.unit == "points" and self.complete and self.partial is None
        score = numbers.figure(self.value, in_points) or "-"
        score += "/1000" if in_points else ""
        if self.ci95 is not None:
            low, high = (numbers.figure(bound, in_points) for bound in self.ci95)
            score += f" [{low}, {high}]"
        count = f"{self.n}" if self.n == self.n_planned else f"{self.n}/{self.n_planned}"
        label = f"{self.label} (judge {self.judge})" if self.judge else self.label
        return numbers.plain(f"{score}, n={count}, {label}")

    __repr__ = __str__


def task_score(row: ResultRow) -> TaskScore:
    """A row of results.json as a score."""
    label = row.label or row.protocol
    reference = row.reference
    is_comparable = reference is not None and reference.delta is not None
    return TaskScore(
        task=row.task,
        split=row.split or "",
        budget=row.budget,
        policy=row.policy,
        protocol=row.protocol,
        label=label if row.thinking == "split" else f"{label} ({row.thinking})",
        judge=row.judge,
        value=row.score,
        unit=row.unit,
        ci95=row.ci95,
        n=row.n_scored,
        n_planned=row.n_planned,
        no_answer=row.verdicts.get("no_answer", 0),
        failed=row.n_failed,
        complete=row.complete,
        partial=row.partial,
        published=reference.value if reference is not None and is_comparable else None,
        delta=reference.delta if reference is not None and is_comparable else None,
    )


def scores_frame(scores: Iterable[TaskScore]) -> pd.DataFrame:
    """One row per score: the fields of TaskScore, with `score`, `ci_low` and `ci_high` for `value` and `ci95`."""
    import pandas as pd

    listed = list(scores)
    cells: dict[str, list[object]] = {
        field.name: [getattr(score, field.name) for score in listed] for field in fields(TaskScore)
    }
    cells["score"] = cells.pop("value")
    bounds = [score.ci95 or (None, None) for score in listed]
    cells["ci_low"], cells["ci_high"] = [low for low, _ in bounds], [high for _, high in bounds]
    return pd.DataFrame({name: pd.Series(cells[name], dtype=dtype) for name, dtype in DTYPES.items()})
