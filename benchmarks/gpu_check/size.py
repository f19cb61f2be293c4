"""How much is measured: the full size on CUDA, the smallest one elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from kvl_eval.backends.engine_args import EngineArgs
from kvl_eval.model import KimiVLConfig, TextConfig, VisionConfig
from kvl_eval.model.pages import PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The random model and what is asked of it, and of the small checkpoints; the defaults are the full size.

    Attributes:
        prompts, steps:   of the small checkpoints: questions, and new tokens of each.
        repeats:          of each question in the engine.
        budgets, answer:  tokens of thoughts and behind them.
        config:           of the random model.
        dtype:            of it.
        batches, contexts: of decode steps, in sequences and tokens.
        chunks:           tokens of a prefill pass.
        page:             tokens of a page of the cache, as the engine takes.
        pictures:         in one call of the vision tower.
        side:             of a picture, in patches.
        rounds:           most repetitions of a measurement.
    """

    prompts: int = 6
    steps: int = 24
    repeats: int = 2
    budgets: tuple[int, ...] = (8, 24)
    answer: int = 12
    config: KimiVLConfig = field(default_factory=KimiVLConfig)
    dtype: torch.dtype = torch.bfloat16
    batches: tuple[int, ...] = (1, 64, 256)
    contexts: tuple[int, ...] = (1536, 9216, 65536)
    chunks: tuple[int, ...] = (2048, 8192)
    page: int = PAGE
    pictures: tuple[int, ...] = (1, 8)
    side: int = 64
    rounds: int = 40


def smallest() -> Size:
    """What takes a CPU a few seconds: every line of the full size runs, and figures mean nothing."""
    vision = VisionConfig(
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=2,
        init_pos_emb_height=8,
        init_pos_emb_width=8,
    )
    text = TextConfig(
        vocab_size=512,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=96,
        moe_intermediate_size=32,
        n_routed_experts=8,
        num_experts_per_tok=2,
        kv_lora_rank=32,
        qk_nope_head_dim=16,
        qk_rope_head_dim=8,
        v_head_dim=16,
    )
    return Size(
        prompts=3,
        steps=5,
        repeats=1,
        budgets=(2, 4),
        answer=3,
        config=KimiVLConfig(text_config=text, vision_config=vision, media_placeholder_token_id=511),
        dtype=torch.float32,
        batches=(1, 4),
        contexts=(96, 256),
        chunks=(128,),
        pictures=(1,),
        side=8,
        rounds=6,
    )


def size_for(device: torch.device) -> Size:
    """The full size on CUDA, else the smallest."""
    return Size(page=EngineArgs().page_on("cuda")) if device.type == "cuda" else smallest()
