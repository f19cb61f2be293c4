"""Published results of Kimi-VL and its comparison systems, each with its source.

`reference_scores.csv` holds them, `README.md` explains its columns and which of two disagreeing figures is shown.
Values are fractions of their unit's maximum here; `printed` keeps the text of the source.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.errors import DataError, UsageError

if TYPE_CHECKING:  # importing a task's module loads all tasks, which figures do not need
    from kvl_eval.tasks.base import Reference

FOLDER = Path(__file__).resolve().parent
MAXIMUM = {"percent": 100.0, "points": 1000.0}
TABLES = {
    "instruct_main": "Kimi-VL-A3B-Instruct model card (report, Table 3)",
    "report_table3": "report, Table 3",
    "report_text": "report, running text",
    "thinking_table4": "report, Table 4 (Thinking model card)",
    "budget_sweep_fig13": "report, Figure 13",
    "thinking2506_card_efficient": "Thinking-2506 model card, efficient models",
    "thinking2506_card_30b_70b": "Thinking-2506 model card, 30B to 70B models",
    "thinking2506_card_text": "Thinking-2506 model card, text benchmarks",
    "report_v3_table4": "report v3, Table 4",
    "niah_table2": "report, Table 2",
    "independent": "independent figure",
}
MEAN_NOTE = "the published result is the mean of "  # a result alone is a part of it
LEADERBOARD_SYSTEMS = (
    "gpt-4o",
    "gpt-4o-mini",
    "qwen2.5-vl-7b",
    "qwen2.5-vl-72b",
    "llama-3.2-11b-inst",
    "gemma-3-12b-it",
    "deepseek-vl2",
    "kimi-vl-a3b-instruct",
    "kimi-vl-a3b-thinking",
    "kimi-vl-a3b-thinking-2506",
)
"""Systems that are shown for every benchmark, in the order of their columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScore:
    """One published result.

    Attributes:
        value:      fraction of the unit's maximum: `printed` / 100 for percent, / 1000 for points.
        setting:    empty, or what distinguishes rows of one benchmark: `w/ subs`, `max_thinking_tokens=1024`, ...
        table:      a key of `TABLES`.
        verified:   `read` in the source named, or `seed`: stands in a document this project began with.
        is_default: the figure a leaderboard shows where tables disagree.
    """

    benchmark: str
    benchmark_label: str
    split: str
    metric: str
    unit: str
    higher_is_better: bool
    system: str
    system_label: str
    arch: str
    activated_params: str
    total_params: str
    setting: str
    value: float
    printed: str
    table: str
    source: str
    verified: str
    note: str
    is_default: bool

    @property
    def row(self) -> tuple[str, str, str]:
        """Identifies the row of a table this figure stands in."""
        return self.benchmark, self.split, self.setting

    @property
    def row_label(self) -> str:
        """`Video-MME (w/o subs)`, `MathVista`."""
        return f"{self.benchmark_label} ({self.setting})" if self.setting else self.benchmark_label


def load() -> list[ReferenceScore]:
    """All published results, in the file's order. Raises DataError for a row that cannot be read."""
    return list(_load())


def published(reference: Reference, system: str | None = None, table: str | None = None) -> list[ReferenceScore]:
    """Figures of one benchmark: those of `table`, or, without one, the figure shown by default for each system.

    Figures at a thinking budget or under another party's harness have a setting of their own and are not among them
    unless `reference.setting` asks for it. Raises UsageError for a table that does not exist.
    """
    if table is not None and table not in TABLES:
        raise UsageError(
            "usage.table", f"unknown table {table!r} of published results", fix=f"use one of {', '.join(TABLES)}"
        )
    return [
        score
        for score in _load()
        if score.benchmark == reference.benchmark
        and (reference.split is None or score.split == reference.split)
        and score.setting == (reference.setting or "")
        and (score.table == table if table else score.is_default)
        and system in (None, score.system)
    ]


def kimi_value(reference: Reference | None, system: str | None, budget: int | None = None) -> ReferenceScore | None:
    """The published result of `system` (`ModelFamily.published`) that a run is compared with, or None.

    A run with a thinking budget is compared with the point of Figure 13 at that budget alone.
    """
    if reference is None or system is None:
        return None
    if budget is not None:
        reference = replace(reference, setting=f"max_thinking_tokens={budget}")
    return next(iter(published(reference, system)), None)


def others(score: ReferenceScore) -> list[ReferenceScore]:
    """Figures printed elsewhere for the same system, benchmark and metric whose value differs, one a table."""
    return [other for other in _by_cell()[score.row, score.system] if abs(other.value - score.value) > 1e-9]


def disagreement(score: ReferenceScore) -> str | None:
    """Which other values were printed for this figure, where, and why one is shown; None where sources agree."""
    found = others(score)
    if not found:
        return None
    values = dict.fromkeys(_with_metric(other, score) for other in found)
    text = "; ".join(
        f"{value} ({'; '.join(TABLES[other.table] for other in found if _with_metric(other, score) == value)})"
        for value in values
    )
    why = next(
        (why for names, systems, why in _reasons() if score.system_label in systems and _named(score, names)), ""
    )
    return f"elsewhere {text}" + (f". {why[:1].upper()}{why[1:]}" if why else "")


def _with_metric(other: ReferenceScore, score: ReferenceScore) -> str:
    unit = " %" if other.unit != score.unit and other.unit == "percent" else ""
    return f"{other.printed}{unit}" + (f" {other.metric}" if other.metric != score.metric else "")


def _named(score: ReferenceScore, names: list[str]) -> bool:
    return score.benchmark_label in names or f"{score.benchmark_label} {score.setting}" in names


@cache
def _load() -> tuple[ReferenceScore, ...]:
    path = FOLDER / "reference_scores.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_score(row, f"{path.name} line {number}") for number, row in enumerate(csv.DictReader(file), 2))


@cache
def _by_cell() -> dict[tuple[tuple[str, str, str], str], list[ReferenceScore]]:
    """All figures by row and system."""
    cells: dict[tuple[tuple[str, str, str], str], list[ReferenceScore]] = {}
    for score in _load():
        cells.setdefault((score.row, score.system), []).append(score)
    return cells


def _score(row: dict[str, str], where: str) -> ReferenceScore:
    try:
        printed, unit = row["value"], row["unit"]
        flags = {"higher_is_better": row["higher_is_better"] == "true", "is_default": row["is_default"] == "1"}
        texts = {name: text for name, text in row.items() if name not in ("value", *flags)}
        return ReferenceScore(**texts, **flags, printed=printed, value=float(printed) / MAXIMUM[unit])  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError) as error:
        fix = "install kvl-eval again"
        raise DataError(
            "references.row", "invalid row of published results", where=where, why=repr(error), fix=fix
        ) from error


@cache
def _reasons() -> tuple[tuple[list[str], list[str], str], ...]:
    """(benchmarks, systems, why) of the table of disagreements in README.md, where a reason is given."""
    return tuple(_rows((FOLDER / "README.md").read_text(encoding="utf-8")))


def _rows(text: str) -> Iterator[tuple[list[str], list[str], str]]:
    section = text.partition("\n## Disagreements")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 5 and cells[0] != "benchmark" and set(cells[0]) != {"-"} and "seed" not in cells[4]:
            yield _names(cells[0]), _names(cells[1]), cells[4].partition(". ")[0]


def _names(cell: str) -> list[str]:
    return [name.strip() for part in cell.split(";") for name in part.split(", ")]
