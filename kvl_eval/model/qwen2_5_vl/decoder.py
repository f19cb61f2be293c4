"""The language model of Qwen2.5-VL: pre-norm layers of grouped-query attention and gated MLPs.

Shapes: B rows, S new tokens, H hidden, J half the head size.
"""

from torch import Tensor, nn

from kvl_eval.model.base import Rows
from kvl_eval.model.qwen2_5_vl.attention import Attention, Turn
from kvl_eval.model.qwen2_5_vl.config import TextConfig
from kvl_eval.model.qwen2_5_vl.layers import RMSNorm, SwiGLU
from kvl_eval.model.qwen2_5_vl.rope import token_angles


class DecoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TextConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size, bias=False)

    def forward(self, x_BSH: Tensor, turn: Turn, rows: Rows | None = None) -> Tensor:
        normed = self.input_layernorm(x_BSH)
        if rows is None:
            x_BSH = x_BSH + self.self_attn(normed, turn)
        else:
            x_BSH = x_BSH + self.self_attn.forward_cached(normed, turn, rows, self.index)
        return x_BSH + self.mlp(self.post_attention_layernorm(x_BSH))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Embedding table, layers and final norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, embeds_BSH: Tensor, positions_3BS: Tensor, rows: Rows | None = None) -> Tensor:
        """Final hidden states, (B, S, H): of the given tokens alone, or of new ones of sequences in a cache."""
        angles_BSJ = token_angles(positions_3BS, self.config.mrope_section, self.config.rope_theta)
        turn = angles_BSJ.cos()[:, :, None], angles_BSJ.sin()[:, :, None]
        x_BSH = embeds_BSH
        for layer in self.layers:
            x_BSH = layer(x_BSH, turn, rows)
        return self.norm(x_BSH)  # type: ignore[no-any-return]
