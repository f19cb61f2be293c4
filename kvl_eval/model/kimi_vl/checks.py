"""What `kvl-eval check model` says of a Kimi-VL checkpoint. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kvl_eval.model.base import Check, CheckWarning
from kvl_eval.model.kimi_vl import chat
from kvl_eval.model.kimi_vl.agreement import check_agreement
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig
from kvl_eval.model.kimi_vl.template_check import PROBES, TEMPLATE, find_template, rendered_apart
from kvl_eval.model.kimi_vl.tokenizer import NEEDED, KimiTokenizer


def config(folder: Path) -> str:
    """Sizes of the model."""
    sizes = KimiVLConfig.from_folder(folder)
    text, vision = sizes.text_config, sizes.vision_config
    return (
        f"{text.num_hidden_layers} layers of {text.hidden_size}, {text.n_routed_experts} experts top "
        f"{text.num_experts_per_tok}, vision {vision.num_hidden_layers} of {vision.hidden_size}, "
        f"context {text.max_position_embeddings:,}, stored as {sizes.torch_dtype}"
    )


def tensors(folder: Path) -> str:
    """Whether the weight files hold this model."""
    from kvl_eval.model.kimi_vl.weights import blueprint
    from kvl_eval.model.weights import checked_weights

    return checked_weights(blueprint(folder), folder)


def tokenizer(folder: Path) -> str:
    """Size of the vocabulary, and what ends a turn."""
    vocabulary = KimiTokenizer.from_folder(folder)
    named = sum(not name.startswith("<|reserved_token_") for name in vocabulary.special_tokens)
    stops = ", ".join(f"{name} {vocabulary.special_tokens[name]}" for name in ("[EOS]", "<|im_end|>"))
    return f"{vocabulary.num_base:,} tokens, {named} named specials with all {len(NEEDED)} needed; stops at {stops}"


def processor(folder: Path) -> str:
    """What becomes of pictures, and whether the files agree."""
    rule = PreprocessorConfig.from_folder(folder)
    check_agreement(KimiTokenizer.from_folder(folder), rule, KimiVLConfig.from_folder(folder), folder)
    shape = "padded" if rule.pad_input else "cropped"
    return f"images {shape}, shrunk above {rule.in_token_limit:,} patches of {rule.patch_size} pixels"


def template(folder: Path) -> str | CheckWarning:
    """A foreign template is only compared, in a sandboxed process of its own; the bundled one is always used."""
    own = find_template(folder)
    if own is None:
        return "none; the bundled one is used"
    if own == TEMPLATE:
        return "the bundled one"
    for probe, theirs in zip(PROBES, rendered_apart(own), strict=True):
        ours = chat.render(probe)
        if ours != theirs:
            why = f"published: {ours!r}\nthis file: {theirs!r}"
            return CheckWarning("differs from the published one, which is used in its place", why)
    return f"renders {len(PROBES)} probes like the published one"


CHECKS: Mapping[str, Check] = {
    "config": config,
    "tensors": tensors,
    "tokenizer": tokenizer,
    "processor": processor,
    "chat template": template,
}
