"""How a decode step reads the pages of its rows: as they lie, picked, or once for all rows that share them.

Shapes: N pages, P tokens per page, W values a token, G rows that attend to a page, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kvl_eval.model.block_table import BlockTable, Int64Array, Pairs

AT_ONCE = {"cpu": 8}  # pages, times rows, of a shared run from which it is read by itself and not picked for each row
AT_ONCE_ELSEWHERE = 512  # where picking is fast, and starting an operation is not


class OwnedPages(NamedTuple):
    """Pages that are read each for one row.

    Attributes:
        pages:  neighbours in the store, or the ones to be picked out of it.
        owners: (N, 1), the row that attends to each page.
        starts: (N), the owner's token that stands first in each page.
    """

    pages: slice | Tensor
    owners: Tensor
    starts: Tensor

    def to(self, device: torch.device) -> OwnedPages:
        """The same on a device."""
        pages = self.pages if isinstance(self.pages, slice) else self.pages.to(device, non_blocking=True)
        owners = self.owners.to(device, non_blocking=True)
        return OwnedPages(pages, owners, self.starts.to(device, non_blocking=True))

    def latents(self, store: Tensor) -> Tensor:
        """The pages, (N, P, W)."""
        return store[self.pages] if isinstance(self.pages, slice) else store.index_select(0, self.pages)

    def hidden(self, seen: Tensor, page_size: int) -> Tensor | None:
        """True (N, P) at places that the owner does not see, of which it sees the first `seen`."""
        return torch.arange(page_size, device=seen.device) >= (seen[self.owners[:, 0]] - self.starts)[:, None]


class SharedPages(NamedTuple):
    """Neighbours in the store that some rows see whole, read once for all of them as one long page.

    Attributes:
        pages:  where they lie.
        owners: (1, G), the rows.
    """

    pages: slice
    owners: Tensor

    def to(self, device: torch.device) -> SharedPages:
        """The same on a device."""
        return SharedPages(self.pages, self.owners.to(device, non_blocking=True))

    def latents(self, store: Tensor) -> Tensor:
        """The long page, (1, N * P, W)."""
        return store[self.pages].flatten(0, 1)[None]

    def hidden(self, seen: Tensor, page_size: int) -> Tensor | None:
        """Nothing of it is hidden."""
        return None


PageGroup = OwnedPages | SharedPages
"""Pages that are read together."""


def plan_parts(table: BlockTable, used: int, page_size: int, device: torch.device) -> list[PageGroup]:
    """How the pages of some rows are read on a device, where the first `used` pages of the store are in use.

    The store is read as it lies, each page for one of its rows. What further rows share with that one is read once
    more for all of them together where it is long, and picked for each of them where it is short. Where most pages
    belong to none of the rows, for instance to a long prompt on its way in, nothing is read as it lies.
    Returns: parts that lie on the host.
    """
    pairs = table.pairs()
    parts: list[PageGroup] = []
    if 0 < used <= 2 * len(pairs.pages):
        owners, starts = np.full(used, len(table.tables)), np.zeros(used, np.int64)
        owners[pairs.pages[::-1]] = pairs.rows[::-1]  # of several rows the first
        starts[pairs.pages] = pairs.places * page_size
        parts.append(_owned(slice(0, used), owners, starts))
        pairs = pairs.picked(owners[pairs.pages] != pairs.rows)
    if len(pairs.pages):
        parts += _run_parts(pairs, page_size, AT_ONCE.get(device.type, AT_ONCE_ELSEWHERE))
    return parts


def _run_parts(pairs: Pairs, page_size: int, at_once: int) -> list[PageGroup]:
    """Parts of runs: long ones by themselves, all others picked together."""
    pairs = pairs.picked(np.lexsort((pairs.rows, pairs.pages)))
    runs = _runs(pairs)
    parts: list[PageGroup] = []
    long = runs.lengths * runs.owners >= at_once
    for pair, length, count in zip(runs.pairs[long], runs.lengths[long], runs.owners[long], strict=True):
        first, owners = int(pairs.pages[pair]), pairs.rows[pair : pair + count]
        pages = slice(first, first + int(length))
        if count > 1:
            parts.append(SharedPages(pages, torch.from_numpy(owners.copy())[None]))
        else:  # the last page of a row is its own, and not full
            starts = pairs.places[pair : pair + length] * page_size
            parts.append(_owned(pages, owners.repeat(length), starts))
    if not long.all():
        rest = pairs.picked(~long.repeat(runs.lengths * runs.owners))
        parts.append(_owned(torch.from_numpy(rest.pages), rest.rows, rest.places * page_size))
    return parts


def _owned(pages: slice | Tensor, owners: Int64Array, starts: Int64Array) -> OwnedPages:
    return OwnedPages(pages, torch.from_numpy(owners)[:, None], torch.from_numpy(starts))


class _Runs(NamedTuple):
    """Neighbouring pages that the same rows hold: first pair, pages and rows of each run."""

    pairs: Int64Array
    lengths: Int64Array
    owners: Int64Array


def _runs(pairs: Pairs) -> _Runs:
    """Of pairs that are ordered by page and row."""
    firsts = np.flatnonzero(np.diff(pairs.pages, prepend=-1))  # the first pair of each page
    counts = np.diff(firsts, append=len(pairs.pages))
    ahead = np.maximum(np.arange(len(pairs.pages)) - counts.repeat(counts), 0)  # the same row's pair of the page before
    alike = np.logical_and.reduceat(pairs.rows == pairs.rows[ahead], firsts)
    pages = pairs.pages[firsts]
    alike[1:] &= (np.diff(pages) == 1) & (np.diff(counts) == 0)
    alike[0] = False
    begins = np.flatnonzero(~alike)
    return _Runs(firsts[begins], np.diff(begins, append=len(pages)), counts[begins])


def row_entries(owners: Sequence[Tensor], rows: int) -> Tensor:
    """Where each row's results stand among those of all parts, of which each page has one for each of its owners.

    Args:
        owners: (N, G) of each part.
    Returns: (B, most of a row) int64, in the order of the parts; -1 behind a row's last one.
    """
    owner_E = torch.cat([part.flatten() for part in owners]).numpy()
    order = np.argsort(owner_E.astype(np.int32), kind="stable")
    counts = np.bincount(owner_E, minlength=rows)[:rows]
    order, sorted_rows = order[: counts.sum()], np.arange(rows).repeat(counts)  # nobody's stand last
    entries = np.full((rows, counts.max()), -1)
    entries[sorted_rows, np.arange(len(order)) - (counts.cumsum() - counts).repeat(counts)] = order
    return torch.from_numpy(entries)
