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

from kvl_eval.backends.base import Cost
from kvl_eval.model.kimi_vl.config import KimiVLConfig, TextConfig, VisionConfig
from kvl_eval.types import Generation

PATCH_BYTES = 3 * 14 * 14
TRIED_ROWS, TRIED_KEYS, TRIES = 512, 4096, 3
VISION_PORTION = 16_384  # patches that the tower holds at a time
PER_PATCH = 20  # rows of the tower's width that one of these takes, as measured


@dataclass(frozen=True, slots=True)
class Speed:
    """Operations a second: of the linear maps, and of attention."""

    linear: float
    attention: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRule:
    """Prompts of one model on one device; called with tokens, those of pictures among them, and the generation."""

    config: KimiVLConfig
    dtype: str
    device: str
    chunk: int

    def __call__(self, tokens: int, image_tokens: int, generation: Generation) -> Cost:
        new, patches = generation.limit, 4 * image_tokens
        text, speed = self.config.text_config, tried_speed(self.config.text_config, self.dtype, self.device)
        linear = tokens * linear_operations(text) + patches * vision_operations(self.config.vision_config)
        linear += expanding_operations(text, tokens, self.chunk)
        attention = attention_operations(text, tokens) + new * decoding_operations(text, tokens)
        seconds = linear / speed.linear + attention / speed.attention
        return Cost(bytes=self._bytes(tokens, new, patches), seconds=seconds)

    def _bytes(self, tokens: int, new: int, patches: int) -> int:
        text, vision, size = self.config.text_config, self.config.vision_config, _itemsize(self.dtype)
        cache = (tokens + new) * text.num_hidden_layers * text.latent_size * size
        heads = 2 * tokens * text.num_attention_heads * text.qk_head_dim * size
        gathered = tokens * (text.latent_size + text.hidden_size) * size
        mask = min(self.chunk, tokens) * tokens if tokens > self.chunk else 0  # a byte a pair
        tower = min(patches, VISION_PORTION) * vision.hidden_size * PER_PATCH * size
        pictures = 2 * patches * PATCH_BYTES + patches // 4 * text.hidden_size * size
        return cache + gathered + max(heads + mask, tower) + pictures


def linear_operations(text: TextConfig) -> int:
    """Of one token through all layers, without attention."""
    hidden, heads = text.hidden_size, text.num_attention_heads
    attention = hidden * (heads * (text.qk_head_dim + text.v_head_dim) + text.latent_size)
    experts = 3 * hidden * text.moe_intermediate_size * (text.num_experts_per_tok + text.n_shared_experts)
    dense = min(text.first_k_dense_replace, text.num_hidden_layers)
    mlp = dense * 3 * hidden * text.intermediate_size + (text.num_hidden_layers - dense) * experts
    return 2 * (text.num_hidden_layers * attention + mlp)


def expanding_operations(text: TextConfig, tokens: int, chunk: int) -> int:
    """Of making keys and values of all tokens held, anew for each chunk."""
    chunks = -(-tokens // chunk)
    each = text.kv_lora_rank * text.num_attention_heads * (text.qk_nope_head_dim + text.v_head_dim)
    return 2 * text.num_hidden_layers * each * tokens * (chunks + 1) // 2


def attention_operations(text: TextConfig, tokens: int) -> int:
    """Of all tokens attending to those before them; values are as wide as keys on a CPU."""
    return 2 * text.num_hidden_layers * text.num_attention_heads * text.qk_head_dim * tokens * tokens


def decoding_operations(text: TextConfig, tokens: int) -> int:
    """Of one new token attending to the latents as they lie."""
    each = 2 * text.kv_lora_rank + text.qk_rope_head_dim
    return 2 * text.num_hidden_layers * text.num_attention_heads * each * tokens


def vision_operations(vision: VisionConfig) -> int:
    """Of one patch through the tower, without attention."""
    return 2 * vision.num_hidden_layers * vision.hidden_size * (4 * vision.hidden_size + 2 * vision.intermediate_size)


@cache
def tried_speed(text: TextConfig, dtype: str, device: str) -> Speed:
    """Operations a second of two small products of the model's own widths on this machine."""
    import torch
    from torch.nn import functional

    kind = getattr(torch, dtype)
    rows = torch.ones(TRIED_ROWS, text.hidden_size, dtype=kind, device=device)
    weights = torch.ones(text.hidden_size, text.moe_intermediate_size, dtype=kind, device=device)
    queries = torch.ones(1, text.num_attention_heads, TRIED_ROWS, text.qk_head_dim, dtype=kind, device=device)
    keys = torch.ones(1, text.num_attention_heads, TRIED_KEYS, text.qk_head_dim, dtype=kind, device=device)
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
    """The quickest of some tries, after one that warms up."""
    found = []
    for _ in range(TRIES + 1):
        begin = time.perf_counter()
        action()
        found.append(time.perf_counter() - begin)
    return max(min(found[1:]), 1e-9)


def _itemsize(dtype: str) -> int:
    return {"float64": 8, "float32": 4}.get(dtype, 2)
