"""Grouped-query attention of the language model.

Shapes: B rows, S new tokens, T tokens attended to, H hidden, A heads of size D, K groups of heads that share keys and
values, J = D / 2 rotated pairs.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.model.qwen2_5_vl.config import TextConfig
from kvl_eval.model.qwen2_5_vl.rope import rotate

Turn = tuple[Tensor, Tensor]  # cosines and sines (B, S, 1, J) of the tokens' angles


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

    def forward(self, x_BSH: Tensor, turn: Turn, mask_BST: Tensor | None = None) -> Tensor:
        """Attention over the given tokens alone; causal where no mask is given."""
        q_BSAD, k_BSKD, v_BSKD = self.heads(x_BSH, turn)
        return self.o_proj(attend(q_BSAD, k_BSKD, v_BSKD, mask_BST))  # type: ignore[no-any-return]

    def heads(self, x_BSH: Tensor, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, S, A, D), keys and values (B, S, K, D); queries and keys are rotated."""
        q, k, v = (
            projection(x_BSH).unflatten(-1, (-1, self.config.head_dim))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return rotate(q, *turn), rotate(k, *turn), v


def attend(q_BSAD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, mask_BST: Tensor | None) -> Tensor:
    """Attention of every group's heads to its keys and values, (B, S, A * D); causal where no mask is given."""
    heads = q_BSAD.shape[2] // k_BTKD.shape[2]
    out = F.scaled_dot_product_attention(
        q_BSAD.transpose(1, 2),
        k_BTKD.transpose(1, 2).repeat_interleave(heads, dim=1),
        v_BTKD.transpose(1, 2).repeat_interleave(heads, dim=1),
        attn_mask=None if mask_BST is None else mask_BST[:, None],
        is_causal=mask_BST is None,
    )
    return out.transpose(1, 2).flatten(2)
