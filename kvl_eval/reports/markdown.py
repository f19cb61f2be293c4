"""The report as one Markdown file, for pasting into an issue or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kvl_eval.reports import numbers
from kvl_eval.reports.columns import Column, cells, filled
from kvl_eval.reports.leaderboard import PublishedTable, leaderboard, our_text
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.runs import ReportRun, shown_rows
from kvl_eval.reports.task_view import Sections, TaskSection
from kvl_eval.reports.warnings import FEW, warning_lines, warnings_of
from kvl_eval.store.result_records import ResultRow

_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[#+=-])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: object) -> str:
    """`text` on one line with nothing left that Markdown or HTML would act upon."""
    line = plain(" ".join(str(text).split("\n")))
    entities = "".join(_ENTITIES.get(char, char) for char in line)
    return _SPECIAL.sub(r"\\\1", entities)


def cell(text: object) -> str:
    """Our own short texts and numbers in a table cell: only what would break the table is escaped."""
    return "".join(_ENTITIES.get(char, char) for char in str(text)).replace("|", "\\|").replace("\n", " ")


def markdown(runs: Sequence[ReportRun], sections: Sections, include_demo: bool = False, budgets: str = "") -> str:
    """The whole report: cautions, results, `budgets`, published tables beside ours, then each task's sub-scores."""
    parts = [f"# Results of {', '.join(dict.fromkeys(escape(run.model) for run in runs))}"]
    warnings = warning_lines(warnings_of(runs), FEW)
    if warnings:
        parts.append("> **Read this first**\n>\n" + "\n".join(f"> - {escape(text)}" for text in warnings))
    parts.append("## Results\n\n" + _results(runs))
    parts += [budgets] if budgets else []
    parts.append("## Comparison with published results\n\n" + _board(leaderboard(runs, include_demo)))
    parts += ["\n\n".join(_section(section)) for results in sections.values() for section in results]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table of cells that are escaped already; columns in `right` are aligned right."""
    rule = ["---:" if number in right else "---" for number in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _results(runs: Sequence[ReportRun]) -> str:
    lines = [(run, row) for run in runs for row in shown_rows(run)]
    columns = filled("markdown", [row for _, row in lines])
    rows = [[escape(run.model), *_cells(columns, row)] for run, row in lines]
    right = [number for number, column in enumerate(columns, 1) if column.numeric]
    return table(["model", *(column.title for column in columns)], rows, right=right)


def _cells(columns: Sequence[Column], row: ResultRow) -> list[str]:
    """One result, its score bold; what may hold foreign text is escaped."""
    texts = zip(columns, cells(columns, row), strict=True)
    return [
        f"**{text}**" if column.key == "score" else escape(text) if column.key in ("task", "protocol") else text
        for column, text in texts
    ]


def _board(board: PublishedTable) -> str:
    header = ["benchmark", *map(cell, board.systems), *(f"ours: {escape(run.model)}" for run in board.columns)]
    rows = []
    for row in board.rows:
        published = [
            "" if entry is None else _published(entry.score.printed, entry.source, entry.note)
            for entry in row.published
        ]
        rows.append([cell(row.label), *published, *(escape(our_text(entry)) for entry in row.ours)])
    notes = [f"{letter}: {cell(text)}" for letter, text in board.sources.items()]
    notes += [f"{number}: {cell(text)}" for number, text in enumerate(board.notes, 1)]
    notes += [escape(text) for text in board.left_out]
    return table(header, rows, right=range(1, len(header))) + "\n\n" + "  \n".join(notes)


def _published(printed: str, source: str, note: int) -> str:
    return f"{printed} <sup>{source}{f' {note}' if note else ''}</sup>"


def _section(section: TaskSection) -> Iterator[str]:
    row = section.row
    yield f"## {escape(numbers.task_name(row))}: {escape(section.run.model)}" + (
        "" if row.budget is None else f", budget {numbers.budget(row)}"
    )
    if section.run.demo:
        yield f"**{numbers.DEMO}**"
    blind = "" if section.blind is None else f"; blind {numbers.percent(section.blind)}"
    verdicts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in section.verdicts)
    if row.score is None:
        yield "No sample has a score."
    else:
        yield f"**{numbers.headline(row)}** {numbers.interval(row)} ({cell(row.ci_method)}{blind}): {verdicts}"
    if section.beside:
        yield "Also scored under " + "; ".join(escape(numbers.beside(row)) for row in section.beside)
    if section.unread:
        reasons = ", ".join(f"{escape(reason)} {count}" for reason, count in section.unread)
        yield f"No answer found: {reasons}"
    if section.parts is not None:
        rows = [[escape(name), *map(escape, texts)] for name, texts in section.parts.rows]
        yield table([escape(section.parts.name), *map(escape, section.parts.values)], rows)
        yield f"Published: {escape(section.parts.source)}"
    if section.heatmap is not None:
        heatmap = section.heatmap
        yield f"![{escape(heatmap.title)}]({heatmap.file()})"
        lines = [[escape(name), *map(escape, texts)] for name, texts in heatmap.lines]
        yield table([escape(heatmap.corner), *map(escape, heatmap.columns)], lines, right=range(len(lines[0])))
    for field, values in section.categories.items():
        lines = [
            [
                escape(value),
                f"{n}" + (" (few)" if n < numbers.SMALL else ""),
                numbers.percent(score),
                numbers.percent_interval(ci95),
            ]
            for value, n, score, ci95 in values
        ]
        yield table([escape(field), "n", "score", "95% CI"], lines, right=(1, 2))
    if len(section.protocols) > 1:
        lines = [
            [
                escape(numbers.protocol_name(view.row)),
                numbers.counted(view.row),
                numbers.headline(view.row),
                numbers.interval(view.row),
                "" if view is section.protocols[0] else view.differs,
            ]
            for view in section.protocols
        ]
        yield table(["protocol", "n", "score", "95% CI", "different verdicts"], lines, right=(1, 2, 4))
