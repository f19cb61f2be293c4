"""What a loader and an engine must know of Qwen2.5-VL. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.model.base import Architecture, CostShape
from kvl_eval.model.generation_file import GenerationFile
from kvl_eval.model.qwen2_5_vl.checks import CHECKS
from kvl_eval.model.qwen2_5_vl.config import MODEL_TYPE, PictureConfig, QwenConfig
from kvl_eval.model.qwen2_5_vl.families import FAMILIES
from kvl_eval.model.qwen2_5_vl.fields import field_notes
from kvl_eval.model.qwen2_5_vl.image_processor import QwenPictures
from kvl_eval.model.qwen2_5_vl.processor import QwenProcessor, check_folder
from kvl_eval.model.qwen2_5_vl.tokenizer import QwenTokenizer

if TYPE_CHECKING:
    from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL

TOWER_PATCHES = 16384  # that the vision tower holds at a time: bounds its activations


def load(folder: Path, *, dtype: str | None = None, device: str | None = None) -> Qwen25VL:
    """The model in evaluation mode. Raises: CheckpointError."""
    from kvl_eval.model.qwen2_5_vl.weights import load as load_weights

    return load_weights(folder, dtype=dtype, device=device)


def check(folder: Path) -> None:
    """Raise CheckpointError if the folder's files cannot be used, or do not belong together."""
    check_folder(folder)
    stop_ids(folder)


def check_weights(folder: Path) -> str | None:
    """How the weight files name their tensors, where not as published.

    Raises: CheckpointError, where their headers are not those of the model.
    """
    from kvl_eval.model.qwen2_5_vl.weights import blueprint
    from kvl_eval.model.weights import check_headers

    return check_headers(blueprint(folder), folder)


def stop_ids(folder: Path) -> tuple[int, ...]:
    """Ids that end a reply: those of config.json and generation_config.json, `<|im_end|>` and `<|endoftext|>`."""
    ids = {*QwenConfig.from_folder(folder).eos_ids, *GenerationFile.from_folder(folder).eos_ids}
    return tuple(sorted(ids | set(QwenTokenizer.from_folder(folder).stop_ids)))


def cost_shape(folder: Path) -> CostShape:
    """Sizes from which the cost of a prompt is counted."""
    config = QwenConfig.from_folder(folder)
    text, vision = config.text_config, config.vision_config
    hidden, groups = text.hidden_size, text.cached_values
    layer = hidden * (2 * hidden + groups) + 3 * hidden * text.intermediate_size
    block = 4 * vision.hidden_size + 3 * vision.intermediate_size
    return CostShape(
        layers=text.num_hidden_layers,
        hidden=hidden,
        heads=text.num_attention_heads,
        head_size=text.head_dim,
        inner=text.intermediate_size,
        cache_width=groups,
        linear=2 * text.num_hidden_layers * layer,
        expanding=0,
        decoding=4 * text.num_hidden_layers * hidden,
        patch=2 * vision.depth * vision.hidden_size * block,
        tower_width=vision.hidden_size,
        tower_patches=TOWER_PATCHES,
        patch_bytes=3 * vision.patch_size**2,
        patches_per_token=vision.spatial_merge_size**2,
    )


ARCHITECTURE = Architecture(
    model_type=MODEL_TYPE,
    families=FAMILIES,
    load=load,
    check=check,
    check_weights=check_weights,
    field_notes=field_notes,
    checks=CHECKS,
    processor=QwenProcessor.from_folder,
    picture_rule=QwenPictures.from_folder,
    default_rule=QwenPictures(config=PictureConfig()),
    stop_ids=stop_ids,
    context=lambda folder: QwenConfig.from_folder(folder).text_config.max_position_embeddings,
    dtype=lambda folder: QwenConfig.from_folder(folder).torch_dtype,
    cost_shape=cost_shape,
    attention="KV cache of grouped queries: page by page when decoding, SDPA in prefill",
    whole_classes=("VisionTower", "DecoderLayer"),
)
