"""What the sentences above a leaderboard are made of, from a report's results."""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.references import LEADERBOARD_SYSTEMS, load
from kvl_eval.reports import numbers
from kvl_eval.reports.pages.board import Board, OurLine, OurScore, column_label, headlines
from kvl_eval.reports.pages.score_book import ScoreBook
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.pages.sweeps import Sweep
from kvl_eval.reports.runs import main_rows
from kvl_eval.store.result_records import PublishedRow
from kvl_eval.verdicts import AnsweredShare, Evidence, Gap, ModelPair, PublishedGap, PublishedPair


def evidence_of(series: Sequence[Series], board: Board, sweeps: Sequence[Sweep], book: ScoreBook) -> Evidence:
    """The evidence of a whole report."""
    paying = [sweep for sweep in sweeps if sweep.pays is not None and sweep.has_thoughts]
    largest = max(paying, key=lambda sweep: sweep.gain, default=None)
    return Evidence(
        models=tuple(model.name for model in series),
        n_tasks=len({row.task for model in series for row in model.run.rows}),
        unfinished=_unfinished(series),
        pair=named_pair(board, book),
        published=_published(series),
        pays=None if largest is None else largest.pays,
        demo=any(model.run.demo for model in series),
    )


def _unfinished(series: Sequence[Series]) -> AnsweredShare | None:
    """The model that has answered the smallest share of its plan; None where all are done."""
    counts = []
    for model in series:
        rows = main_rows(model.run)
        planned, pending = sum(row.n_planned for row in rows), sum(row.n_pending for row in rows)
        if pending:
            counts.append(AnsweredShare(model=model.name, answered=planned - pending, planned=planned))
    return min(counts, key=lambda count: count.answered / count.planned, default=None)


def named_pair(board: Board, book: ScoreBook) -> ModelPair | None:
    """The last model of the table against the best earlier one that shares a task with it."""
    named = named_lines(board)
    pair = None if named is None else pair_of(board, *named, book)
    return pair if pair is not None and pair.gaps else None


def named_lines(board: Board) -> tuple[OurLine, OurLine] | None:
    """The last model that shares a task with an earlier one, after that of those that leads on most shared tasks."""
    for number in range(len(board.ours) - 1, 0, -1):
        last, earlier = board.ours[number], board.ours[:number]
        wins: dict[int, int] = {}
        for place, line in enumerate(earlier):
            both = enumerate(zip(line.cells, last.cells, strict=True))
            shared = [column for column, cells in both if None not in cells]
            if shared:
                wins[place] = sum(_leads(earlier, line, column) for column in shared)
        if wins:
            return earlier[max(wins, key=lambda place: (wins[place], -place))], last
    return None


def _leads(lines: Sequence[OurLine], line: OurLine, column: int) -> bool:
    """Whether a model has the highest score of these under a head."""
    values = [cell.value for other in lines if (cell := other.cells[column]) is not None]
    cell = line.cells[column]
    return cell is not None and cell.value == max(values)


def pair_of(board: Board, a: OurLine, b: OurLine, book: ScoreBook) -> ModelPair:
    """How one model of the table differs from another on the tasks that both have."""
    gaps = [
        gap
        for column, left, right in zip(board.columns, a.cells, b.cells, strict=True)
        if left is not None and right is not None
        if (gap := _gap(left, right, column.label, column.points, book)) is not None
    ]
    return ModelPair(a=a.series.name, b=b.series.name, gaps=tuple(gaps))


def _gap(left: OurScore, right: OurScore, label: str, points: bool, book: ScoreBook) -> Gap | None:
    return book.gap(left.result, right.result, label, points)


def _published(series: Sequence[Series]) -> PublishedPair | None:
    """The model with most results that can be compared with published ones of it; the later of two equal ones."""
    pairs = [pair for model in series if (pair := published_pair(model)) is not None]
    return max(reversed(pairs), key=lambda pair: len(pair.gaps), default=None)


def published_pair(model: Series) -> PublishedPair | None:
    """One model's results beside those published of it; None where none can be compared."""
    gaps: list[PublishedGap] = []
    systems: list[str] = []
    for row in headlines(model).values():
        reference = row.reference
        if reference is None or reference.delta is None or model.run.demo:
            continue
        gaps.append(
            PublishedGap(
                task=column_label(row),
                gap=reference.delta,
                agrees=numbers.reference_mark(reference) == "≈",
                points=numbers.in_points(row),
            )
        )
        systems.append(_label(reference))
    return PublishedPair(model=model.name, system=systems[0], gaps=tuple(gaps)) if gaps else None


def _label(reference: PublishedRow) -> str:
    """How tables call a system."""
    known = (score.system_label for score in load() if score.system == reference.system)
    return next(known, reference.system) if reference.system in LEADERBOARD_SYSTEMS else reference.system
