"""How a decode step reads the pages of its rows: as they lie, picked, or once for all rows that share them.

Shapes: N pages, P tokens a page, W values a token, G rows that attend to a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kvl_eval.model.tensors import index_tensor

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
        pages = self.pages if isinstance(self.pages, slice) else self.pages.to(device)
        return OwnedPages(pages, self.owners.to(device), self.starts.to(device))

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
        return SharedPages(self.pages, self.owners.to(device))

    def latents(self, store: Tensor) -> Tensor:
        """The long page, (1, N * P, W)."""
        return store[self.pages].flatten(0, 1)[None]

    def hidden(self, seen: Tensor, page_size: int) -> Tensor | None:
        """Nothing of it is hidden."""
        return None


PageGroup = OwnedPages | SharedPages
"""Pages that are read together."""


def plan_parts(rows: Sequence[Sequence[int]], used: int, page_size: int, device: torch.device) -> list[PageGroup]:
    """How the pages of some rows are read, where the first `used` pages of the store are in use.

    The store is read as it lies, each page for one of its rows. What further rows share with that one is read once
    more for all of them together where it is long, and picked for each of them where it is short. Where most pages
    belong to none of the rows, for instance to a long prompt on its way in, nothing is read as it lies.
    """
    holders: dict[int, list[int]] = {}
    starts: dict[int, int] = {}
    for row, pages in enumerate(rows):
        for place, page in enumerate(pages):
            holders.setdefault(page, []).append(row)
            starts[page] = place * page_size
    parts: list[PageGroup] = []
    nobody = len(rows)
    whole = used if used <= 2 * sum(map(len, rows)) else 0
    if whole:
        owners = [holders.get(page, [nobody])[0] for page in range(whole)]
        parts.append(_owned(slice(0, whole), owners, [starts.get(page, 0) for page in range(whole)], device))
        holders = {page: others for page, (_, *others) in holders.items() if others}
    picked: list[tuple[int, int, int]] = []
    for first, end, owners in _runs(holders):
        long = (end - first) * len(owners) >= AT_ONCE.get(device.type, AT_ONCE_ELSEWHERE)
        if long and len(owners) > 1:
            parts.append(SharedPages(slice(first, end), index_tensor(owners, device)[None]))
        elif long:  # the last page of a row is its own, and not full
            begins = [starts[page] for page in range(first, end)]
            parts.append(_owned(slice(first, end), owners * len(begins), begins, device))
        else:
            picked += [(page, row, starts[page]) for page in range(first, end) for row in owners]
    if picked:
        pages, owners, begins = (list(values) for values in zip(*picked, strict=True))
        parts.append(_owned(index_tensor(pages, device), owners, begins, device))
    return parts


def _owned(pages: slice | Tensor, owners: Sequence[int], starts: Sequence[int], device: torch.device) -> OwnedPages:
    return OwnedPages(pages, index_tensor(owners, device)[:, None], index_tensor(starts, device))


def _runs(holders: Mapping[int, list[int]]) -> Iterator[tuple[int, int, list[int]]]:
    """(first, end, rows) of neighbouring pages that the same rows hold."""
    first = end = -1
    for page in sorted(holders):
        if page != end or holders[page] != holders[first]:
            if end > first:
                yield first, end, holders[first]
            first = page
        end = page + 1
    if end > first:
        yield first, end, holders[first]
