"""Scores by two categories at once, and scores by the category that figures were published by: as data and as texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvl_eval import references
from kvl_eval.references import TABLES, ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import ReportRun, task_of
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """Mean scores of one result in rows and columns.

    Attributes:
        down:  the category of the rows, `across` that of the columns.
        cells: {(row, column): mean} where anything was scored.
    """

    task: str
    down: str
    across: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], float]

    @property
    def title(self) -> str:
        """`Needle in a haystack, text: score by depth and length`."""
        return f"{self.task}: score by {self.down} and {self.across}"

    @property
    def corner(self) -> str:
        """Head of the column that names the rows."""
        return f"{self.down} \\ {self.across}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Scores by the values of one category, each beside the figure published for it.

    Attributes:
        rows:   (name, a text for each value): ours, intervals, numbers of answers, published systems.
        source: where the published results come from.
    """

    name: str
    values: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    source: str


def heatmap_of(run: ReportRun, row: ResultRow, scores: Sequence[ScoreLine]) -> Heatmap | None:
    """The heat map of one result, from the lines of `scores/` behind it; None for tasks that name none."""
    task = task_of(row)
    if task is None or task.view.heatmap is None:
        return None
    down, across = task.view.heatmap
    values: dict[tuple[str, str], list[float]] = {}
    known = {entry.sample_id: entry.sample.categories for entry in run.plan(row.task)}
    for line in scores:
        if line.score is not None:
            for place in _places(known.get(line.sample_id) or {}, down, across):
                values.setdefault(place, []).append(line.score)
    if not values:
        return None
    return Heatmap(
        task=plain(task.title),
        down=plain(down),
        across=plain(across),
        rows=_ordered(place[0] for place in values),
        columns=_ordered(place[1] for place in values),
        cells={place: sum(points) / len(points) for place, points in values.items()},
    )


def _places(categories: Mapping[str, Sequence[str]], down: str, across: str) -> Iterator[tuple[str, str]]:
    for row in categories.get(down) or ():
        yield from ((row, column) for column in categories.get(across) or ())


def _ordered(names: Iterator[str]) -> tuple[str, ...]:
    """Numbers by size, before whatever is none."""
    return tuple(
        sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    )


def parts_of(row: ResultRow) -> Parts | None:
    """The scores of a result by the category its task's figures were published by; None for other tasks."""
    task = task_of(row)
    if task is None or task.reference is None or task.reference.by is None:
        return None
    by, benchmark = task.reference.by, task.reference.benchmark
    ours = row.categories.get(by) or {}
    published = [score for score in references.load() if score.benchmark == benchmark and by in score.setting]
    settings = {score.setting.removeprefix(f"{by}="): None for score in published}
    values = tuple(dict.fromkeys((*settings, *ours)))
    cells = [ours.get(value) for value in values]
    rows = [
        ("ours", tuple("" if cell is None else numbers.percent(cell.score) for cell in cells)),
        ("95% CI", tuple("" if cell is None else numbers.percent_interval(cell.ci95) for cell in cells)),
        ("answers", tuple("0" if cell is None else f"{cell.n}" for cell in cells)),
        *((system, tuple(texts)) for system, texts in _published(published, by, values)),
    ]
    tables = dict.fromkeys(f"{TABLES[score.table]}: {score.source}" for score in published)
    return Parts(name=plain(by.replace("_", " ")), values=values, rows=tuple(rows), source="; ".join(tables))


def _published(scores: Sequence[ReferenceScore], by: str, values: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for system in dict.fromkeys(score.system_label for score in scores):
        figures = [score for score in scores if score.system_label == system]
        printed = {score.setting.removeprefix(f"{by}="): score.printed for score in figures}
        yield system, [printed.get(value, "") for value in values]
