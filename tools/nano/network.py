"""The architecture of Kimi-VL at nano's size, and its first weights."""

import torch
from torch import nn

from kvl_eval.model.kimi_vl.attention import RMSNorm
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig, TextConfig, VisionConfig
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.moe import Experts, Router
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.model.kimi_vl.vision import PositionTable

PREPROCESSOR = PreprocessorConfig(in_token_limit=1024)


def model_config(tokenizer: KimiTokenizer) -> KimiVLConfig:
    """The architecture of Kimi-VL at about five million parameters."""
    special, size = tokenizer.special_tokens, tokenizer.num_base + 256
    ids = {"bos_token_id": special["[BOS]"], "eos_token_id": special["[EOS]"], "pad_token_id": tokenizer.pad_id}
    vision = VisionConfig(
        init_pos_emb_height=16,
        init_pos_emb_width=16,
        num_attention_heads=5,
        num_hidden_layers=4,
        hidden_size=160,
        intermediate_size=480,
    )
    text = TextConfig(
        vocab_size=size,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        moe_intermediate_size=96,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        kv_lora_rank=512,
        qk_nope_head_dim=32,
        qk_rope_head_dim=64,
        v_head_dim=32,
        rms_norm_eps=1e-6,
        **ids,
    )
    return KimiVLConfig(
        vision_config=vision, text_config=text, media_placeholder_token_id=tokenizer.media_pad_id, **ids
    )


@torch.no_grad()
def random_weights(model: KimiVL, generator: torch.Generator | None = None) -> KimiVL:
    """Draw every parameter anew and return the model.

    Matrices are normal with standard deviation fan_in ** -0.5, tables with `initializer_range`; norms are one,
    biases are zero.
    """
    spread = model.config.text_config.initializer_range
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name.endswith("bias"):
                parameter.zero_()
            elif isinstance(module, nn.LayerNorm | RMSNorm):
                parameter.fill_(1.0)
            elif isinstance(module, nn.Embedding | PositionTable):
                parameter.normal_(0.0, spread, generator=generator)
            elif isinstance(module, Experts | Router):
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5, generator=generator)
            else:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
    return model


@torch.no_grad()
def initialised(model: KimiVL, generator: torch.Generator) -> KimiVL:
    """Weights for a short training: tables as large as what the layers add, layers that add little at first."""
    random_weights(model, generator)
    model.language_model.model.embed_tokens.weight.normal_(0.0, 0.5, generator=generator)
    model.vision_tower.patch_embed.pos_emb.weight.normal_(0.0, 0.3, generator=generator)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj", "down_proj.weight", "wo.weight", "fc1.weight")):
            parameter.mul_(8**-0.5)
    return model
