"""The KV cache: MLA latents of a batch of sequences of different lengths.

Shapes: B rows (sequences), S new tokens a row, T tokens that the longest row holds, W = kv_lora_rank + qk_rope_head_dim
values a token and layer (576 in the released models, 8.9 times less than keys and values of all heads).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kvl_eval.model.config import TextConfig

BLOCK = 256  # tokens by which a row's room grows


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
        device: torch.device | str = "cpu",
    ) -> None:
        self.lengths: list[int] = [0] * rows
        self.layers = [
            torch.zeros(rows, 0, config.latent_size, dtype=dtype, device=device)
            for _ in range(config.num_hidden_layers)
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
            self.layers[i] = layer[:, :room].index_select(0, index)

    def join(self, other: "LatentCache") -> None:
        """Append the rows of another cache of the same model, for instance one that was just prefilled."""
        room = max(self.capacity, other.capacity)
        self.reserve(room)
        other.reserve(room)
        for i, layer in enumerate(other.layers):  # one layer at a time, so that little is held twice
            self.layers[i] = torch.cat([self.layers[i], layer])
        self.lengths = [*self.lengths, *other.lengths]

    def add_rows(self, count: int) -> None:
        """Append empty rows."""
        for i, layer in enumerate(self.layers):
            self.layers[i] = torch.cat([layer, layer.new_zeros(count, *layer.shape[1:])])
        self.lengths = [*self.lengths, *[0] * count]

    def put(self, row: int, other: "LatentCache", source: int = 0) -> None:
        """Replace what a row holds by a copy of row `source` of another cache of the same model."""
        length = other.lengths[source]
        self.reserve(length)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine[row, :length] = theirs[source, :length]
            mine[row, length:] = 0.0  # whatever stood there may not be finite
        self.lengths[row] = length
