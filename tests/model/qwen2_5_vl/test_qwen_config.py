"""Configurations are read in both published forms; what the implementation does not compute is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from transformers import Qwen2_5_VLConfig

from kvl_eval.errors import CheckpointError
from kvl_eval.model.qwen2_5_vl.architecture import ARCHITECTURE
from kvl_eval.model.qwen2_5_vl.config import PictureConfig, QwenConfig
from kvl_eval.model.qwen2_5_vl.processor import check_folder
from tests.model.qwen2_5_vl.tiny import SHAPES, make_checkpoint, make_tokenizer

PUBLISHED: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "vision_start_token_id": 151652,
    "image_token_id": 151655,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "max_position_embeddings": 128000,
    "max_window_layers": 70,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vision_config": {
        "depth": 32,
        "hidden_act": "silu",
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "in_chans": 3,
        "out_hidden_size": 2048,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vocab_size": 151936,
}  # of the 3B model


def changed(**values: Any) -> dict[str, Any]:
    """The published file with other values; `vision_config` is changed, not replaced."""
    vision = {**PUBLISHED["vision_config"], **values.pop("vision_config", {})}
    return {**PUBLISHED, **values, "vision_config": vision}


def test_the_published_form_is_read() -> None:
    config = QwenConfig.from_dict(PUBLISHED)
    text, vision = config.text_config, config.vision_config
    assert (text.hidden_size, text.head_dim, text.cached_values) == (2048, 128, 512)
    assert (text.mrope_section, text.rope_theta, text.rms_norm_eps) == ((16, 24, 24), 1e6, 1e-6)
    assert (vision.head_dim, vision.window_cells, vision.fullatt_block_indexes) == (80, 4, (7, 15, 23, 31))
    assert (config.tie_word_embeddings, config.image_token_id, config.eos_ids) == (True, 151655, (151645,))
    assert config.torch_dtype == "bfloat16"


def test_both_forms_mean_the_same(tmp_path: Path) -> None:
    Qwen2_5_VLConfig(**json.loads(json.dumps(PUBLISHED))).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "text_config" in written and "hidden_size" not in written
    assert QwenConfig.from_dict(written) == QwenConfig.from_dict(PUBLISHED)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"model_type": "qwen2_vl"}, "model_type"),
        ({"model_type": "qwen3_vl"}, "model_type"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "mrope_section": [16, 24, 24]}}, "rope_scaling.type"),
        ({"rope_scaling": {"rope_type": "dynamic", "mrope_section": [16, 24, 24]}}, "rope_scaling.rope_type"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 16]}}, "mrope_section"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantization_config"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"hidden_size": "2048"}, "hidden_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"rope_theta": "1e6"}, "rope_theta"),
        ({"image_token_id": 151936}, "image_token_id"),
        ({"vision_config": {"hidden_act": "quick_gelu"}}, "vision_config.hidden_act"),
        ({"vision_config": {"in_chans": 1}}, "vision_config.in_channels"),
        ({"vision_config": {"out_hidden_size": 3584}}, "vision_config.out_hidden_size"),
        ({"vision_config": {"num_heads": 7}}, "vision_config.num_heads"),
        ({"vision_config": {"window_size": 14}}, "vision_config.window_size"),
        ({"vision_config": {"fullatt_block_indexes": 7}}, "vision_config.fullatt_block_indexes"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_what_is_not_computed_is_refused_by_name(values: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        QwenConfig.from_dict(changed(**values))
    assert caught.value.code == "model.config"
    assert str(caught.value).startswith(f"{name} is ")


@pytest.mark.parametrize("rope", [{"type": "default"}, {"rope_type": "default"}, {}], ids=str)
def test_an_unscaled_rope_has_several_names(rope: dict[str, Any]) -> None:
    config = QwenConfig.from_dict(changed(rope_scaling={**rope, "mrope_section": [16, 24, 24]}))
    assert config == QwenConfig.from_dict(PUBLISHED)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ({"min_pixels": 3136, "max_pixels": 12845056}, (3136, 12845056)),
        ({"size": {"shortest_edge": 3136, "longest_edge": 1003520}}, (3136, 1003520)),
        ({"min_pixels": None, "max_pixels": 401408, "size": {"shortest_edge": 784, "longest_edge": 1}}, (784, 401408)),
        ({"max_pixels": 401408}, (3136, 401408)),
    ],
    ids=["published", "newer", "both", "one"],
)
def test_bounds_of_pictures_are_read_in_both_forms(values: dict[str, Any], bounds: tuple[int, int]) -> None:
    config = PictureConfig.from_dict({"patch_size": 14, "image_processor_type": "Qwen2VLImageProcessor", **values})
    assert (config.min_pixels, config.max_pixels) == bounds


def test_a_bound_in_which_published_classes_and_checkpoints_differ_must_be_stated() -> None:
    with pytest.raises(CheckpointError, match="max_pixels is missing"):
        PictureConfig.from_dict({"patch_size": 14, "min_pixels": 3136})


def test_a_processor_file_may_hold_the_bounds(tmp_path: Path) -> None:
    values = {"image_processor": {"size": {"shortest_edge": 784, "longest_edge": 7840}}, "processor_class": "x"}
    (tmp_path / "processor_config.json").write_text(json.dumps(values))
    assert PictureConfig.from_folder(tmp_path).max_pixels == 7840


@pytest.mark.parametrize(
    "values",
    [
        {"min_pixels": 0},
        {"min_pixels": 10**9},
        {"image_std": [0.2, 0.0, 0.2]},
        {"image_mean": [0.5]},
        {"merge_size": 0},
    ],
    ids=str,
)
def test_senseless_bounds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        PictureConfig.from_dict(values)


def test_files_of_one_checkpoint_agree(folder: Path) -> None:
    check_folder(folder)


@pytest.mark.parametrize(
    ("file", "values", "name"),
    [
        ("config.json", {"image_token_id": 5}, "image_token_id is 5"),
        ("tokenizer.json", {"added_tokens": "more"}, "vocab_size is 384"),
        ("preprocessor_config.json", {"patch_size": 16}, "vision_config.patch_size is 14"),
        ("preprocessor_config.json", {"merge_size": 1}, "vision_config.spatial_merge_size is 2"),
    ],
)
def test_files_of_two_checkpoints_are_refused(tmp_path: Path, file: str, values: dict[str, Any], name: str) -> None:
    folder = make_checkpoint(tmp_path, SHAPES["tied"])
    path = folder / file
    if values.get("added_tokens") == "more":
        tokenizer = make_tokenizer()
        tokenizer.add_tokens([f"word{number}" for number in range(50)])
        tokenizer.save(str(path))
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(CheckpointError, match=name):
        check_folder(folder)


def test_the_work_of_a_token_is_twice_the_weights_that_it_meets(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def weights(*parts: str) -> int:
        return sum(size for name, size in sizes.items() if all(part in name for part in parts))

    shape = ARCHITECTURE.cost_shape(folder)
    assert shape.linear == 2 * weights("layers.", "proj.weight")
    assert shape.patch == 2 * (weights("visual.blocks", ".attn", "weight") + weights("visual.blocks", ".mlp", "weight"))
