"""The numbers behind the charts, as JSON for papers and scripts: `data/board.json`, `sweeps.json`, `pairs.json`."""

from __future__ import annotations

from kvl_eval.decode import Json
from kvl_eval.reports.columns import board_columns
from kvl_eval.reports.pages.board import Board
from kvl_eval.reports.pages.compare import ComparePage, PairSection
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.flips import CauseTable
from kvl_eval.reports.pages.sweeps import Sweep, budget_of, published_curve, thinking_mean
from kvl_eval.verdicts import Gap


def chart_data(context: Context, comparison: ComparePage | None) -> dict[str, dict[str, Json]]:
    """{file name: its content}; scores and differences are fractions, points of causes are points of 100."""
    sections = () if comparison is None else comparison.sections
    return {
        "board.json": _board(context.board),
        "sweeps.json": {"sweeps": [_sweep(sweep) for sweep in context.sweeps]},
        "pairs.json": {"pairs": [_pair(section) for section in sections]},
    }


def _pair(section: PairSection) -> dict[str, Json]:
    """One pair: its differences, and the causes of those that the page explains."""
    tables = [table for table in (section.causes, *section.others) if table is not None]
    causes = {table.label: table for table in tables}
    tasks: list[Json] = [
        {**_gap(gap, sign), "causes": _causes(causes.get(gap.task))}
        for gap, sign in zip(section.pair.gaps, section.pair.decided, strict=True)
    ]
    return {"a": section.names[0], "b": section.names[1], "tasks": tasks}


def _causes(table: CauseTable | None) -> Json:
    if table is None:
        return None
    return [
        {
            "cause": line.cause,
            "points": line.points,
            "only_a": line.only_a,
            "only_b": line.only_b,
            "changed": line.changed,
        }
        for line in table.lines
    ]


def _board(board: Board) -> dict[str, Json]:
    ours: list[Json] = []
    columns = board_columns("json", [line.results for line in board.ours])
    for line in board.ours:
        scores: dict[str, Json] = {}
        for column, cell in zip(board.columns, line.cells, strict=True):
            if cell is not None:
                row = cell.result.row
                scores[column.label] = {"score": row.score, "ci95": _bounds(row.ci95), "n": row.n_scored}
        costs: dict[str, Json] = {column.key: column.number(line.results) for column in columns}
        ours.append({"model": line.series.name, "scores": scores, **costs})
    published: list[Json] = [
        {
            "system": line.label,
            "scores": {
                column.label: {"score": cell.score.value, "source": board.sources[cell.letter]}
                for column, cell in zip(board.columns, line.cells, strict=True)
                if cell is not None
            },
        }
        for line in board.published
    ]
    return {"tasks": [column.label for column in board.columns], "ours": ours, "published": published}


def _bounds(bounds: tuple[float, float] | None) -> Json:
    return None if bounds is None else list(bounds)


def _sweep(sweep: Sweep) -> dict[str, Json]:
    points: list[Json] = [
        {
            "budget": budget_of(row),
            "score": row.score,
            "ci95": _bounds(row.ci95),
            "thinking_tokens": thinking_mean(row),
        }
        for row in sweep.rows
    ]
    published: list[Json] = [
        {"budget": budget, "score": score.value} for budget, score in published_curve(sweep.rows[0])
    ]
    pays = None if sweep.pays is None else sweep.pays.budget
    return {
        "model": sweep.series.name,
        "task": sweep.label,
        "pays_up_to": pays,
        "points": points,
        "published": published,
    }


def _gap(gap: Gap, sign: str) -> dict[str, Json]:
    return {
        "task": gap.task,
        "n": gap.n,
        "difference": gap.difference,
        "ci95": _bounds(gap.ci95),
        "p_value": gap.p_value,
        "changed": gap.changed,
        "decided": sign,
    }
