"""Our results beside published results, in the layout of the tables of the Kimi-VL report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

from kvl_eval import references
from kvl_eval.errors import UsageError
from kvl_eval.references import LEADERBOARD_SYSTEMS, ReferenceScore
from kvl_eval.reports import numbers
from kvl_eval.reports.averages import mean_result, part_result
from kvl_eval.reports.runs import ReportRun, beside_rows, blind_score, is_default_protocol, main_rows, task_of
from kvl_eval.store.result_records import ResultRow

PRINTED = {
    "table3": ("instruct_main", "Kimi-VL-A3B-Instruct (report, Table 3, as its model card prints it)"),
    "thinking": ("thinking_table4", "Kimi-VL-A3B-Thinking (report, Table 4)"),
    "budget": ("budget_sweep_fig13", "Kimi-VL-A3B-Thinking at maximum thinking lengths (report, Figure 13)"),
    "niah": ("niah_table2", "Kimi-VL: recall of a needle by tokens of the haystack (report, Table 2)"),
    "2506": ("thinking2506_card_efficient", "Kimi-VL-A3B-Thinking-2506 (model card, efficient models)"),
}
BUDGET = "max_thinking_tokens="
HAYSTACK = re.compile(r"haystack_tokens=\((\d+),(\d+)\]")
OTHER = "Other"  # heading over benchmarks that nothing here knows


@dataclass(frozen=True, slots=True)
class NotRun:
    """Of a published benchmark without a task: the heading over its row (empty: it has none), and why it is not run."""

    group: str
    why: str


LIVE = "needs a live desktop; docs/agents.md says how to run it, where that is possible"
NOT_RUN = {
    **dict.fromkeys(("osworld", "windowsagentarena"), NotRun("Agent grounding", LIVE)),
    **dict.fromkeys(("mmlu", "mmlu_pro", "math", "gpqa_diamond"), NotRun("", "text only, not a vision benchmark")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """A published result: its text, the letter of its source, the number of its note on disagreeing sources (or 0)."""

    score: ReferenceScore
    source: str
    note: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OurCell:
    """One of our results in a published row.

    Attributes:
        rank:   counts published systems too; None where it means nothing.
        beside: the same answers under the protocols that the task shows beside its default one.
    """

    run: ReportRun
    row: ResultRow
    marks: tuple[str, ...]
    rank: int | None
    blind: float | None
    beside: tuple[ResultRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One benchmark: a cell (or None) for each system, then for each of our runs."""

    label: str
    group: str
    unit: str
    published: tuple[PublishedCell | None, ...]
    ours: tuple[OurCell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """A table of the report with our columns.

    Attributes:
        systems:  labels of the published columns.
        columns:  our runs, one column each.
        sources:  {letter: text}.
        notes:    disagreements between sources, the first being number 1.
        left_out: why given runs have no column, and which rows can never have a figure of ours.
    """

    title: str
    systems: tuple[str, ...]
    columns: tuple[ReportRun, ...]
    rows: tuple[TableRow, ...]
    sources: dict[str, str]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def leaderboard(runs: Sequence[ReportRun], include_demo: bool = False) -> PublishedTable:
    """All published rows, each figure the one shown by default, beside our runs."""
    labels = {score.system: score.system_label for score in references.load()}
    groups = benchmark_groups(references.load())
    chosen = [
        score
        for score in references.load()
        if score.is_default and score.system in LEADERBOARD_SYSTEMS and BUDGET not in score.setting
    ]
    rows = [score for score in chosen if groups[score.benchmark]]
    without = [score for score in chosen if not groups[score.benchmark]]
    systems = {system: labels[system] for system in LEADERBOARD_SYSTEMS}
    table = _table("Leaderboard", rows, systems, runs, include_demo)
    return replace(table, left_out=(*table.left_out, *_not_run(without)))


def published_table(name: str, runs: Sequence[ReportRun], include_demo: bool = False) -> PublishedTable:
    """One table as it was printed, beside our runs. Raises UsageError for a name that is not in `PRINTED`."""
    if name not in PRINTED:
        raise UsageError("usage.table", f"unknown table {name!r}", fix=f"use one of {', '.join(PRINTED)}")
    table, title = PRINTED[name]
    chosen = [score for score in references.load() if score.table == table]
    fullest = Counter(score.row for score in chosen).most_common(1)[0][0]  # holds every column in printed order
    systems = {score.system: score.system_label for score in sorted(chosen, key=lambda score: score.row != fullest)}
    return _table(title, chosen, systems, runs, include_demo)


def printed_table(name: str, runs: Sequence[ReportRun], include_demo: bool = False) -> str:
    """`published_table` as text for the terminal: our columns last, empty where no run fits."""
    table = published_table(name, runs, include_demo)
    ours = [f"ours: {run.model}" for run in table.columns] or ["ours"]
    lines = [["benchmark", *table.systems, *ours]]
    for row in table.rows:
        published = [_published_text(cell) for cell in row.published]
        lines.append([row.label, *published, *([our_text(cell) for cell in row.ours] or [""])])
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    return "\n".join([table.title, "", numbers.columns(lines), "", *notes, *table.left_out]).rstrip()


def _published_text(cell: PublishedCell | None) -> str:
    return "" if cell is None else cell.score.printed + (f" [{cell.note}]" if cell.note else "")


def our_text(cell: OurCell | None) -> str:
    """`67.9 [65.0, 70.7] -0.8 ≈ (partial; reader; official 65.1 [62.0, 68.0])`; empty without a result."""
    if cell is None:
        return ""
    label = (numbers.protocol_name(cell.row),) if cell.beside else ()
    notes = (*cell.marks, *label, *map(numbers.beside, cell.beside))
    marks = f"({'; '.join(notes)})" if notes else ""
    parts = (numbers.headline(cell.row), numbers.interval(cell.row), numbers.delta(cell.row), marks)
    return " ".join(part for part in parts if part)


def _table(
    title: str, chosen: Sequence[ReferenceScore], systems: dict[str, str], runs: Sequence[ReportRun], include_demo: bool
) -> PublishedTable:
    columns = [run for run in runs if (include_demo or not run.demo) and not _all_blind(run)]
    tables = {score.table for score in chosen}
    letters = dict(zip((table for table in references.TABLES if table in tables), ascii_lowercase, strict=False))
    notes: list[str] = []
    rows = []
    groups = benchmark_groups(references.load())
    places = {benchmark: place for place, benchmark in enumerate(groups)}
    for key in sorted(dict.fromkeys(score.row for score in chosen), key=lambda key: places[key[0]]):
        cells = {score.system: score for score in chosen if score.row == key}
        first = next(iter(cells.values()))
        published = tuple(_cell(cells.get(system), letters, notes) for system in systems)
        ours = tuple(_our_cell(run, first, list(cells.values()), runs) for run in columns)
        rows.append(
            TableRow(label=_label(first), group=groups[key[0]], unit=first.unit, published=published, ours=ours)
        )
    return PublishedTable(
        title=title,
        systems=tuple(systems.values()),
        columns=tuple(columns),
        rows=tuple(rows),
        sources={letter: references.TABLES[table] for table, letter in letters.items()},
        notes=tuple(notes),
        left_out=(
            *(f"{run.run_id}: {numbers.DEMO}; left out" for run in runs if run.demo and not include_demo),
            *_not_run(chosen),
        ),
    )


def _not_run(scores: Sequence[ReferenceScore]) -> list[str]:
    """Which of these benchmarks are not run here, and why."""
    labels = {score.benchmark: score.benchmark_label for score in scores}
    return [f"{label}: {NOT_RUN[name].why}" for name, label in labels.items() if name in NOT_RUN]


def benchmark_groups(scores: Iterable[ReferenceScore]) -> dict[str, str]:
    """{published benchmark: the heading over its row}, in the order of rows: heading by heading, as the figures come.

    An empty heading means that the leaderboard has no row for it.
    """
    from kvl_eval.tasks import TASKS

    titles = {name: entry.group for name, entry in NOT_RUN.items()}
    titles |= {task.reference.benchmark: task.group_title for task in TASKS.values() if task.reference is not None}
    groups = {score.benchmark: titles.get(score.benchmark, OTHER) for score in scores}
    headings = list(dict.fromkeys([*filter(None, groups.values()), ""]))
    return dict(sorted(groups.items(), key=lambda item: headings.index(item[1])))


def _cell(score: ReferenceScore | None, letters: Mapping[str, str], notes: list[str]) -> PublishedCell | None:
    if score is None:
        return None
    text = references.disagreement(score)
    if text:
        notes.append(f"{score.system_label}, {score.row_label}: {score.printed} shown; {text}")
    return PublishedCell(score=score, source=letters[score.table], note=len(notes) if text else 0)


def _our_cell(
    run: ReportRun, wanted: ReferenceScore, published: Sequence[ReferenceScore], runs: Sequence[ReportRun]
) -> OurCell | None:
    """The run's result for a published row: same benchmark, setting and budget, on the split that was published."""
    fitting = [row for row in main_rows(run) if _fits(row, wanted, run.demo)]
    if not fitting:
        return None
    parts = _parts(fitting)
    row = _of_part(fitting[0], wanted) if parts is None else mean_result(parts, wanted)
    marks = _marks(run, row)
    rank = None
    if not marks and row.score is not None:
        rank = 1 + sum(score.value > row.score for score in published)
    blind = (
        [None] if row is not fitting[0] and parts is None else [blind_score(runs, run, one) for one in parts or [row]]
    )
    known = [one for one in blind if one is not None]
    mean_blind = sum(known) / len(known) if len(known) == len(blind) else None
    beside = _beside(run, parts or fitting[:1], wanted) if row is fitting[0] or parts else ()
    return OurCell(run=run, row=row, marks=marks, rank=rank, blind=mean_blind, beside=beside)


def _beside(run: ReportRun, rows: Sequence[ResultRow], wanted: ReferenceScore) -> tuple[ResultRow, ...]:
    """What the task shows beside its result; of a mean of tasks the means under the protocols that all of them show."""
    others = [{other.protocol: other for other in beside_rows(run, row)} for row in rows]
    shared = [name for name in others[0] if all(name in found for found in others)]
    return tuple(
        others[0][name] if len(rows) == 1 else mean_result([found[name] for found in others], wanted) for name in shared
    )


def _parts(fitting: Sequence[ResultRow]) -> list[ResultRow] | None:
    """The results, one a task, whose mean the published result is; None where it is of one task, or one is missing."""
    task = task_of(fitting[0])
    names = () if task is None or task.reference is None else task.reference.mean_of
    by_task = {row.task: row for row in fitting}
    return [by_task[name] for name in names] if names and set(names) <= set(by_task) else None


def _of_part(row: ResultRow, wanted: ReferenceScore) -> ResultRow:
    """The result itself, or what it says of the category's value that the figure was published for."""
    task = task_of(row)
    by = None if task is None or task.reference is None else task.reference.by
    return row if by is None else part_result(row, by, wanted) or row


def _fits(row: ResultRow, wanted: ReferenceScore, demo: bool) -> bool:
    task = task_of(row)
    if task is None or task.reference is None or row.blind:
        return False
    reference, setting = task.reference, task.reference.setting or ""
    if wanted.setting.startswith(BUDGET):
        setting = f"{BUDGET}{row.budget}"
    elif row.budget is not None:
        return False
    elif reference.by is not None and part_result(row, reference.by, wanted) is not None:
        setting = wanted.setting
    by_part = reference.by is not None  # of haystacks drawn more or less densely: a mark says which
    same_split = reference.split in (None, wanted.split) and (demo or by_part or row.split == task.published_split)
    return (reference.benchmark, setting) == (wanted.benchmark, wanted.setting) and same_split


def _marks(run: ReportRun, row: ResultRow) -> tuple[str, ...]:
    """What sets a result apart from a whole, comparable one; a marked result has no rank."""
    tests: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: run.demo, numbers.DEMO),
        (lambda: run.manifest.model.weights is not None, f"{numbers.plain(run.manifest.model.weights)} weights"),
        (lambda: _is_other_split(row), f"split {row.split}"),
        (lambda: bool(row.partial), f"partial, {numbers.plain(row.partial)}"),
        (lambda: not row.complete, f"incomplete, {numbers.counted(row)} scored"),
        (lambda: not is_default_protocol(row), f"other protocol: {numbers.protocol_name(row)}"),
    )
    marks = tuple(text for test, text in tests if test())
    note = "" if row.reference is None else row.reference.note
    return marks or ((numbers.plain(note),) if note else ())


def _is_other_split(row: ResultRow) -> bool:
    """Whether a result that stands beside figures by category is of another split than the whole one."""
    task = task_of(row)
    by = None if task is None or task.reference is None else task.reference.by
    return task is not None and by is not None and row.split != task.published_split


def _all_blind(run: ReportRun) -> bool:
    return bool(run.rows) and all(row.blind for row in run.rows)


def _label(score: ReferenceScore) -> str:
    if score.setting.startswith(BUDGET):
        return f"{score.benchmark_label}, {int(score.setting.removeprefix(BUDGET)) // 1024}k"
    if match := HAYSTACK.fullmatch(score.setting):
        least, most = (f"{int(number) // 1024}k" for number in match.groups())
        return f"{score.benchmark_label}, {'up to' if least == '0k' else f'{least} to'} {most} tokens"
    return score.row_label
