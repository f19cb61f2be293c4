"""Sequences of a pool as the rows of a forward pass; see `kvl_eval.model.base` for what a model does with them.

Shapes: S new tokens, T tokens of a sequence, H hidden, W values per token and layer, B sequences in a decode step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from kvl_eval.model.block_table import BlockTable
from kvl_eval.model.held import Packed, Pages
from kvl_eval.model.page_plan import PageGroup, plan_parts, row_entries
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.tensors import index_tensor


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
        for table, count in zip(self.tables, self.counts, strict=True):
            self.pool.extend([table], count)
        device = self.pool.layers[0].device
        self._slots = {device: _new_slots(self.pool, self.tables, self.counts)}
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
    """The next token of each of some sequences, one a row.

    Args:
        in_order: whether results of pages are put together in a fixed order, for which accelerators have no other way
                  than entries (sums by index are atomic there); None means by the device.
    """

    def __init__(self, pool: PagePool, tables: Sequence[PageTable], in_order: bool | None = None) -> None:
        self.pool = pool
        self.tables = list(tables)
        self.in_order = pool.layers[0].device.type != "cpu" if in_order is None else in_order
        self.block_table = BlockTable(tables)
        self._plan: _ReadPlan | None = None
        self._reads: dict[torch.device, _Reads] = {}  # of the step under way; brought to a device once

    @property
    def lengths(self) -> list[int]:
        """Tokens that each sequence holds."""
        return [table.length for table in self.tables]

    def prepare(self) -> Tensor:
        """Make room for the new tokens; their positions (B, 1). Raises: MemoryError, if pages run out."""
        self.pool.extend(self.tables, 1)
        device, page_size = self.pool.layers[0].device, self.pool.page_size
        if self._plan is None or self._plan.changes != self.pool.changes:
            self.block_table.update()
            parts = plan_parts(self.block_table, self.pool.used, page_size, device)
            owners, entries = [part.owners for part in parts], None
            if self.in_order:
                entries = row_entries(owners, len(self.tables)).to(device, non_blocking=True)
            self._plan = _ReadPlan(self.pool.changes, [part.to(device) for part in parts], entries)
        seen = index_tensor([*(length + 1 for length in self.lengths), 0], device)
        reads = [(part, part.hidden(seen, page_size)) for part in self._plan.parts]
        slots = _new_slots(self.pool, self.tables, [1] * len(self.tables))
        self._reads = {device: _Reads(slots, reads, self._plan.entries)}
        return index_tensor([table.length + table.offset for table in self.tables], device)[:, None]

    def write(self, layer: int, values_B1W: Tensor) -> Pages:
        """Put new tokens behind what each sequence holds; the pages that they attend to."""
        store = self.pool.layers[layer]
        if store.device not in self._reads:
            self._reads[store.device] = next(iter(self._reads.values())).to(store.device)
        slots, parts, entries = self._reads[store.device]
        store.flatten(0, 1).index_copy_(0, slots, values_B1W.flatten(0, 1))
        found = [(part.latents(store), part.owners, hidden) for part, hidden in parts]
        return Pages(len(self.tables), found, entries)

    def advance(self) -> None:
        """Count the tokens just written as held."""
        for table in self.tables:
            table.length += 1

    def last(self, hidden_B1H: Tensor) -> Tensor:
        """(B, H)."""
        return hidden_B1H[:, -1]


class _Reads(NamedTuple):
    """Places that new tokens go to, the parts that are read with what is hidden in each, and the rows' entries."""

    slots: Tensor
    parts: list[tuple[PageGroup, Tensor | None]]
    entries: Tensor | None

    def to(self, device: torch.device) -> _Reads:
        parts = [(part.to(device), None if hidden is None else hidden.to(device)) for part, hidden in self.parts]
        return _Reads(self.slots.to(device), parts, None if self.entries is None else self.entries.to(device))


class _ReadPlan(NamedTuple):
    """How the pages of some rows are read; it holds as long as the pool's `changes` stay the same."""

    changes: int
    parts: list[PageGroup]
    entries: Tensor | None


def _new_slots(pool: PagePool, tables: Sequence[PageTable], counts: Sequence[int]) -> Tensor:
    """Places in the store that new tokens go to, all sequences one after the other; their pages are there."""
    size = pool.page_size
    slots = [
        table.pages[place // size] * size + place % size
        for table, count in zip(tables, counts, strict=True)
        for place in range(table.length, table.length + count)
    ]
    return index_tensor(slots, pool.layers[0].device)
