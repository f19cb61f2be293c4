"""Results as HTML for notebooks. All text is escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from kvl_eval.reports import numbers
from kvl_eval.reports.columns import cells, filled
from kvl_eval.store.result_records import ResultRow


def report_link(run: Path) -> str:
    """An address of the run's report relative to the current folder; empty where there is none."""
    page = run / "report" / "index.html"
    return quote(Path(os.path.relpath(page)).as_posix()) if page.is_file() else ""


def result_html(rows: Sequence[ResultRow], warnings: Sequence[str], link: str) -> str:
    """A table of results, warnings above it, a link to the report below it."""
    parts = [f"<p>{escape(numbers.plain(text))}</p>" for text in warnings]
    parts.append(table_html(rows) if rows else "<p>no results</p>")
    parts += [f'<p><a href="{escape(link)}" target="_blank">report</a></p>'] if link else []
    return "\n".join(parts)


def table_html(rows: Sequence[ResultRow]) -> str:
    """Results under the columns of the terminal's table."""
    columns = filled("notebook", rows)
    styles = [f"text-align: {'right' if column.numeric else 'left'}" for column in columns]
    titles = zip(columns, styles, strict=True)
    head = "".join(f'<th scope="col" style="{style}">{escape(column.title)}</th>' for column, style in titles)
    lines = [zip(cells(columns, row), styles, strict=True) for row in rows]
    body = ["".join(f'<td style="{style}">{escape(text)}</td>' for text, style in line) for line in lines]
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table>"
