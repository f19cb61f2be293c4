"""The Moonlight language model: pre-norm layers of latent attention and mixture of experts.

Shapes: B rows, S new tokens, T tokens attended to, H hidden, J half the rope size.
"""

import torch
from torch import Tensor, nn

from kvl_eval.model.base import Rows
from kvl_eval.model.kimi_vl.attention import Attention, RMSNorm
from kvl_eval.model.kimi_vl.config import TextConfig
from kvl_eval.model.kimi_vl.moe import MLP, MoE
from kvl_eval.model.kimi_vl.rope import text_turn
from kvl_eval.model.precision import wide


class DecoderLayer(nn.Module):
    """x + attention(norm(x)), then x + experts(norm(x)); the first layers are dense."""

    def __init__(self, config: TextConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MoE(config) if config.is_moe(index) else MLP(config.hidden_size, config.intermediate_size)

    def forward(self, x_BSH: Tensor, turn_BS2J: Tensor, mask_BST: Tensor | None, rows: Rows | None = None) -> Tensor:
        normed = self.input_layernorm(x_BSH)
        if rows is None:
            attended = self.self_attn(normed, turn_BS2J, mask_BST)
        else:
            attended = self.self_attn.forward_cached(normed, turn_BS2J, rows, self.index)
        x_BSH, normed = self.post_attention_layernorm.behind(x_BSH, attended)
        return self.mlp(normed, onto=x_BSH)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Embedding table, layers and final norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        embeds_BSH: Tensor,
        positions_BS: Tensor,
        mask_BST: Tensor | None = None,
        rows: Rows | None = None,
    ) -> Tensor:
        """Final hidden states, (B, S, H), of tokens that see each other under the mask (None: causal), or of `rows`."""
        size, theta = self.config.qk_rope_head_dim, self.config.rope_theta
        turn_BS2J = text_turn(positions_BS, size, theta, embeds_BSH.dtype)
        x_BSH = embeds_BSH
        for layer in self.layers:
            x_BSH = layer(x_BSH, turn_BS2J, mask_BST, rows)
        return self.norm(x_BSH)  # type: ignore[no-any-return]


class LanguageModel(nn.Module):
    """The decoder and its output head, under the checkpoint's names."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def logits(self, x: Tensor) -> Tensor:
        """(..., H) final hidden states to (..., vocab_size) in float32 or wider."""
        return wide(self.lm_head(x))


def padding_mask(attention_mask: Tensor) -> Tensor:
    """(B, S, S) causal mask that hides padding; a padded token sees itself, so that no row of scores is empty."""
    size = attention_mask.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=attention_mask.device).tril()
    itself = torch.eye(size, dtype=torch.bool, device=attention_mask.device)
    return (causal & attention_mask.bool()[:, None, :]) | itself
