"""What a prompt will take of memory and time before it is answered: counted from shapes, at speeds that were tried.

Bytes are those that live at the same time: the sequence's own latents, its embeddings and pictures, and one layer's
keys, values and mask while the last chunk of the prompt is read. Operations are those of the matrix products; what
they take is tried on two small products of the model's own widths, so the seconds are a guess, good to a factor of two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from kvl_eval.model.base import CostShape
from kvl_eval.request import Cost
from kvl_eval.types import Generation

TRIED_ROWS, TRIED_KEYS, TRIES = 512, 4096, 3
PER_PATCH = 20  # rows of the tower's width that a patch takes, as measured


@dataclass(frozen=True, slots=True)
class Speed:
    """Operations a second: of the linear maps, and of attention."""

    linear: float
    attention: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRule:
    """Prompts of one model on one device; called with tokens, those of pictures among them, and the generation."""

    shape: CostShape
    dtype: str
    device: str
    chunk: int

    def __call__(self, tokens: int, image_tokens: int, generation: Generation) -> Cost:
        shape, speed = self.shape, tried_speed(self.shape, self.dtype, self.device)
        new, patches = generation.limit, shape.patches_per_token * image_tokens
        chunks = -(-tokens // self.chunk)
        linear = tokens * shape.linear + patches * shape.patch
        linear += shape.expanding * tokens * (chunks + 1) // 2  # keys and values of all held tokens, anew in each chunk
        attention = 2 * shape.layers * shape.heads * shape.head_size * tokens * tokens + new * shape.decoding * tokens
        seconds = linear / speed.linear + attention / speed.attention
        return Cost(bytes=self._bytes(tokens, new, patches), seconds=seconds)

    def _bytes(self, tokens: int, new: int, patches: int) -> int:
        shape, size = self.shape, _itemsize(self.dtype)
        cache = (tokens + new) * shape.layers * shape.cache_width * size
        heads = 2 * tokens * shape.heads * shape.head_size * size
        gathered = tokens * (shape.cache_width + shape.hidden) * size
        mask = min(self.chunk, tokens) * tokens if tokens > self.chunk else 0  # a byte a pair
        tower = min(patches, shape.tower_patches) * shape.tower_width * PER_PATCH * size
        pictures = 2 * patches * shape.patch_bytes + patches // shape.patches_per_token * shape.hidden * size
        return cache + gathered + max(heads + mask, tower) + pictures


@cache
def tried_speed(shape: CostShape, dtype: str, device: str) -> Speed:
    """Operations a second of two small products of the model's own widths on this machine."""
    import torch
    from torch.nn import functional

    kind = getattr(torch, dtype)
    rows = torch.ones(TRIED_ROWS, shape.hidden, dtype=kind, device=device)
    weights = torch.ones(shape.hidden, shape.inner, dtype=kind, device=device)
    queries = torch.ones(1, shape.heads, TRIED_ROWS, shape.head_size, dtype=kind, device=device)
    keys = torch.ones(1, shape.heads, TRIED_KEYS, shape.head_size, dtype=kind, device=device)
    linear = 2 * TRIED_ROWS * weights.numel()
    attention = 4 * TRIED_ROWS * keys.numel()

    def synchronised(action: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            action()
            if device.startswith("cuda"):
                torch.cuda.synchronize()

        return run

    return Speed(
        linear / _seconds(synchronised(lambda: rows @ weights)),
        attention / _seconds(synchronised(lambda: functional.scaled_dot_product_attention(queries, keys, keys))),
    )


def _seconds(action: Callable[[], None]) -> float:
    """The quickest of some runs, after a warm-up."""
    found = []
    for _ in range(TRIES + 1):
        begin = time.perf_counter()
        action()
        found.append(time.perf_counter() - begin)
    return max(min(found[1:]), 1e-9)


def _itemsize(dtype: str) -> int:
    return {"float64": 8, "float32": 4}.get(dtype, 2)
