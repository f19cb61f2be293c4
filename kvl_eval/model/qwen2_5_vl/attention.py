"""Grouped-query attention of the language model: without a cache, over sequences of a cache, and over its pages.

The cache keeps W = 2 * K * D values of a token in each layer: the rotated keys of all groups, then their values.

Shapes: B rows, S new tokens, T tokens attended to, H hidden, A heads of size D, K groups of heads that share keys and
values, R = A / K heads of a group, J = D / 2 rotated pairs; N pages, P tokens per page, G rows that attend to one page.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.model.base import Packed, Pages, Rows
from kvl_eval.model.kernels import merged, page_shares
from kvl_eval.model.later_chunk import attend_apart
from kvl_eval.model.precision import wide, wide_dtype
from kvl_eval.model.qwen2_5_vl.config import TextConfig
from kvl_eval.model.qwen2_5_vl.rope import rotate
from kvl_eval.model.self_test import HeadShape, check_attention

Turn = tuple[Tensor, Tensor]  # cosines and sines (B, S, 1, J) of the tokens' angles
QUERIES_AT_ONCE = 512  # of a later chunk on a card: bounds the mask, which a fused kernel turns into numbers


class Attention(nn.Module):
    """One layer's attention."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        hidden, groups = config.hidden_size, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, hidden)
        self.k_proj = nn.Linear(hidden, groups)
        self.v_proj = nn.Linear(hidden, groups)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x_BSH: Tensor, turn: Turn) -> Tensor:
        """Causal attention over the given tokens alone."""
        q_BSAD, k_BSKD, v_BSKD = self.heads(x_BSH, turn)
        return self.o_proj(attend(q_BSAD, k_BSKD, v_BSKD))  # type: ignore[no-any-return]

    def forward_cached(self, x_BSH: Tensor, turn: Turn, rows: Rows, layer: int) -> Tensor:
        """Attention of new tokens over what their sequences hold and themselves; keys and values go to the cache."""
        q_BSAD, k_BSKD, v_BSKD = self.heads(x_BSH, turn)
        held = rows.write(layer, torch.cat([k_BSKD.flatten(2), v_BSKD.flatten(2)], dim=-1))
        if isinstance(held, Pages):
            return self.o_proj(self.paged(q_BSAD[:, 0], held)[:, None])  # type: ignore[no-any-return]
        return self.o_proj(self.packed(q_BSAD, k_BSKD, v_BSKD, held))  # type: ignore[no-any-return]

    def heads(self, x_BSH: Tensor, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, S, A, D), keys and values (B, S, K, D); queries and keys are rotated."""
        q, k, v = (
            torch.unflatten(projection(x_BSH), -1, (-1, self.config.head_dim))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return rotate(q, *turn), rotate(k, *turn), v

    def packed(self, q_BSAD: Tensor, k_BSKD: Tensor, v_BSKD: Tensor, held: Packed) -> Tensor:
        """Every sequence by itself, (1, S, A * D): its new tokens, behind what it holds of older ones."""
        new = zip(*(torch.split(x, held.sizes, dim=1) for x in (q_BSAD, k_BSKD, v_BSKD)), held.values, strict=True)
        return torch.cat(
            [attend(q, k, v) if values is None else attend(q, *self.unpacked(values)) for q, k, v, values in new], dim=1
        )

    def unpacked(self, values_BTW: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, T, K, D) of what the cache keeps."""
        parts = torch.unflatten(values_BTW, -1, (2, self.config.num_key_value_heads, self.config.head_dim))
        k, v = parts.unbind(-3)
        return k, v

    def paged(self, q_BAD: Tensor, pages: Pages) -> Tensor:
        """Attention of one new token a row over pages, (B, A * D).

        Each page's share of a row's softmax is computed by itself, relative to the row's highest score, and added up.
        """
        if pages.entries is not None:
            return self.paged_in_order(q_BAD, pages, pages.entries)
        q_BKRD = torch.unflatten(q_BAD, 1, (self.config.num_key_value_heads, -1))
        q_BKRD = F.pad(q_BKRD, (0, 0, 0, 0, 0, 0, 0, 1))  # one row more, for pages of nobody
        top_BKR = q_BKRD.new_full(q_BKRD.shape[:3], float("-inf"), dtype=wide_dtype(q_BKRD.dtype))
        scores = []
        for values_NPW, owners_NG, hidden_NP in pages.parts:
            scores.append(self._scores(q_BKRD[owners_NG], values_NPW, hidden_NP))  # (N, G, K, R, P)
            owners = owners_NG.flatten()[:, None, None].expand(-1, *top_BKR.shape[1:])
            top_BKR.scatter_reduce_(0, owners, scores[-1].amax(-1).flatten(0, 1), "amax")
        total_BKR = torch.zeros_like(top_BKR)
        sum_BKRD = torch.zeros_like(q_BKRD, dtype=top_BKR.dtype)
        for (values_NPW, owners_NG, _), part in zip(pages.parts, scores, strict=True):
            shares = part.sub_(top_BKR[owners_NG][..., None]).exp_()
            total_BKR.index_add_(0, owners_NG.flatten(), shares.sum(-1).flatten(0, 1))
            sums = self._sums(shares.to(values_NPW.dtype), values_NPW)
            sum_BKRD.index_add_(0, owners_NG.flatten(), wide(sums).flatten(0, 1))
        return (sum_BKRD / total_BKR[..., None])[: pages.rows].to(q_BAD.dtype).flatten(1)

    def paged_in_order(self, q_BAD: Tensor, pages: Pages, entries_BM: Tensor) -> Tensor:
        """`paged` with sums in a fixed order, each page relative to its own highest score."""
        q_BKRD = torch.unflatten(q_BAD, 1, (self.config.num_key_value_heads, -1))
        results = []
        for values_NPW, owners_NG, hidden_NP in pages.parts:
            owners = owners_NG.clamp(max=len(q_BAD) - 1)  # those of nobody are anyone's
            scores = self._scores(q_BKRD[owners], values_NPW, hidden_NP)  # (N, G, K, R, P)
            shares, tops, totals = page_shares(scores.flatten(2, 3), None, 1.0)
            sums = self._sums(shares.to(values_NPW.dtype).view_as(scores), values_NPW)
            results.append((sums.flatten(0, 1).flatten(1, 2), tops, totals))
        sums_EAD, tops_EA, totals_EA = (torch.cat(parts) for parts in zip(*results, strict=True))
        return merged(sums_EAD, tops_EA, totals_EA, entries_BM).flatten(1)

    def _scores(self, q_NGKRD: Tensor, values_NPW: Tensor, hidden_NP: Tensor | None) -> Tensor:
        """(N, G, K, R, P): how much each owner's query looks at each place of its page."""
        keys = values_NPW.chunk(2, dim=-1)[0].chunk(self.config.num_key_value_heads, dim=-1)  # (N, P, D) each
        parts = [q_NGRD.flatten(1, 2) @ k_NPD.mT for q_NGRD, k_NPD in zip(q_NGKRD.unbind(2), keys, strict=True)]
        scores = wide(torch.stack(parts, dim=1)) * self.config.head_dim**-0.5  # (N, K, G R, P)
        if hidden_NP is not None:
            scores = scores.masked_fill_(hidden_NP[:, None, None], float("-inf"))
        return torch.unflatten(scores, 2, (q_NGKRD.shape[1], -1)).transpose(1, 2)

    def _sums(self, shares_NGKRP: Tensor, values_NPW: Tensor) -> Tensor:
        """(N, G, K, R, D): values of each page by shares; group by group, since all at once would copy the pages."""
        values = values_NPW.chunk(2, dim=-1)[1].chunk(self.config.num_key_value_heads, dim=-1)  # (N, P, D) each
        groups = zip(shares_NGKRP.unbind(2), values, strict=True)
        sums = torch.stack([shares.flatten(1, 2) @ v_NPD for shares, v_NPD in groups], dim=1)  # (N, K, G R, D)
        return torch.unflatten(sums, 2, (shares_NGKRP.shape[1], -1)).transpose(1, 2)


def check_device(config: TextConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Raise CheckpointError where a device computes a layer's attention wrongly."""
    sizes = HeadShape(
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        key_size=config.head_dim,
        value_size=config.head_dim,
    )
    check_attention(attend, sizes, device, dtype)


def attend(q_BSAD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor) -> Tensor:
    """Attention of the last S of T tokens to those before them and themselves, (B, S, A * D)."""
    q, k, v = (x.transpose(1, 2) for x in (q_BSAD, k_BTKD, v_BTKD))
    new, tokens = q.shape[2], k.shape[2]
    if new == tokens:
        return _merged(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
    if q.device.type == "cpu":
        return _merged(attend_apart(q, *(x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))))
    return _merged(attend_masked(q, k, v))


def attend_masked(q_BASD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor) -> Tensor:
    """`attend_apart` for any device and fewer groups of keys and values than heads, (B, A, S, D)."""
    new, tokens = q_BASD.shape[2], k_BKTD.shape[2]
    parts = []
    for start in range(0, new, QUERIES_AT_ONCE):
        some = q_BASD[:, :, start : start + QUERIES_AT_ONCE]
        seen = tokens - new + start + some.shape[2]
        mask = torch.ones(some.shape[2], seen, dtype=torch.bool, device=some.device).tril(seen - some.shape[2])
        k, v = k_BKTD[:, :, :seen], v_BKTD[:, :, :seen]
        parts.append(F.scaled_dot_product_attention(some, k, v, attn_mask=mask, enable_gqa=True))
    return torch.cat(parts, dim=2)


def _merged(out_BASD: Tensor) -> Tensor:
    return out_BASD.transpose(1, 2).flatten(2)
