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


class Part(NamedTuple):
    """Pages that are read together.

    Attributes:
        pages:  neighbours in the store, or the ones to be picked out of it.
        owners: (N, 1), the row that attends to each page; (1, G), if all of them are read as one long page.
        starts: (N), the owner's token that stands first in each page; None for a long page, which all rows see whole.
    """

    pages: slice | Tensor
    owners: Tensor
    starts: Tensor | None

    def to(self, device: torch.device) -> Part:
        pages = self.pages if isinstance(self.pages, slice) else self.pages.to(device)
        return Part(pages, self.owners.to(device), None if self.starts is None else self.starts.to(device))

    def latents(self, store: Tensor) -> Tensor:
        """The pages, (N, P, W), or (1, N * P, W) as a long page."""
        found = store[self.pages] if isinstance(self.pages, slice) else store.index_select(0, self.pages)
        return found if self.starts is not None else found.flatten(0, 1)[None]

    def hidden(self, seen: Tensor, page_size: int) -> Tensor | None:
        """True (N, P) at places that the owner does not see, of which it sees the first `seen`; None: all are seen."""
        if self.starts is None:
            return None
        return torch.arange(page_size, device=seen.device) >= (seen[self.owners[:, 0]] - self.starts)[:, None]


def plan_parts(rows: Sequence[Sequence[int]], used: int, page_size: int, device: torch.device) -> list[Part]:
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
    parts, nobody = [], len(rows)
    whole = used if used <= 2 * sum(map(len, rows)) else 0
    if whole:
        owners = [holders.get(page, [nobody])[0] for page in range(whole)]
        parts.append(_part(slice(0, whole), owners, [starts.get(page, 0) for page in range(whole)], device))
        holders = {page: others for page, (_, *others) in holders.items() if others}
    picked: list[tuple[int, int, int]] = []
    for first, end, owners in _runs(holders):
        if (end - first) * len(owners) >= AT_ONCE.get(device.type, AT_ONCE_ELSEWHERE):
            parts.append(Part(slice(first, end), index_tensor(owners, device)[None], None))
        else:
            picked += [(page, row, starts[page]) for page in range(first, end) for row in owners]
    if picked:
        pages, owners, begins = (list(values) for values in zip(*picked, strict=True))
        parts.append(_part(index_tensor(pages, device), owners, begins, device))
    return parts


def _part(pages: slice | Tensor, owners: Sequence[int], starts: Sequence[int], device: torch.device) -> Part:
    return Part(pages, index_tensor(owners, device)[:, None], index_tensor(starts, device))


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
