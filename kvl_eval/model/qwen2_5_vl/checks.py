"""What `kvl-eval check model` says of a Qwen2.5-VL checkpoint. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kvl_eval.model.base import Check
from kvl_eval.model.qwen2_5_vl.config import PictureConfig, QwenConfig
from kvl_eval.model.qwen2_5_vl.processor import check_folder
from kvl_eval.model.qwen2_5_vl.tokenizer import END_OF_TEXT, IM_END, QwenTokenizer


def config(folder: Path) -> str:
    """Sizes of the model."""
    sizes = QwenConfig.from_folder(folder)
    text, vision = sizes.text_config, sizes.vision_config
    return (
        f"{text.num_hidden_layers} layers of {text.hidden_size}, {text.num_attention_heads} heads in "
        f"{text.num_key_value_heads} groups, vision {vision.depth} of {vision.hidden_size}, "
        f"context {text.max_position_embeddings:,}, stored as {sizes.torch_dtype}"
    )


def tensors(folder: Path) -> str:
    """Whether the weight files hold this model."""
    from kvl_eval.model.qwen2_5_vl.weights import blueprint
    from kvl_eval.model.weights import checked_weights

    return checked_weights(blueprint(folder), folder)


def tokenizer(folder: Path) -> str:
    """Size of the vocabulary, and what ends a turn."""
    vocabulary = QwenTokenizer.from_folder(folder)
    stops = ", ".join(f"{name} {vocabulary.special_tokens[name]}" for name in (IM_END, END_OF_TEXT))
    return f"{vocabulary.size:,} tokens; stops at {stops}"


def processor(folder: Path) -> str:
    """What becomes of pictures, and whether the files agree."""
    check_folder(folder)
    rule = PictureConfig.from_folder(folder)
    return f"images of {rule.min_pixels:,} to {rule.max_pixels:,} pixels, patches of {rule.patch_size}"


CHECKS: Mapping[str, Check] = {
    "config": config,
    "tensors": tensors,
    "tokenizer": tokenizer,
    "processor": processor,
    "chat template": lambda _: "not checked; the bundled one is used",
}
