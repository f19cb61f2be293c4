"""Bytes a token takes in the cache, against keys and values of all heads: `python -m benchmarks.cache_bytes`.

Nothing is timed: bytes are counted in a cache that was filled, of the released shape and of the bundled checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmarks.decode_attention import expanded_heads, fused, held, random_attention
from benchmarks.measure import Row, main
from kvl_eval.model import TextConfig
from kvl_eval.model.kimi_vl.attention import Attention
from kvl_eval.model.pages import PagePool


@torch.no_grad()
def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises AssertionError if attention over the cache differs from attention over all heads."""
    torch.set_num_threads(1)
    tokens = 300 if tiny else 4096
    released = TextConfig()
    attention = random_attention(released)
    return [
        row(attention, released, tokens, torch.bfloat16, goal=8.0),
        row(attention, replace(released, num_hidden_layers=4), tokens, torch.float32, goal=8.0),
    ]


def row(attention: Attention, config: TextConfig, tokens: int, dtype: torch.dtype, goal: float) -> Row:
    """One sequence of `tokens` tokens: how many bytes one of them takes, unused room included."""
    latents, q = held(attention, tokens)
    heads = expanded_heads(attention, latents, q)
    torch.testing.assert_close(attention.absorbed(q, latents, None), fused(heads), atol=1e-4, rtol=1e-4)
    pool = PagePool(layers=config.num_hidden_layers, width=config.latent_size, dtype=dtype, device="meta")
    pool.reserve(pool.pages_for(tokens))
    ours = pool.nbytes / tokens
    theirs = config.num_hidden_layers * dtype.itemsize * sum(x.numel() for x in heads[1:]) / tokens
    name = str(dtype).removeprefix("torch.")
    return Row(
        what=f"cache, {config.num_hidden_layers} layers, {name}, sequence of {tokens:,} tokens",
        against="keys and values of all heads",
        ours=f"{ours / 1000:.1f} kB per token",
        theirs=f"{theirs / 1000:.1f} kB per token",
        ratio=theirs / ours,
        at_least=goal,
    )


if __name__ == "__main__":
    main(__doc__, measure)
