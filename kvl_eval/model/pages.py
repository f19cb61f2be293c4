"""The cache: what a model's layers keep of many sequences, in pages that sequences may share.

A pool hands out pages, so that a long sequence beside short ones costs no more than its own tokens, and sequences with
a common beginning hold it once. `kvl_eval.model.rows` makes sequences of a pool the rows of a forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from kvl_eval.model.tensors import index_tensor

PAGE = 64  # tokens of a page
FIRST_PAGES = 64  # of a pool that grows

Devices = torch.device | str | Sequence[torch.device]
"""One device, or that of each layer."""


def _each_layer(device: Devices, count: int) -> list[torch.device | str]:
    return [device] * count if isinstance(device, torch.device | str) else list(device)


@dataclass(slots=True, eq=False)
class PageTable:
    """Where a sequence's tokens lie: its k-th page holds the tokens from k * page_size on.

    Attributes:
        offset:  what is added to a generated token's place in the sequence to get its position.
        version: grows whenever the pages change.
    """

    pages: list[int] = field(default_factory=list)
    length: int = 0
    offset: int = 0
    version: int = 0


class PagePool:
    """Latents of many sequences in pages of equal size, handed out up to a limit.

    Tables may share pages, always at the same place in each; a shared page is copied before one of its holders writes
    to it. Pages in use are always the first ones, since the last of them move into gaps as these appear: so decoding
    reads the store as it lies, and there is no fragmentation. Places of a page that hold no token are finite.

    Args:
        layers: of the model.
        width:  numbers that a layer keeps of a token.
        limit:  most pages; None means no limit.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        limit: int | None = None,
        page_size: int = PAGE,
        dtype: torch.dtype = torch.float32,
        device: Devices = "cpu",
    ) -> None:
        self.limit = limit
        self.page_size = page_size
        self.layers = [
            torch.zeros(0, page_size, width, dtype=dtype, device=place) for place in _each_layer(device, layers)
        ]
        self.copied = 0  # pages copied since they were shared and one holder went on
        self.changes = 0  # grows whenever a page is handed out, copied, moved or given back
        self._holders: list[list[PageTable]] = []  # of each page in use

    @property
    def used(self) -> int:
        """Pages in use; a shared one counts once."""
        return len(self._holders)

    @property
    def capacity(self) -> int:
        """Pages there is memory for now."""
        return min(len(layer) for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def fits(self, pages: int) -> bool:
        """Whether that many more pages can be handed out."""
        return self.limit is None or self.used + pages <= self.limit

    def pages_for(self, tokens: int) -> int:
        """Pages that so many tokens take."""
        return -(-tokens // self.page_size)

    def needed(self, tables: Sequence[PageTable], count: int) -> int:
        """Most pages that `extend` would take."""
        return sum(
            place >= len(table.pages) or self._is_shared(table, place)
            for table in tables
            for place in self._written(table, count)
        )

    def extend(self, tables: Sequence[PageTable], count: int) -> None:
        """Give each table pages of its own for `count` more tokens; lengths stay as they are.

        Raises: MemoryError, if the limit does not allow it; nothing has changed then.
        """
        needed = self.needed(tables, count)
        if not needed:
            return
        if not self.fits(needed):
            raise MemoryError(f"{needed} more pages of the KV cache, {self.used} of {self.limit} in use")
        self._grow(self.used + needed)
        fresh, copies = [], []
        for table in tables:
            for place in self._written(table, count):
                if place >= len(table.pages):
                    table.pages.append(self._take(table))
                    table.version += 1
                    fresh.append(table.pages[-1])
                elif self._is_shared(table, place):
                    self._holders[table.pages[place]].remove(table)
                    copies.append((table.pages[place], self._take(table)))
                    table.pages[place] = copies[-1][1]
                    table.version += 1
        self.changes += 1
        self.copied += len(copies)
        self._copy(copies)
        for layer in self.layers if fresh else ():
            layer.index_fill_(0, index_tensor(fresh, layer.device), 0.0)

    def fork(self, table: PageTable) -> PageTable:
        """A second sequence that begins with all tokens of the first; nothing is copied."""
        twin = PageTable(list(table.pages), table.length, table.offset)
        for page in twin.pages:
            self._holders[page].append(twin)
        return twin

    def truncate(self, table: PageTable, length: int) -> None:
        """Forget a sequence's tokens from position `length` on, and give back pages that are no longer needed."""
        if not 0 <= length <= table.length:
            raise ValueError(f"the sequence has {table.length} tokens and cannot be cut to {length}")
        kept = self.pages_for(length)
        dropped, table.pages, table.length = table.pages[kept:], table.pages[:kept], length
        table.version += bool(dropped)
        for page in dropped:
            self._holders[page].remove(table)
        self._close_gaps([page for page in dropped if not self._holders[page]])

    def release(self, table: PageTable) -> None:
        """Give back everything a sequence holds."""
        self.truncate(table, 0)

    def reserve(self, pages: int) -> None:
        """Have memory for so many pages, exactly."""
        for i, layer in enumerate(self.layers):  # one layer at a time, so that little is held twice
            if len(layer) < pages:  # some layers may have grown before memory ran out
                grown = layer.new_zeros(pages, *layer.shape[1:])
                grown[: self.used] = layer[: self.used]
                self.layers[i] = grown

    def drop(self) -> None:
        """Give all memory back; nothing may be in use."""
        if self.used:
            raise ValueError(f"{self.used} pages are in use")
        self.layers = [layer.new_zeros(0, *layer.shape[1:]) for layer in self.layers]

    def _grow(self, pages: int) -> None:
        if pages > self.capacity:
            room = max(pages, FIRST_PAGES, self.capacity * 3 // 2)
            self.reserve(room if self.limit is None else min(room, self.limit))

    def _written(self, table: PageTable, count: int) -> range:
        """Places of the pages that the next `count` tokens go to."""
        return range(table.length // self.page_size, self.pages_for(table.length + count))

    def _is_shared(self, table: PageTable, place: int) -> bool:
        return len(self._holders[table.pages[place]]) > 1

    def _take(self, table: PageTable) -> int:
        self._holders.append([table])
        return self.used - 1

    def _close_gaps(self, gaps: Sequence[int]) -> None:
        """Move the last pages in use to where pages were given back."""
        if not gaps:
            return
        left = self.used - len(gaps)
        sources = [page for page in range(left, self.used) if self._holders[page]]
        moves = list(zip(sources, sorted(gaps), strict=False))  # gaps behind `left` need no page
        for source, target in moves:
            holders = self._holders[target] = self._holders[source]
            place = holders[0].pages.index(source)
            for table in holders:
                table.pages[place] = target
                table.version += 1
        del self._holders[left:]
        self.changes += 1
        self._copy(moves)

    def _copy(self, moves: Sequence[tuple[int, int]]) -> None:
        """Copy pages (from, to) in every layer."""
        if not moves:
            return
        device = self.layers[0].device
        sources, targets = (index_tensor(pages, device) for pages in zip(*moves, strict=True))
        for layer in self.layers:
            layer.index_copy_(0, targets.to(layer.device), layer.index_select(0, sources.to(layer.device)))
