"""Results as HTML for notebooks. All text is escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from kvl_eval.reports import numbers
from kvl_eval.store.result_records import ResultRow

LEFT = ("task", "protocol")  # columns of text; the others are aligned right


def report_link(run: Path) -> str:
    """An address of the run's report relative to the current folder; empty where there is none."""
    page = run / "report" / "index.html"
    return quote(Path(os.path.relpath(page)).as_posix()) if page.is_file() else ""


def result_html(rows: Sequence[ResultRow], warnings: Sequence[str], link: str) -> str:
    """A table of results, warnings above it, a link to the report below it."""
    parts = [f"<p>{escape(numbers.plain(text))}</p>" for text in warnings]
    parts.append(table_html([_cells(row) for row in rows]) if rows else "<p>no results</p>")
    parts += [f'<p><a href="{escape(link)}" target="_blank">report</a></p>'] if link else []
    return "\n".join(parts)


def table_html(rows: Sequence[dict[str, str]]) -> str:
    """Rows {column: text} as a table; columns without any text are left out."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    head = "".join(f'<th scope="col" style="{_align(name)}">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_align(name)}">{escape(row[name])}</td>' for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _align(name: str) -> str:
    return f"text-align: {'left' if name in LEFT else 'right'}"


def _cells(row: ResultRow) -> dict[str, str]:
    reference = row.reference if row.reference is not None and row.reference.delta is not None else None
    no_answer = row.verdicts.get("no_answer", 0)
    return {
        "task": numbers.task_name(row),
        "budget": "" if row.budget is None else numbers.budget(row),
        "n": numbers.counted(row),
        "score": numbers.headline(row),
        "95% CI": numbers.interval(row),
        "published": "" if reference is None else numbers.figure(reference.value, numbers.in_points(row)),
        "Δ": "" if reference is None else numbers.delta(row),
        "no answer": numbers.no_answer_share(row) if no_answer else "",
        "failed": f"{row.n_failed}" if row.n_failed else "",
        "protocol": numbers.protocol_name(row),
    }
