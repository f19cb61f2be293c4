"""config.json and preprocessor_config.json: what is read, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVLConfig, PreprocessorConfig, TextConfig
from kvl_eval.model.files import read_json


@pytest.fixture(scope="module")
def published(tiny: Path) -> dict[str, Any]:
    return json.loads((tiny / "config.json").read_text())


def test_fields_come_from_the_file(published: dict[str, Any]) -> None:
    config = KimiVLConfig.from_dict(published)
    assert config.text_config.kv_lora_rank == 24
    assert config.text_config.rms_norm_eps == 0.002
    assert config.vision_config.init_pos_emb_height == 10
    assert config.media_placeholder_token_id == 533
    assert config.eos_ids == (513,)


def test_the_defaults_are_those_of_the_released_model() -> None:
    config = KimiVLConfig.from_dict(KimiVLConfig().to_dict())
    assert config == KimiVLConfig()
    assert config.text_config.latent_size == 576


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"torch_dtype": None, "dtype": "float32"}, "float32"),
        ({"text_config": {"torch_dtype": "float16"}}, "float16"),
        ({}, "bfloat16"),
    ],
)
def test_the_stored_dtype_is_found_under_its_old_and_new_names(values: dict[str, Any], expected: str) -> None:
    file = KimiVLConfig().to_dict()
    text = {name: value for name, value in file["text_config"].items() if name != "torch_dtype"}
    values = {**values, "text_config": {**text, **values.get("text_config", {})}}
    named = {name: value for name, value in file.items() if name != "torch_dtype"}
    assert KimiVLConfig.from_dict({**named, **values}).torch_dtype == expected


def test_the_token_limit_comes_from_the_preprocessor_file(tiny: Path, tmp_path: Path) -> None:
    assert PreprocessorConfig.from_folder(tiny).in_token_limit == 256
    stated = {"in_token_limit": 16384, "pad_input": True, "image_mean": [0, 0.25, 1], "image_std": [1, 1, 1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    config = PreprocessorConfig.from_folder(tmp_path)
    assert (config.in_token_limit, config.image_mean) == (16384, (0, 0.25, 1))


@pytest.mark.parametrize(
    ("change", "field", "accepted"),
    [
        ({"model_type": "llava"}, "model_type", '"kimi_vl"'),
        ({"model_type": None}, "model_type", '"kimi_vl"'),
        ({"architectures": ["LlamaForCausalLM"]}, "architectures", "KimiVLForConditionalGeneration"),
        ({"text_config": 3}, "text_config", "an object"),
        ({"media_placeholder_token_id": 768}, "media_placeholder_token_id", "below vocab_size 768"),
        ({"media_placeholder_token_id": "533"}, "media_placeholder_token_id", "int"),
    ],
)
def test_wrong_fields_are_named_with_what_is_accepted(
    published: dict[str, Any], change: dict[str, Any], field: str, accepted: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        KimiVLConfig.from_dict({**published, **change})
    assert field in caught.value.message
    assert accepted in caught.value.render()


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("text_config", "rope_scaling", {"type": "yarn", "factor": 4.0}),
        ("text_config", "scoring_func", "softmax"),
        ("text_config", "topk_method", "greedy"),
        ("text_config", "hidden_act", "gelu"),
        ("text_config", "hidden_size", "64"),
        ("text_config", "hidden_size", -64),
        ("text_config", "hidden_size", True),
        ("text_config", "q_lora_rank", "12"),
        ("text_config", "rope_theta", None),
        ("text_config", "n_routed_experts", 2),
        ("vision_config", "merge_kernel_size", 2),
        ("vision_config", "merge_kernel_size", [2, 2, 2]),
        ("vision_config", "num_attention_heads", 5),
    ],
)
def test_values_that_are_not_computed_are_refused(
    published: dict[str, Any], section: str, field: str, value: object
) -> None:
    changed = {**published, section: {**published[section], field: value}}
    with pytest.raises(CheckpointError) as caught:
        KimiVLConfig.from_dict(changed)
    assert f"{section}.{field}" in caught.value.message
    assert "accepted: " in caught.value.render()


def test_the_rule_of_dense_and_sparse_layers() -> None:
    config = TextConfig(first_k_dense_replace=2, moe_layer_freq=3)
    assert [layer for layer in range(10) if config.is_moe(layer)] == [3, 6, 9]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        KimiVLConfig.from_folder(tmp_path)


@pytest.mark.parametrize(
    "values", [{"patch_size": 0}, {"in_token_limit": 0}, {"image_std": [0.5, 0.0, 0.5]}, {"merge_kernel_size": [0, 2]}]
)
def test_preprocessor_values_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PreprocessorConfig().to_dict(), **values}))
    with pytest.raises(CheckpointError, match=next(iter(values))):
        PreprocessorConfig.from_folder(tmp_path)
