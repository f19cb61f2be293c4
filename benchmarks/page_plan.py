"""The plan of which pages a decode step reads, in a steady state where one row takes a page: CPU time on the host.

    python -m benchmarks.page_plan

64 rows of 9,000 tokens. The goal speaks of the median over steps, in milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch

from benchmarks.measure import Row, main, seconds
from kvl_eval.model.page_plan import plan_parts, row_entries
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import StepRows

ROWS, TOKENS, STEPS = 64, 9000, 50
PAGES = {64: "a page on a CPU", 256: "a page on an accelerator"}


def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows, one for each size of a page."""
    return [_row(page_size, rows=4 if tiny else ROWS, steps=3 if tiny else STEPS) for page_size in PAGES]


def _row(page_size: int, rows: int, steps: int) -> Row:
    pool, tables = PagePool(layers=1, width=1, page_size=page_size), [PageTable() for _ in range(rows)]
    for table in tables:
        _extend(pool, table, TOKENS)
    block_table, times = StepRows(pool, tables).block_table, []
    for step in range(steps):
        _extend(pool, tables[step % rows], page_size)
        begin, touched = time.thread_time(), block_table.touched
        block_table.update()
        parts = plan_parts(block_table, pool.used, page_size, torch.device("cuda"))
        row_entries([part.owners for part in parts], rows)
        times.append(time.thread_time() - begin)
        assert block_table.touched == touched + 1
    spent = statistics.median(times)
    return Row(
        what=f"plan of pages, {rows} rows of {TOKENS:,} tokens, {page_size} tokens per page ({PAGES[page_size]})",
        against="",
        ours=seconds(spent),
        theirs="",
        figure=spent * 1000,
        unit=" ms",
        at_most=1.0,
    )


def _extend(pool: PagePool, table: PageTable, tokens: int) -> None:
    pool.extend([table], tokens)
    table.length += tokens


if __name__ == "__main__":
    main(__doc__, measure)
