"""What a loader and an engine must know of Kimi-VL. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.model.base import Architecture, CostShape, PackedPlace, Packing
from kvl_eval.model.generation_file import GenerationFile
from kvl_eval.model.kimi_vl.agreement import check_agreement
from kvl_eval.model.kimi_vl.checks import CHECKS
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig, TextConfig
from kvl_eval.model.kimi_vl.families import FAMILIES
from kvl_eval.model.kimi_vl.fields import field_notes
from kvl_eval.model.kimi_vl.template_check import warn_if_template_differs
from kvl_eval.model.kimi_vl.text import KimiText
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer, added_tokens

if TYPE_CHECKING:
    from kvl_eval.model.kimi_vl.model import KimiVL

TOWER_PATCHES = 16_384  # that the vision tower holds at a time


def load(folder: Path, *, dtype: str | None = None, device: str | None = None) -> KimiVL:
    """The model in evaluation mode. Raises: CheckpointError."""
    from kvl_eval.model.kimi_vl.model import KimiVL

    return KimiVL.from_pretrained(folder, dtype=dtype, device=device)


def load_packed(folder: Path, place: PackedPlace, *, dtype: str | None = None) -> KimiVL:
    """The model in evaluation mode with packed weights. Raises: CheckpointError, StorageError."""
    from kvl_eval.model.kimi_vl import packed

    return packed.load(folder, place, dtype=dtype)


def packed_bytes(folder: Path, kind: str, dtype: str | None = None) -> int:
    """Bytes of the whole model with packed weights. Raises: CheckpointError."""
    from kvl_eval.model.kimi_vl import packed

    return packed.packed_bytes(folder, kind, dtype)


def check(folder: Path) -> None:
    """Raise CheckpointError if the folder's files cannot be used, or do not belong together."""
    config, rule = KimiVLConfig.from_folder(folder), PreprocessorConfig.from_folder(folder)
    check_agreement(KimiTokenizer.from_folder(folder), rule, config, folder)
    stop_ids(folder)
    warn_if_template_differs(folder)


def check_weights(folder: Path) -> str | None:
    """How the weight files name their tensors, where not as published.

    Raises: CheckpointError, where their headers are not those of the model.
    """
    from kvl_eval.model.kimi_vl.weights import blueprint
    from kvl_eval.model.weights import check_headers

    return check_headers(blueprint(folder), folder)


def stop_ids(folder: Path) -> tuple[int, ...]:
    """Ids that end a turn: those of generation_config, of config, and of the tokens named [EOS] and <|im_end|>."""
    generation = GenerationFile.from_folder(folder)
    names = added_tokens(folder) if (folder / "tokenizer_config.json").is_file() else {}
    named = {number for number, name in names.items() if name in FAMILIES.other.stop_texts}
    ids = {*KimiVLConfig.from_folder(folder).eos_ids, *generation.eos_ids, *named}
    return tuple(sorted(ids))


def served_form(folder: Path, target: Path) -> None:
    """Write the folder that vLLM loads in a checkpoint's place: with our processor file, and no other code."""
    from kvl_eval.model.kimi_vl.vllm_export import write_served

    write_served(folder, target)


def cost_shape(folder: Path) -> CostShape:
    """Sizes from which the cost of a prompt is counted."""
    config = KimiVLConfig.from_folder(folder)
    text, vision = config.text_config, config.vision_config
    each = text.kv_lora_rank * text.num_attention_heads * (text.qk_nope_head_dim + text.v_head_dim)
    latents = 2 * text.kv_lora_rank + text.qk_rope_head_dim
    block = vision.hidden_size * (4 * vision.hidden_size + 2 * vision.intermediate_size)
    return CostShape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        heads=text.num_attention_heads,
        head_size=text.qk_head_dim,
        inner=text.moe_intermediate_size,
        cache_width=text.latent_size,
        linear=_linear_operations(text),
        expanding=2 * text.num_hidden_layers * each,
        decoding=2 * text.num_hidden_layers * text.num_attention_heads * latents,
        patch=2 * vision.num_hidden_layers * block,
        tower_width=vision.hidden_size,
        tower_patches=TOWER_PATCHES,
        patch_bytes=3 * vision.patch_size**2,
        patches_per_token=vision.merge_kernel_size[0] * vision.merge_kernel_size[1],
    )


def _linear_operations(text: TextConfig) -> int:
    """Of one token through all layers, without attention."""
    hidden, heads = text.hidden_size, text.num_attention_heads
    attention = hidden * (heads * (text.qk_head_dim + text.v_head_dim) + text.latent_size)
    experts = 3 * hidden * text.moe_intermediate_size * (text.num_experts_per_tok + text.n_shared_experts)
    dense = min(text.first_k_dense_replace, text.num_hidden_layers)
    mlp = dense * 3 * hidden * text.intermediate_size + (text.num_hidden_layers - dense) * experts
    return 2 * (text.num_hidden_layers * attention + mlp)


ARCHITECTURE = Architecture(
    model_type="kimi_vl",
    families=FAMILIES,
    load=load,
    check=check,
    check_weights=check_weights,
    field_notes=field_notes,
    checks=CHECKS,
    processor=KimiText.from_folder,
    picture_rule=PreprocessorConfig.from_folder,
    default_rule=PreprocessorConfig(),
    stop_ids=stop_ids,
    context=lambda folder: KimiVLConfig.from_folder(folder).text_config.max_position_embeddings,
    dtype=lambda folder: KimiVLConfig.from_folder(folder).torch_dtype,
    cost_shape=cost_shape,
    attention="latent cache: absorbed weights when decoding, expanded heads with fused SDPA in prefill",
    whole_classes=("MoonViT", "Projector", "DecoderLayer"),
    served_form=served_form,
    packing=Packing(load=load_packed, bytes=packed_bytes),
)
