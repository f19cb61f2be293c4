"""Multi-head latent attention (MLA) of the Moonlight language model.

Every token leaves one latent (normalised, `kv_lora_rank` values) and one rotated rope key that all heads share. Keys
and values of the heads are linear maps of the latent, so there are two equal ways to attend:
- `expanded`: compute keys and values of all heads (cheaper for many queries: prefill and training);
- `absorbed`: fold the key map into the query and the value map behind the sum, and attend to the latents as they lie in
  the cache (cheaper for few queries: decoding). `paged` is the same over pages of several rows in any order,
  `expanded_apart` is `expanded` for the chunks of a long prompt.

Shapes: B rows, S new tokens, T tokens attended to, H hidden, A heads, L size of a head without rope, R of its rope,
J = R / 2, D = L + R, V value size, C latent size (`kv_lora_rank`), W = C + R; N pages, P tokens per page, G rows that
share it.
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.model.base import Packed, Pages, Rows
from kvl_eval.model.joined import Joining
from kvl_eval.model.kernels import add_and_norm, merged, normed, page_shares, rms_norm
from kvl_eval.model.kimi_vl.config import TextConfig
from kvl_eval.model.kimi_vl.rope import rotate, rotate_apart
from kvl_eval.model.later_chunk import attend_apart
from kvl_eval.model.meta import on_meta
from kvl_eval.model.precision import wide, wide_dtype
from kvl_eval.model.regions import region
from kvl_eval.model.self_test import HeadShape, check_attention
from kvl_eval.model.tensors import cache_mask

LATENT_EPS = 1e-6  # the published code builds the latent norms without passing rms_norm_eps
ABSORBED_TOKENS = 16  # most new tokens a row for which the scores over all latents are made at once


class RMSNorm(nn.Module):
    """w * x / sqrt(mean(x^2) + eps), statistics in float32 or wider."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)

    def behind(self, x: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of two tensors, and the norm of it."""
        return add_and_norm(x, more, self.weight, self.eps)


class Attention(Joining):
    """One layer's MLA, with or without a cache."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        hidden, heads, bias = config.hidden_size, config.num_attention_heads, config.attention_bias
        if config.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden, heads * config.qk_head_dim, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden, config.q_lora_rank, bias=bias)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank, LATENT_EPS)
            self.q_b_proj = nn.Linear(config.q_lora_rank, heads * config.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, config.latent_size, bias=bias)
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank, LATENT_EPS)
        self.kv_b_proj = nn.Linear(
            config.kv_lora_rank, heads * (config.qk_nope_head_dim + config.v_head_dim), bias=False
        )
        self.o_proj = nn.Linear(heads * config.v_head_dim, hidden, bias=bias)

    def inputs(self) -> Sequence[nn.Module]:
        """The maps of what comes in: to queries, or what they are made of, and to latents."""
        return [self.q_proj if self.config.q_lora_rank is None else self.q_a_proj, self.kv_a_proj_with_mqa]

    def forward(self, x_BSH: Tensor, turn_BS2J: Tensor, mask_BST: Tensor | None = None) -> Tensor:
        """Attention over the given tokens alone; causal where no mask is given."""
        queries, latents = self.queries_and_latents(x_BSH, turn_BS2J)
        return self.o_proj(self.expanded(queries, latents, mask_BST))  # type: ignore[no-any-return]

    def forward_cached(self, x_BSH: Tensor, turn_BS2J: Tensor, rows: Rows, layer: int) -> Tensor:
        """Attention of new tokens over what their sequences hold and themselves; their latents are written to it."""
        q_BSAD, latents = self.projected(x_BSH, turn_BS2J)
        held = rows.write(layer, latents)
        if isinstance(held, Packed):
            out = self.packed(turned(q_BSAD, turn_BS2J), latents, held)
        elif held.entries is None:
            out = self.paged(turned(q_BSAD, turn_BS2J), held)
        else:
            out = self.paged_in_order(q_BSAD, turn_BS2J, held, held.entries)
        return self.o_proj(out)  # type: ignore[no-any-return]

    def queries_and_latents(self, x_BSH: Tensor, turn_BS2J: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, S, A, L + R), the rope part last and rotated, and what the cache keeps, (B, S, W).

        That is the latent after its norm, then the rotated rope key.
        """
        q_BSAD, latents = self.projected(x_BSH, turn_BS2J)
        return turned(q_BSAD, turn_BS2J), latents

    def projected(self, x_BSH: Tensor, turn_BS2J: Tensor) -> tuple[Tensor, Tensor]:
        """`queries_and_latents`, but queries are not rotated."""
        q, kv = self.products(x_BSH)
        if self.config.q_lora_rank is not None:
            q = self.q_b_proj(self.q_a_layernorm(q))
        norm = self.kv_a_layernorm
        latents = cached_values(kv, norm.weight, norm.eps, turn_BS2J)
        return q.view(*q.shape[:2], -1, self.config.qk_head_dim), latents

    def nope_and_rope(self, q: Tensor) -> tuple[Tensor, Tensor]:
        size = self.config.qk_nope_head_dim
        return q[..., :size], q[..., size:]

    def latent_and_rope(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        size = self.config.kv_lora_rank
        return latents[..., :size], latents[..., size:]

    def expanded(self, q_BSAD: Tensor, latents_BTW: Tensor, mask_BST: Tensor | None) -> Tensor:
        """Attention with the keys and values of all heads, (B, S, A * V)."""
        return self.attended(q_BSAD.transpose(1, 2), *self.keys_and_values(latents_BTW), mask_BST)

    def attended(self, q_BASD: Tensor, k_BATD: Tensor, v_BATV: Tensor, mask_BST: Tensor | None) -> Tensor:
        """Fused attention, causal where no mask is given, (B, S, A * V)."""
        mask = None if mask_BST is None else mask_BST[:, None]
        out = F.scaled_dot_product_attention(q_BASD, k_BATD, v_BATV, attn_mask=mask, is_causal=mask is None)
        return out[..., : self.config.v_head_dim].transpose(1, 2).flatten(2)

    def packed(self, q_1SAD: Tensor, latents_1SW: Tensor, held: Packed) -> Tensor:
        """Causal attention of each sequence over itself, (1, S, A * V)."""
        outputs = []
        own = self.keys_and_values(latents_1SW) if None in held.values else None  # of all new tokens in one product
        ends = accumulate(held.sizes)
        for end, size, latents_1TW in zip(ends, held.sizes, held.values, strict=True):
            part = slice(end - size, end)
            if latents_1TW is not None:
                outputs.append(self.continued(q_1SAD[:, part], latents_1TW))
            elif own is not None:
                k_1ASD, v_1ASV = own
                q_1ASD = q_1SAD[:, part].transpose(1, 2)
                outputs.append(self.attended(q_1ASD, k_1ASD[:, :, part], v_1ASV[:, :, part], None))
        return torch.cat(outputs, dim=1)

    def continued(self, q_1SAD: Tensor, latents_1TW: Tensor) -> Tensor:
        """Attention of the last S of a sequence's T tokens over all that they may see, (1, S, A * V), S < T."""
        size = q_1SAD.shape[1]
        mask = cache_mask([latents_1TW.shape[1] - size], size, latents_1TW.device)
        # Expanding costs C * (L + V) a held token, absorbing 2C - L - V more a pair of tokens: it wins for few queries.
        if size <= ABSORBED_TOKENS:
            return self.absorbed(q_1SAD, latents_1TW, mask)
        if latents_1TW.device.type == "cpu":
            return self.expanded_apart(q_1SAD, latents_1TW)
        return self.expanded(q_1SAD, latents_1TW, mask)

    def expanded_apart(self, q_BSAD: Tensor, latents_BTW: Tensor) -> Tensor:
        """`expanded` on a CPU where the new tokens are the last ones of every row, without a mask: (B, S, A * V)."""
        out = attend_apart(q_BSAD.transpose(1, 2), *self.keys_and_values(latents_BTW))
        return out[..., : self.config.v_head_dim].transpose(1, 2).flatten(2)

    def keys_and_values(self, latents_BTW: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all heads, (B, A, T, D) and (B, A, T, V); values as wide as keys where fused attention wants it."""
        latent, k_rope = self.latent_and_rope(latents_BTW)
        heads = self.kv_b_proj(latent).view(*latent.shape[:2], self.config.num_attention_heads, -1)
        k_nope, v = heads[..., : self.config.qk_nope_head_dim], heads[..., self.config.qk_nope_head_dim :]
        k = torch.cat([k_nope, k_rope[:, :, None].expand(-1, -1, k_nope.shape[2], -1)], dim=-1)
        return k.transpose(1, 2), widened(v, k.shape[-1]).transpose(1, 2)

    def absorbed(self, q_BSAD: Tensor, latents_BTW: Tensor, mask_BST: Tensor | None) -> Tensor:
        """The same from the latents themselves, (B, S, A * V); no mask means that every token is seen."""
        q_BSAW = self.folded(q_BSAD)
        rows, new, heads, _ = q_BSAW.shape
        scores = (q_BSAW.flatten(1, 2) @ latents_BTW.mT).view(rows, new, heads, -1)  # (B, S, A, T)
        scores = wide(scores) * self.config.qk_head_dim**-0.5
        if mask_BST is not None:
            scores = scores.masked_fill(~mask_BST[:, :, None], float("-inf"))
        shares = scores.softmax(-1).to(latents_BTW.dtype).flatten(1, 2)
        return self.unfolded((shares @ latents_BTW[..., : self.config.kv_lora_rank]).view(rows, new, heads, -1))

    def paged(self, q_BSAD: Tensor, pages: Pages) -> Tensor:
        """`absorbed` for one new token a row, over pages: (B, 1, A * V).

        Each page's share of a row's softmax is computed by itself, relative to the row's highest score, and added up.
        """
        q_BAW = F.pad(self.folded(q_BSAD)[:, 0], (0, 0, 0, 0, 0, 1))  # one row more, for pages of nobody
        heads, latent_size = q_BAW.shape[1], self.config.kv_lora_rank
        scores = []
        top_BA = q_BAW.new_full((pages.rows + 1, heads), float("-inf"), dtype=wide_dtype(q_BAW.dtype))
        for latents_NPW, owners_NG, hidden_NP in pages.parts:
            part = wide(q_BAW[owners_NG].flatten(1, 2) @ latents_NPW.mT) * self.config.qk_head_dim**-0.5  # (N, G A, P)
            if hidden_NP is not None:
                part = part.masked_fill_(hidden_NP[:, None], float("-inf"))
            scores.append(part.view(-1, heads, part.shape[-1]))  # (N G, A, P)
            owners = owners_NG.flatten()
            top_BA.scatter_reduce_(0, owners[:, None].expand(-1, heads), scores[-1].amax(-1), "amax")
        total_BA = torch.zeros_like(top_BA)
        summed_BAC = top_BA.new_zeros(*top_BA.shape, latent_size)
        for (latents_NPW, owners_NG, _), part in zip(pages.parts, scores, strict=True):
            owners = owners_NG.flatten()
            shares = part.sub_(top_BA[owners][..., None]).exp_()
            total_BA.index_add_(0, owners, shares.sum(-1))
            shares = shares.to(latents_NPW.dtype).view(len(latents_NPW), -1, latents_NPW.shape[1])
            found = shares @ latents_NPW[..., :latent_size]  # (N, G A, C)
            summed_BAC.index_add_(0, owners, wide(found).view(-1, heads, latent_size))
        return self.unfolded((summed_BAC / total_BA[..., None])[: pages.rows, None].to(q_BAW.dtype))

    def paged_in_order(self, q_BSAD: Tensor, turn_BS2J: Tensor, pages: Pages, entries_BM: Tensor) -> Tensor:
        """`paged` of queries that are not rotated yet, in few operations and with sums in a fixed order."""
        q_nope, q_rope = self.nope_and_rope(q_BSAD)
        folded_BAC = self.folded_nope(q_nope)[:, 0]
        sums, tops, totals = [], [], []
        for latents_NPW, owners_NG, hidden_NP in pages.parts:
            q_NGAW = met_queries(folded_BAC, q_rope[:, 0], turn_BS2J, owners_NG)
            scores = q_NGAW.flatten(1, 2) @ latents_NPW.mT
            shares, part_tops, part_totals = page_shares(
                torch.unflatten(scores, 1, q_NGAW.shape[1:3]), hidden_NP, self.config.qk_head_dim**-0.5
            )
            part = shares.flatten(1, 2) @ latents_NPW[..., : self.config.kv_lora_rank]
            sums.append(part.view(len(part_tops), -1, part.shape[-1]))
            tops.append(part_tops)
            totals.append(part_totals)
        summed_BAC = merged(joined(sums), joined(tops), joined(totals), entries_BM)
        return self.unfolded(summed_BAC[:, None])

    def folded(self, q_BSAD: Tensor) -> Tensor:
        """Queries that meet latents where others meet keys: the key map folded in, (B, S, A, W)."""
        q_nope, q_rope = self.nope_and_rope(q_BSAD)
        return torch.cat([self.folded_nope(q_nope), q_rope], dim=-1)

    def folded_nope(self, q_BSAL: Tensor) -> Tensor:
        """The part without rope of `folded`, (B, S, A, C)."""
        up_k = self._maps()[:, : self.config.qk_nope_head_dim]  # (A, L, C)
        return torch.einsum("bsal,alc->bsac", q_BSAL, up_k)

    def unfolded(self, summed_BSAC: Tensor) -> Tensor:
        """Sums of latents through the value map, (B, S, A * V)."""
        up_v = self._maps()[:, self.config.qk_nope_head_dim :]  # (A, V, C)
        return torch.einsum("bsac,avc->bsav", summed_BSAC, up_v).flatten(2)

    def _maps(self) -> Tensor:
        """The latent's key and value maps of each head, (A, L + V, C)."""
        return self.kv_b_proj.weight.view(self.config.num_attention_heads, -1, self.config.kv_lora_rank)


@region(kernels=3)
def cached_values(kv_BSW: Tensor, weight_C: Tensor, eps: float, turn_BS2J: Tensor) -> Tensor:
    """What the cache keeps of a token: its latent after the norm, and its rope key rotated."""
    size = len(weight_C)
    latent = normed(kv_BSW[..., :size], weight_C, eps)
    return torch.cat([latent, rotate(kv_BSW[..., size:], turn_BS2J)], dim=-1)


@region(kernels=1)
def met_queries(folded_BAC: Tensor, rope_BAR: Tensor, turn_B12J: Tensor, owners_NG: Tensor) -> Tensor:
    """The queries that meet each page, (N, G, A, W), their rope part rotated; those without an owner are arbitrary."""
    sizes = folded_BAC.shape[-1], rope_BAR.shape[-1]
    rotated_BAR = rotate_apart(rope_BAR, turn_B12J)
    q_BAW = F.pad(folded_BAC, (0, sizes[1])) + F.pad(rotated_BAR, (sizes[0], 0))  # one kernel, as `cat` is not
    return q_BAW[owners_NG.clamp(max=len(q_BAW) - 1)]


def turned(q_BSAD: Tensor, turn_BS2J: Tensor) -> Tensor:
    """Queries with their rope part, the last 2 J numbers, rotated."""
    size = q_BSAD.shape[-1] - 2 * turn_BS2J.shape[-1]
    return torch.cat([q_BSAD[..., :size], rotate(q_BSAD[..., size:], turn_BS2J[:, :, None])], dim=-1)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Tensors behind each other."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def widened(values: Tensor, size: int) -> Tensor:
    """Values as wide as keys, with zeros behind, where fused attention is not known to take narrower ones."""
    if values.shape[-1] >= size or takes_narrow_values(values.device):
        return values
    return F.pad(values, (0, size - values.shape[-1]))


def check_device(config: TextConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Raise CheckpointError where a device computes a layer's attention wrongly."""
    layer = on_meta(lambda: Attention(config))

    def attend(q_BSAD: Tensor, k_BSAD: Tensor, v_BSAV: Tensor) -> Tensor:
        v_BSAV = widened(v_BSAV, k_BSAD.shape[-1])
        return layer.attended(q_BSAD.transpose(1, 2), k_BSAD.transpose(1, 2), v_BSAV.transpose(1, 2), None)

    heads = config.num_attention_heads
    sizes = HeadShape(heads=heads, key_heads=heads, key_size=config.qk_head_dim, value_size=config.v_head_dim)
    check_attention(attend, sizes, device, dtype)


@cache
def takes_narrow_values(device: torch.device) -> bool:
    """Whether a device's fused attention is known to be right and fast with values narrower than keys.

    CUDA from Hopper on. On a CPU and on older cards all scores would lie in memory at once, or a slow kernel runs;
    torch 2.5 to 2.11 computes garbage on MPS (pytorch/pytorch 176767).
    """
    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (9, 0)
