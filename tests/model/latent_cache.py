"""The oracle of pages: a cache that gives every row the room of the longest one, and passes over it in plain forms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kvl_eval.model import KimiVL, TextConfig
from kvl_eval.model.kimi_vl.attention import Attention
from kvl_eval.model.kimi_vl.rope import text_turn
from kvl_eval.model.pages import Devices
from kvl_eval.model.tensors import cache_mask, index_tensor

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
        device: Devices = "cpu",
    ) -> None:
        self.lengths: list[int] = [0] * rows
        count = config.num_hidden_layers
        devices = [device] * count if isinstance(device, torch.device | str) else list(device)
        self.layers = [torch.zeros(rows, 0, config.latent_size, dtype=dtype, device=place) for place in devices]

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


def attend(
    attention: Attention, x: Tensor, turn: Tensor, mask: Tensor | None, cache: LatentCache, layer: int
) -> Tensor:
    """One layer's attention of new tokens over what the rows hold and themselves."""
    starts = any(cache.lengths)
    queries, latents = attention.queries_and_latents(x, turn)
    held = cache.write(layer, latents)
    form = attention.absorbed if x.shape[1] == 1 and starts else attention.expanded
    return attention.o_proj(form(queries, held, mask))


@torch.no_grad()
def forward_block(model: KimiVL, embeds: Tensor, cache: LatentCache, counts: Sequence[int] | None = None) -> Tensor:
    """Logits (B, vocab_size) behind new tokens of every row, padded at the right where `counts` says so."""
    decoder, (rows, size) = model.language_model.model, embeds.shape[:2]
    counts = [size] * rows if counts is None else list(counts)
    mask = cache.prepare(size)
    positions = index_tensor(cache.lengths, embeds.device)[:, None] + torch.arange(size, device=embeds.device)
    turn = text_turn(positions, decoder.config.qk_rope_head_dim, decoder.config.rope_theta, embeds.dtype)
    x = embeds
    for number, layer in enumerate(decoder.layers):
        x = x + attend(layer.self_attn, layer.input_layernorm(x), turn, mask, cache, number)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    cache.advance(counts)
    ends = index_tensor(counts, x.device) - 1
    return model.language_model.logits(decoder.norm(x)[torch.arange(rows, device=x.device), ends])


def new_cache(model: KimiVL, rows: int = 0) -> LatentCache:
    """An empty cache for a model."""
    return LatentCache(model.config.text_config, rows=rows, dtype=model.dtype, device=model.device)


def prefill_block(model: KimiVL, embeds: Tensor, cache: LatentCache, chunk: int = 2048) -> Tensor:
    """Logits behind prompts of equal length, which go into the cache in chunks."""
    return [forward_block(model, part, cache) for part in torch.split(embeds, chunk, dim=1)][-1]


def decode_block(model: KimiVL, tokens: Sequence[int], cache: LatentCache) -> Tensor:
    """Logits behind one more token in every row."""
    return forward_block(model, model.embed(index_tensor(tokens, model.device)[:, None]).embeds, cache)
