"""What a layer attends to in one forward pass; see `kvl_eval.model.base` for the letters of shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Packed(NamedTuple):
    """What a layer attends to in a pass of prompt rows; the new tokens of all sequences lie behind each other in S.

    Attributes:
        sizes:  new tokens of each sequence; they add up to S. The k-th sequence's stand behind those of the ones
                before.
        values: for each sequence (1, T, W): all it holds with its new tokens as the last `size` of T; None where it
                held nothing, so that its new tokens see each other causally and nothing else. A query at new token j
                of a sequence sees the first T - size + j + 1 of T.
    """

    sizes: list[int]
    values: list[Tensor | None]


class Pages(NamedTuple):
    """What a layer attends to in a decode step: pages in any order, and the rows that attend to each.

    The sum of a row's softmax over all its pages is put together from the parts (the highest score of each row first,
    then sums relative to it). Places that hold no token of the owner are finite numbers and must be hidden.

    Attributes:
        rows:    B; owners count from 0, and B itself stands for no row (its results are dropped).
        parts:   (values (N, P, W), owners (N, G) int64, hidden (N, P) bool or None): each of the G owners of a page
                 attends to its places that are not hidden. With G > 1 there is one long page, N = 1, of which nothing
                 is hidden.
        entries: where results are to be put together in a fixed order, as on accelerators: (B, M) int64, the places of
                 each row's results among those of all parts, one for each page and owner; -1 behind its last one.
    """

    rows: int
    parts: list[tuple[Tensor, Tensor, Tensor | None]]
    entries: Tensor | None = None
