"""One decode step of latent attention against keys and values of all heads: `python -m benchmarks.decode_attention`.

One layer of the released shape (16 heads, latent 512 + 64), batch 1, one thread, random weights. The twin keeps keys
and values of all heads in its cache, as engines without latent attention do, and attends by torch's fused kernel or by
two plain matrix products. The peer is `transformers`' DeepseekV3Attention with the same weights, as installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row, alternate, main, speedup
from kvl_eval.model import TextConfig
from kvl_eval.model.kimi_vl.attention import Attention
from kvl_eval.model.kimi_vl.rope import text_angles, text_turn, turn_of

Heads = tuple[Tensor, Tensor, Tensor]


def random_attention(config: TextConfig, dtype: torch.dtype = torch.float32) -> Attention:
    """A layer whose activations are of order 1."""
    torch.manual_seed(0)
    attention = Attention(config)
    for parameter in attention.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return attention.to(dtype)


def held(attention: Attention, tokens: int) -> tuple[Tensor, Tensor]:
    """What a cache holds behind `tokens` tokens, (1, T, W), and the queries of the last one, (1, 1, A, D)."""
    config = attention.config
    x = torch.randn(1, tokens, config.hidden_size, dtype=attention.o_proj.weight.dtype)
    turn = text_turn(torch.arange(tokens)[None], config.qk_rope_head_dim, config.rope_theta, x.dtype)
    queries, latents = attention.queries_and_latents(x, turn)
    return latents, queries[:, -1:]


def expanded_heads(attention: Attention, latents_BTW: Tensor, q_BSAD: Tensor) -> Heads:
    """Query, keys and values (B, A, T, size) as a cache of all heads would hold them."""
    config = attention.config
    latent, k_rope = attention.latent_and_rope(latents_BTW)
    heads = attention.kv_b_proj(latent).view(*latent.shape[:2], config.num_attention_heads, -1)
    k_nope, v = heads[..., : config.qk_nope_head_dim], heads[..., config.qk_nope_head_dim :]
    k = torch.cat([k_nope, k_rope[:, :, None].expand(-1, -1, config.num_attention_heads, -1)], dim=-1)
    q, k, v = (x.transpose(1, 2).contiguous() for x in (q_BSAD, k, v))
    return q, k, v


def fused(heads: Heads) -> Tensor:
    """(B, S, A * V) by torch's own attention."""
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def two_products(heads: Heads) -> Tensor:
    """The same by two matrix products."""
    q, k, v = heads
    scores = (q @ k.mT).float() * q.shape[-1] ** -0.5
    return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


def transformers_layer(attention: Attention) -> Any:
    """`transformers`' layer with the weights of ours."""
    from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

    config = attention.config
    names = ("hidden_size", "num_attention_heads", "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim")
    names += ("qk_rope_head_dim", "v_head_dim", "max_position_embeddings")
    theirs = DeepseekV3Config(
        **{name: getattr(config, name) for name in names},
        num_key_value_heads=config.num_attention_heads,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attn_implementation="sdpa",
    )
    layer = DeepseekV3Attention(theirs, 0)
    layer.load_state_dict(attention.state_dict())
    return layer.eval()


class OneStep:
    """A decode step of a whole layer, projections included, behind `tokens` tokens, by us and by `transformers`."""

    def __init__(self, attention: Attention, tokens: int) -> None:
        config = attention.config
        self.attention, self.layer = attention, transformers_layer(attention)
        self.x = torch.randn(1, tokens + 1, config.hidden_size)
        angles = text_angles(torch.arange(tokens + 1)[None], config.qk_rope_head_dim, config.rope_theta)
        self.turn = turn_of(angles, self.x.dtype)
        _, self.latents = attention.queries_and_latents(self.x, self.turn)
        both = torch.cat([angles, angles], dim=-1)
        self.positions = (both.cos(), both.sin())
        self.filled()

    def filled(self) -> None:
        """Fill their cache with all tokens but the last."""
        from transformers import DynamicCache

        self.cache = DynamicCache(config=self.layer.config)
        before = self.latents[:, :-1, None].transpose(1, 2)
        latent, rope = self.attention.latent_and_rope(before)
        size = rope.shape[-1]
        # Their rotated keys list the first members of all pairs, then the second ones.
        halves = rope.unflatten(-1, (size // 2, 2)).transpose(-1, -2).flatten(-2)
        self.cache.update(latent, halves, 0)

    def ours(self) -> Tensor:
        last = slice(self.x.shape[1] - 1, None)
        queries, new = self.attention.queries_and_latents(self.x[:, last], self.turn[:, last])
        self.latents[:, last] = new
        return self.attention.o_proj(self.attention.absorbed(queries, self.latents, None))  # type: ignore[no-any-return]

    def theirs(self) -> Tensor:
        tokens = self.x.shape[1] - 1
        last = tuple(part[:, tokens:] for part in self.positions)
        out = self.layer(self.x[:, tokens:], last, None, past_key_values=self.cache)[0]
        self.cache.crop(-1)
        return out  # type: ignore[no-any-return]


@torch.no_grad()
def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises AssertionError if the forms of attention differ."""
    torch.set_num_threads(1)
    attention = random_attention(TextConfig())
    rows: list[Row] = []
    for tokens in (64,) if tiny else (1024, 8192):
        rows += core(attention, tokens, rounds=1 if tiny else 7)
    return [*rows, whole_layer(attention, 64 if tiny else 8192, rounds=1 if tiny else 3)]


def core(attention: Attention, tokens: int, rounds: int) -> list[Row]:
    """Attention proper, from queries to the heads' outputs."""
    latents, q = held(attention, tokens)
    heads = expanded_heads(attention, latents, q)
    times = alternate(
        {
            "ours": lambda: attention.absorbed(q, latents, None),
            "fused": lambda: fused(heads),
            "products": lambda: two_products(heads),
        },
        rounds,
        same=1e-4,
    )
    what, goal = f"decode attention, {tokens:,} tokens, float32", 5.0 if tokens >= 8192 else None
    return [
        speedup(what, "all heads cached, fused SDPA", times["ours"], times["fused"], at_least=goal),
        speedup(what, "all heads cached, two matrix products", times["ours"], times["products"]),
    ]


def whole_layer(attention: Attention, tokens: int, rounds: int) -> Row:
    """The layer with its projections, against the peer."""
    import transformers

    step = OneStep(attention, tokens)
    times = alternate({"ours": step.ours, "theirs": step.theirs}, rounds, same=1e-4)
    peer = f"transformers {transformers.__version__} DeepseekV3Attention (expands its latents at every step)"
    return speedup(f"whole layer, {tokens:,} tokens, float32", peer, times["ours"], times["theirs"])


if __name__ == "__main__":
    main(__doc__, measure)
