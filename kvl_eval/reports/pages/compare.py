"""The comparison page: one section for each pair of models, with settings, differences by task, and flips by cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from markupsafe import Markup

from kvl_eval.reports import numbers
from kvl_eval.reports.links import filtered_address
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.pages import charts
from kvl_eval.reports.pages.board import BoardColumn, OurLine, OurScore
from kvl_eval.reports.pages.charts import Plot
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.evidence import named_lines
from kvl_eval.reports.pages.flips import CauseNames, CauseTable, cause_table, changed_samples
from kvl_eval.reports.pages.front import anchor_of, gap_row, pair_plot, with_bold
from kvl_eval.scorers.statistics import holm
from kvl_eval.verdicts import (
    LEVEL,
    Gap,
    ModelPair,
    Sign,
    nearest_undecided,
    p_text,
    pair_sentence,
    signed,
)

MOST = 12  # pairs with a section of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """What differs between the runs at places `a` and `b` of a report.

    Attributes:
        settings:      what can change an answer; `circumstances` should not.
        problem:       why the runs cannot be compared; empty where they can.
    """

    a: int
    b: int
    settings: tuple[str, ...] = ()
    circumstances: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """One task of one pair, as texts and a drawing; `samples` are the ids of those whose scores differ."""

    anchor: str
    label: str
    page: str
    a: str
    b: str
    difference: str
    interval: str
    drawn: Markup
    verdict: str
    needed: str
    css: str
    p: str
    flips: int
    link: str
    task: str
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSection:
    """One pair: B against A.

    Attributes:
        names:     of A and B, with their budgets.
        pair:      the differences, in the order of `rows`.
        is_other:  whether it is opened by the select alone: neither the pair that is named nor one of the last model.
        left_out:  a line for each task with samples outside the pairs.
        tag:       what the sample browser calls the pair; empty where it is the only one.
        causes:    of the task with the largest decided difference, with its flips.
        others:    of the other tasks, without flips.
    """

    key: str
    a: OurLine
    b: OurLine
    names: tuple[str, str]
    pair: ModelPair
    is_other: bool
    lead: Markup
    settings: PairSettings
    axis: Markup
    rows: tuple[DifferenceRow, ...]
    left_out: tuple[str, ...]
    tag: str
    causes: CauseTable | None
    others: tuple[CauseTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """How the model of a row does against that of a column: tasks better and worse, and where it is shown."""

    better: int
    worse: int
    open: int
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """What the template shows."""

    sections: tuple[PairSection, ...]
    matrix: tuple[tuple[OurLine, tuple[MatrixCell | None, ...]], ...]
    problems: tuple[str, ...]


def compare_page(context: Context, settings: Iterable[PairSettings]) -> ComparePage | None:
    """The page; None with fewer than two models that share a task."""
    lines = context.compared.ours
    known = {(pair.a, pair.b): pair for pair in settings}
    pairs = [pair for pair in _ordered(context) if _shared(*pair)]
    made = (
        _section(context, _Pairing(a, b, _settings(known, a, b), is_named=number == 0, is_alone=len(pairs) == 1))
        for number, (a, b) in enumerate(pairs[:MOST])
    )
    sections = [section for section in made if section is not None]
    if not sections:
        return None
    last = max((section.b for section in sections), key=lambda line: line.series.number)
    sections = [
        replace(section, is_other=number > 0 and section.b is not last) for number, section in enumerate(sections)
    ]
    shown = {section.key for section in sections}
    matrix = [(line, tuple(_cell(context, line, other, shown) for other in lines)) for line in lines]
    names = {line.series.number: line.series.name for line in lines}
    problems: dict[str, list[str]] = {}
    for pair in known.values():
        if pair.problem and pair.a in names and pair.b in names:
            problems.setdefault(plain(pair.problem), []).append(f"{names[pair.b]} against {names[pair.a]}")
    return ComparePage(
        sections=tuple(sections),
        matrix=tuple(matrix) if len(lines) > 2 else (),
        problems=tuple(f"Not compared, since {why}: {', '.join(those)}." for why, those in problems.items()),
    )


def sample_causes(page: ComparePage) -> dict[tuple[str, str], list[str]]:
    """{(task, sample id): causes of its flips} of all pairs; each names its pair where there are several."""
    causes: dict[tuple[str, str], list[str]] = {}
    for section in page.sections:
        for row in section.rows if section.tag else ():
            for sample_id in row.samples:
                causes.setdefault((row.task, sample_id), []).append(section.tag)
        tables = [section.causes, *section.others] if section.causes is not None else section.others
        for task, line in ((table.task, line) for table in tables for line in table.lines):
            for sample_id in line.samples:
                causes.setdefault((task, sample_id), []).append(line.tag)
    return causes


def _ordered(context: Context) -> list[tuple[OurLine, OurLine]]:
    """The pair that the front page names, the last model against each other one, then all other pairs."""
    lines = context.compared.ours
    if len(lines) < 2:
        return []
    named = named_lines(context.compared)
    pairs = [
        *([named] if named is not None else []),
        *((line, lines[-1]) for line in lines[:-1]),
        *combinations(lines[:-1], 2),
    ]
    return list({pair_key(a, b): (a, b) for a, b in pairs}.values())


def pair_key(a: OurLine, b: OurLine) -> str:
    """What addresses call a pair."""
    return f"{a.series.key}-{b.series.key}"


def _shared(a: OurLine, b: OurLine) -> list[int]:
    """The columns in which both have a score."""
    cells = enumerate(zip(a.cells, b.cells, strict=True))
    return [place for place, (left, right) in cells if left is not None and right is not None]


def _settings(known: Mapping[tuple[int, int], PairSettings], a: OurLine, b: OurLine) -> PairSettings:
    place = (a.series.number, b.series.number)
    return known.get(place) or PairSettings(a=place[0], b=place[1])


class _Compared(NamedTuple):
    """One task of a pair."""

    column: BoardColumn
    a: OurScore
    b: OurScore
    gap: Gap


class _Pairing(NamedTuple):
    """A pair, the settings that differ, whether the front page names it, and whether it is the only one."""

    a: OurLine
    b: OurLine
    settings: PairSettings
    is_named: bool
    is_alone: bool

    @property
    def key(self) -> str:
        return pair_key(self.a, self.b)

    @property
    def names(self) -> tuple[str, str]:
        return _name(self.a), _name(self.b)

    @property
    def tag(self) -> str:
        """What the sample browser calls the pair; empty where it is the only one."""
        return "" if self.is_alone else f"{self.names[1]} against {self.names[0]}"

    def anchor(self, column: BoardColumn) -> str:
        """The id of a task's row: that of the named pair is the task's own."""
        return anchor_of(column) if self.is_named else f"{self.key}-{anchor_of(column)}"


def _section(context: Context, pairing: _Pairing) -> PairSection | None:
    """One pair; None where the two have no scored sample in common."""
    compared = list(_compared(context, pairing))
    if not compared:
        return None
    pair = ModelPair(a=pairing.names[0], b=pairing.names[1], gaps=tuple(task.gap for task in compared))
    signs, corrected = pair.decided, holm([gap.p_value for gap in pair.gaps])
    plot = pair_plot(pair.gaps, ticks=True)
    tables = _causes(context, pairing, compared, signs)
    return PairSection(
        key=pairing.key,
        a=pairing.a,
        b=pairing.b,
        names=pairing.names,
        pair=pair,
        is_other=False,
        lead=_lead(pair),
        settings=pairing.settings,
        axis=charts.axis(plot, [signed(tick / 100) if tick else "0" for tick in plot.ticks]),
        rows=tuple(
            _row(context, pairing, task, _Decision(sign, p_value, plot))
            for task, sign, p_value in zip(compared, signs, corrected, strict=True)
        ),
        left_out=tuple(text for task in compared if (text := _left_out(context, task))),
        tag=pairing.tag,
        causes=tables[0] if tables else None,
        others=tuple(tables[1:]),
    )


def _compared(context: Context, pairing: _Pairing) -> Iterator[_Compared]:
    measure = context.book.gap if pairing.is_named else context.book.quick_gap
    for column, a, b in zip(context.compared.columns, pairing.a.cells, pairing.b.cells, strict=True):
        if a is not None and b is not None:
            gap = measure(a.result, b.result, column.label, column.points)
            if gap is not None:
                yield _Compared(column, a, b, gap)


def _name(line: OurLine) -> str:
    """A model with the budget that its results are of, where it has one."""
    budgets = {cell.result.row.budget for cell in line.cells if cell is not None} - {None}
    labels = [numbers.budget_label(budget) for budget in sorted(filter(None, budgets))]
    if not labels or f"({labels[-1]})" in line.series.name:
        return line.series.name
    return f"{line.series.name} at {labels[-1]}"


def _lead(pair: ModelPair) -> Markup:
    """The pair's sentence, each decided difference, and the undecided task nearest to a decision."""
    text = with_bold(pair_sentence(pair))
    decided = [
        f"{gap.task} {gap.printed} {gap.interval}"
        for gap, sign in zip(pair.gaps, pair.decided, strict=True)
        if sign != "same"
    ]
    if decided and len(pair.gaps) > 1:
        text += Markup(" Decided: {}.").format("; ".join(decided))
    nearest = nearest_undecided(pair)
    if nearest is not None and nearest.needed is not None:
        text += Markup(" {} would take about {} samples; it has {}.").format(
            nearest.task, f"{nearest.needed:,}", f"{nearest.n:,}"
        )
    return text


class _Decision(NamedTuple):
    """What is decided of one task, its corrected p value, and the scale that it is drawn on."""

    sign: Sign
    p_value: float
    plot: Plot


def _row(context: Context, pairing: _Pairing, task: _Compared, decision: _Decision) -> DifferenceRow:
    column, gap = task.column, task.gap
    winner = {"up": pairing.b, "down": pairing.a}.get(decision.sign)
    series = (winner or pairing.b).series
    open_ = decision.sign == "same"
    needed = f"about {gap.needed:,} needed" if open_ and gap.needed is not None else ""
    return DifferenceRow(
        anchor=pairing.anchor(column),
        label=column.label,
        page=column.page,
        a=task.a.text,
        b=task.b.text,
        difference=gap.printed,
        interval=gap.interval,
        drawn=gap_row(gap, decision.plot, "pub" if open_ else series.css, series.shape),
        verdict="undecided" if winner is None else f"{_name(winner)} is better",
        needed=needed,
        css="" if open_ else "better",
        p=f"{p_text(decision.p_value)} after Holm’s correction",
        flips=round(gap.changed * gap.n),
        link=filtered_address(task=column.task, **({"cause": pairing.tag} if pairing.tag else {"differ": 1})),
        task=column.task,
        samples=changed_samples(task.a.result, task.b.result, context.book),
    )


def _left_out(context: Context, task: _Compared) -> str:
    """Samples of a task outside the pairs; empty where there are none."""
    test = context.book.test(task.a.result, task.b.result)
    assert test is not None, "a compared task has pairs"
    counts = test.counts
    a, b = (cell.result.series.name for cell in (task.a, task.b))
    parts = {
        f"only {a} has a score": counts.only_a,
        f"only {b} has a score": counts.only_b,
        "without a score": counts.not_scored,
        "with a changed question or gold answer": len(counts.changed_samples),
    }
    texts = [f"{n:,} {words}" for words, n in parts.items() if n]
    return f"{task.column.label}: {', '.join(texts)}" if texts else ""


def _causes(
    context: Context, pairing: _Pairing, compared: Sequence[_Compared], signs: Sequence[Sign]
) -> list[CauseTable]:
    """The tables of causes; that of the task with the largest decided difference comes first, with its flips.

    Tables of all other tasks only for the pair that the front page names.
    """
    ranked = sorted(
        zip(compared, signs, strict=True), key=lambda pair: (pair[1] == "same", -abs(pair[0].gap.difference))
    )
    tables = [
        cause_table(task.a.result, task.b.result, context.book, CauseNames(task.column.label, pairing.tag), place == 0)
        for place, (task, _) in enumerate(ranked if pairing.is_named else ranked[:1])
    ]
    return [table for table in tables if table is not None and table.lines]


def _cell(context: Context, line: OurLine, other: OurLine, shown: Set[str]) -> MatrixCell | None:
    """How `line` does against `other`; None for itself, or where they share no task."""
    places = _shared(line, other)
    if line is other or not places:
        return None
    cells = [(other.cells[place], line.cells[place]) for place in places]
    tests = [
        test
        for a, b in cells
        if a is not None and b is not None and (test := context.book.test(a.result, b.result)) is not None
    ]
    corrected = holm([test.p_value for test in tests])
    decided = [test.difference for test, p_value in zip(tests, corrected, strict=True) if p_value < LEVEL]
    keys = [key for key in (pair_key(other, line), pair_key(line, other)) if key in shown]
    return MatrixCell(
        better=sum(difference > 0 for difference in decided),
        worse=sum(difference < 0 for difference in decided),
        open=len(tests) - sum(map(bool, decided)),
        link=f"#{keys[0]}" if keys else "",
    )
