"""The pages of some sequences as one table of whole numbers on the host, kept up to date row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvl_eval.model.pages import PageTable

Int64Array = NDArray[np.int64]


class Pairs(NamedTuple):
    """Rows and the pages they hold, one pair after the other.

    Attributes:
        rows:   the row of each pair.
        places: which of its row's pages it is, from 0.
        pages:  the page.
    """

    rows: Int64Array
    places: Int64Array
    pages: Int64Array

    def picked(self, index: NDArray[np.bool_] | Int64Array) -> Pairs:
        """Some of the pairs, or all in another order."""
        return Pairs(self.rows[index], self.places[index], self.pages[index])


class BlockTable:
    """Pages of sequences, one a row.

    Attributes:
        pages:   (rows, most pages of a row) int32; what stands behind a row's last page means nothing.
        counts:  pages of each row.
        touched: rows written since the table was made; a row is written only when its sequence's pages changed.
    """

    def __init__(self, tables: Sequence[PageTable]) -> None:
        self.tables = list(tables)
        self.pages = np.zeros((len(self.tables), 0), np.int32)
        self.counts = np.zeros(len(self.tables), np.int64)
        self.touched = 0
        self._versions = [-1] * len(self.tables)
        self.update()

    def update(self) -> None:
        """Write the rows of sequences whose pages changed."""
        for row, table in enumerate(self.tables):
            if table.version != self._versions[row]:
                self._write(row, table)

    def pairs(self) -> Pairs:
        """Every page of every row, row by row."""
        present = np.arange(self.pages.shape[1]) < self.counts[:, None]
        rows, places = np.nonzero(present)
        return Pairs(rows, places, self.pages[present].astype(np.int64))

    def _write(self, row: int, table: PageTable) -> None:
        count, room = len(table.pages), self.pages.shape[1]
        if count > room:
            self.pages = np.pad(self.pages, ((0, 0), (0, count + count // 2 - room)))
        self.pages[row, :count] = table.pages
        self.counts[row] = count
        self._versions[row] = table.version
        self.touched += 1
