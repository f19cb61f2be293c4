"""The KV cache: MLA latents, as one block for a batch of sequences or as pages that many sequences share.

`LatentCache` gives every row the room of the longest one. `PagePool` hands out pages, so that a long sequence beside
short ones costs no more than its own tokens, and sequences with a common beginning hold it once; `PagedRows` makes
sequences of a pool the rows of a forward pass. Both hold the same latents and give the same logits.

Shapes: B rows (sequences), S new tokens a row, T tokens that the longest row holds, W = kv_lora_rank + qk_rope_head_dim
values a token and layer (576 in the released models, 8.9 times less than keys and values of all heads), N pages,
P tokens a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from kvl_eval.model.held import Packed, Pages
from kvl_eval.model.kimi_vl.config import TextConfig
from kvl_eval.model.page_plan import Part, plan_parts
from kvl_eval.model.tensors import index_tensor

BLOCK = 256  # tokens by which a row's room grows
PAGE = 64  # tokens of a page
FIRST_PAGES = 64  # of a pool that grows


class LatentCache:
    """Normalised latents and rotated rope keys of every layer, nothing else.

    Row b holds its tokens at places 0 .. lengths[b] - 1, so a place is a position and cutting a row is setting its
    length. Places behind a row's length are zero or stale, always finite, and never attended to.
    """

    def __init__(
        self,
        config: TextConfig,
        *,
        rows: int = 0,
        dtype: torch.dtype = torch.float32,
        device: Devices = "cpu",
    ) -> None:
        self.lengths: list[int] = [0] * rows
        self.layers = [
            torch.zeros(rows, 0, config.latent_size, dtype=dtype, device=place)
            for place in _each_layer(device, config.num_hidden_layers)
        ]

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def capacity(self) -> int:
        """Tokens a row can hold before the cache has to grow."""
        return min(layer.shape[1] for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` tokens in every row, in whole blocks and one layer at a time."""
        if tokens <= self.capacity:
            return
        room = -(-tokens // BLOCK) * BLOCK
        for i, layer in enumerate(self.layers):
            if layer.shape[1] < room:  # some layers may have grown before memory ran out
                grown = layer.new_zeros(self.rows, room, layer.shape[2])
                grown[:, : layer.shape[1]] = layer
                self.layers[i] = grown

    def prepare(self, size: int) -> Tensor | None:
        """Make room for `size` more tokens in every row; the mask (B, S, T) of what they may attend to."""
        self.reserve(max(self.lengths, default=0) + size)
        return cache_mask(self.lengths, size, self.layers[0].device)

    def write(self, layer: int, latents_BSW: Tensor) -> Tensor:
        """Put new tokens behind what each row holds, and return all places in use, (B, T, W).

        Lengths stay as they are until `advance`, since every layer writes to the same places.
        """
        starts, count = self.lengths, latents_BSW.shape[1]
        store = self.layers[layer]
        if len(set(starts)) == 1:
            store[:, starts[0] : starts[0] + count] = latents_BSW
        else:
            places_BS = torch.tensor(starts, device=store.device)[:, None] + torch.arange(count, device=store.device)
            store.scatter_(1, places_BS[..., None].expand_as(latents_BSW), latents_BSW)
        return store[:, : max(starts) + count]

    def advance(self, counts: Sequence[int]) -> None:
        """Count the tokens just written as held."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]

    def truncate(self, row: int, length: int) -> None:
        """Forget a row's tokens from position `length` on."""
        if not 0 <= length <= self.lengths[row]:
            raise ValueError(f"row {row} holds {self.lengths[row]} tokens and cannot be cut to {length}")
        self.lengths[row] = length

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the given rows in the given order; a row named twice is copied. Unused room is given back."""
        self.lengths = [self.lengths[row] for row in rows]
        index = torch.tensor(list(rows), dtype=torch.long, device=self.layers[0].device)
        room = -(-max(self.lengths, default=0) // BLOCK) * BLOCK
        for i, layer in enumerate(self.layers):
            self.layers[i] = layer[:, :room].index_select(0, index.to(layer.device))

    def join(self, other: LatentCache) -> None:
        """Append the rows of another cache of the same model, for instance one that was just prefilled."""
        room = max(self.capacity, other.capacity)
        self.reserve(room)
        other.reserve(room)
        for i, layer in enumerate(other.layers):  # one layer at a time, so that little is held twice
            self.layers[i] = torch.cat([self.layers[i], layer])
        self.lengths = [*self.lengths, *other.lengths]


Devices = torch.device | str | Sequence[torch.device]
"""One device, or that of each layer."""


def _each_layer(device: Devices, count: int) -> list[torch.device | str]:
    return [device] * count if isinstance(device, torch.device | str) else list(device)


@dataclass(slots=True, eq=False)
class PageTable:
    """Where a sequence's tokens lie: its k-th page holds the tokens from k * page_size on.

    Attributes:
        offset: what is added to a generated token's place in the sequence to get its position.
    """

    pages: list[int] = field(default_factory=list)
    length: int = 0
    offset: int = 0


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
            raise MemoryError(f"{needed} more pages of the latent cache, {self.used} of {self.limit} in use")
        self._grow(self.used + needed)
        fresh, copies = [], []
        for table in tables:
            for place in self._written(table, count):
                if place >= len(table.pages):
                    table.pages.append(self._take(table))
                    fresh.append(table.pages[-1])
                elif self._is_shared(table, place):
                    self._holders[table.pages[place]].remove(table)
                    copies.append((table.pages[place], self._take(table)))
                    table.pages[place] = copies[-1][1]
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
        """Forget a sequence's tokens from position `length` on, and give back pages that nobody needs now."""
        if not 0 <= length <= table.length:
            raise ValueError(f"the sequence holds {table.length} tokens and cannot be cut to {length}")
        kept = self.pages_for(length)
        dropped, table.pages, table.length = table.pages[kept:], table.pages[:kept], length
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


class PagedRows:
    """Sequences of a pool as the rows of forward passes: what `LatentCache` is to rows of equal room."""

    def __init__(self, pool: PagePool, tables: Sequence[PageTable]) -> None:
        self.pool = pool
        self.tables = list(tables)
        self._size = 0  # new tokens a row of the pass under way
        self._slots = torch.empty(0)  # places in the store that they go to, all rows one after the other
        self._hidden: list[Tensor | None] = []  # of each part, in a decode step
        self._plan: _Plan | None = None
        self._steps: dict[torch.device, _Step] = {}

    @property
    def lengths(self) -> list[int]:
        return [table.length for table in self.tables]

    def prepare(self, size: int) -> Tensor | None:
        """Make room for `size` more tokens in every row; the mask (B, S, T) of what they may attend to.

        Single tokens need none: `write` says for each page what they may see. Raises: MemoryError, if pages run out.
        """
        self.pool.extend(self.tables, size)
        self._size, self._steps = size, {}
        device, page_size = self.pool.layers[0].device, self.pool.page_size
        places = [(table, place) for table in self.tables for place in range(table.length, table.length + size)]
        self._slots = index_tensor(
            [table.pages[place // page_size] * page_size + place % page_size for table, place in places], device
        )
        if size > 1:
            return cache_mask(self.lengths, size, device)
        if self._plan is None or self._plan.changes != self.pool.changes:
            pages = [table.pages for table in self.tables]
            self._plan = _Plan(self.pool.changes, plan_parts(pages, self.pool.used, page_size, device))
        seen = index_tensor([*(length + 1 for length in self.lengths), 0], device)
        self._hidden = [part.hidden(seen, page_size) for part in self._plan.parts]
        return None

    def write(self, layer: int, latents_BSW: Tensor) -> Tensor | Pages:
        """Put new tokens behind what each row holds; what they attend to: pages, or (B, T, W) for several tokens."""
        store = self.pool.layers[layer]
        slots, found = self._step(store.device)
        store.flatten(0, 1).index_copy_(0, slots, latents_BSW.flatten(0, 1))
        if self._size > 1:
            return self._gathered(store) if any(self.lengths) else latents_BSW
        return Pages(len(self.tables), [(part.latents(store), part.owners, hidden) for part, hidden in found])

    def _step(self, device: torch.device) -> _Step:
        """Slots and parts of the pass under way on a layer's device; brought there once."""
        if device not in self._steps:
            plan = [] if self._size > 1 or self._plan is None else self._plan.parts
            parts = [
                (part.to(device), None if hidden is None else hidden.to(device))
                for part, hidden in zip(plan, self._hidden, strict=False)
            ]
            self._steps[device] = self._slots.to(device), parts
        return self._steps[device]

    def advance(self, counts: Sequence[int]) -> None:
        """Count the tokens just written as held."""
        for table, count in zip(self.tables, counts, strict=True):
            table.length += count

    def _gathered(self, store: Tensor) -> Tensor:
        """All places in use of every row, (B, T, W); rows are filled up with pages of their own."""
        tokens = max(self.lengths) + self._size
        count = self.pool.pages_for(tokens)
        pages = [page for table in self.tables for page in (table.pages * count)[:count]]
        picked = store.index_select(0, index_tensor(pages, store.device))
        return picked.view(len(self.tables), count * self.pool.page_size, -1)[:, :tokens]


class PromptRows:
    """New tokens of prompts, or of chunks of them, behind each other in one row; each attends to its own sequence.

    Args:
        tables:    the sequences' pages.
        counts:    new tokens of each.
        positions: (1, S) or (axes, 1, S), of all new tokens.
    """

    def __init__(self, pool: PagePool, tables: Sequence[PageTable], counts: Sequence[int], positions: Tensor) -> None:
        self.pool = pool
        self.tables = list(tables)
        self.counts = list(counts)
        self.positions = positions
        self._slots: dict[torch.device, Tensor] = {}  # places in the store that the new tokens go to

    def prepare(self) -> Tensor:
        """Make room for the new tokens; their positions. Raises: MemoryError, if pages run out."""
        page, device = self.pool.page_size, self.pool.layers[0].device
        for table, count in zip(self.tables, self.counts, strict=True):
            self.pool.extend([table], count)
        places = [
            (table, place)
            for table, count in zip(self.tables, self.counts, strict=True)
            for place in range(table.length, table.length + count)
        ]
        slots = [table.pages[place // page] * page + place % page for table, place in places]
        self._slots = {device: index_tensor(slots, device)}
        return self.positions

    def write(self, layer: int, values_1SW: Tensor) -> Packed:
        """Put new tokens behind what each sequence holds; what each of them attends to."""
        store = self.pool.layers[layer]
        if store.device not in self._slots:
            self._slots[store.device] = next(iter(self._slots.values())).to(store.device)
        store.flatten(0, 1).index_copy_(0, self._slots[store.device], values_1SW[0])
        pairs = zip(self.tables, self.counts, strict=True)
        values = [self._held(store, table, count) if table.length else None for table, count in pairs]
        return Packed(self.counts, values)

    def advance(self) -> None:
        """Count the tokens just written as held."""
        for table, count in zip(self.tables, self.counts, strict=True):
            table.length += count

    def last(self, hidden_1SH: Tensor) -> Tensor:
        """(sequences, H): hidden states of the last new token of each."""
        ends = index_tensor(list(accumulate(self.counts)), hidden_1SH.device) - 1
        return hidden_1SH[0, ends]

    def _held(self, store: Tensor, table: PageTable, count: int) -> Tensor:
        """All tokens of a sequence with its new ones, (1, T, W)."""
        tokens = table.length + count
        pages = index_tensor(table.pages[: self.pool.pages_for(tokens)], store.device)
        return store.index_select(0, pages).flatten(0, 1)[None, :tokens]


class StepRows:
    """The next token of each of some sequences, one a row."""

    def __init__(self, pool: PagePool, tables: Sequence[PageTable]) -> None:
        self.pool = pool
        self.tables = list(tables)
        self._rows = PagedRows(pool, tables)

    @property
    def lengths(self) -> list[int]:
        """Tokens that each sequence holds."""
        return self._rows.lengths

    def prepare(self) -> Tensor:
        """Make room for the new tokens; their positions (B, 1). Raises: MemoryError, if pages run out."""
        self._rows.prepare(1)
        device = self.pool.layers[0].device
        return index_tensor([table.length + table.offset for table in self.tables], device)[:, None]

    def write(self, layer: int, values_B1W: Tensor) -> Pages:
        """Put new tokens behind what each sequence holds; the pages that they attend to."""
        held = self._rows.write(layer, values_B1W)
        assert isinstance(held, Pages)
        return held

    def advance(self) -> None:
        """Count the tokens just written as held."""
        self._rows.advance([1] * len(self.tables))

    def last(self, hidden_B1H: Tensor) -> Tensor:
        """(B, H)."""
        return hidden_B1H[:, -1]


_Step = tuple[Tensor, list[tuple[Part, Tensor | None]]]
"""Places that new tokens go to, and the parts that are read with what is hidden in each."""


class _Plan(NamedTuple):
    """How the pages of some rows are read; it holds as long as the pool's `changes` stay the same."""

    changes: int
    parts: list[Part]


def cache_mask(starts: Sequence[int], count: int, device: torch.device) -> Tensor | None:
    """(B, S, T) for `count` new tokens a row behind `starts` held ones; None where plain causality says the same."""
    if (count == 1 and len(set(starts)) == 1) or (count > 1 and not any(starts)):
        return None
    queries_BS = index_tensor(starts, device)[:, None] + torch.arange(count, device=device)
    return torch.arange(max(starts) + count, device=device) <= queries_BS[..., None]
