"""Checkpoints: exact round trips, and every kind of broken folder named."""

import json
import logging
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kvl_eval.errors import CheckpointError
from kvl_eval.families import CONFIG_KEY
from kvl_eval.model import KimiVL, KimiVLConfig, KimiVLProcessor, TextConfig, VisionConfig, save_checkpoint
from kvl_eval.model.kimi_vl.weights import load_model
from kvl_eval.model.weight_files import INDEX
from kvl_eval.model.weights import checkpoint_tensors, materialise
from tools.nano.network import random_weights

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A checkpoint folder that a test may break."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny, folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def all_tensors(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def change_shard(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refused(folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        KimiVL.from_pretrained(folder)
    return caught.value


def test_weights_arrive_under_their_names(model: KimiVL, tiny: Path) -> None:
    stored, found = all_tensors(tiny), checkpoint_tensors(model)
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)
    assert not model.training


def test_dtype_follows_device_or_wish(tiny: Path, copy: Path) -> None:
    assert KimiVL.from_pretrained(tiny, dtype="bfloat16").dtype == torch.bfloat16
    assert KimiVL.from_pretrained(tiny, dtype=torch.float16).dtype == torch.float16
    for shard in SHARDS:
        change_shard(copy / shard, lambda tensors: tensors.update({n: t.bfloat16() for n, t in tensors.items()}))
    change_json(copy / "config.json", lambda config: config.update(torch_dtype="bfloat16"))
    assert KimiVL.from_pretrained(copy).dtype == torch.float32


def test_tensors_of_mixed_dtype_are_cast_one_by_one(copy: Path, model: KimiVL) -> None:
    def soften(tensors: dict[str, Tensor]) -> None:
        for number, name in enumerate(sorted(tensors)):
            tensors[name] = tensors[name].to([torch.float32, torch.bfloat16, torch.float16, torch.float64][number % 4])

    change_shard(copy / SHARDS[0], soften)
    loaded = checkpoint_tensors(KimiVL.from_pretrained(copy))
    for name, tensor in checkpoint_tensors(model).items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], tensor, atol=2e-2, rtol=1e-2)


def test_stop_ids_are_the_union_of_all_sources(model: KimiVL, copy: Path) -> None:
    assert model.stop_token_ids == (513, 514)
    change_json(copy / "generation_config.json", lambda config: config.update(eos_token_id=[7, 514]))
    change_json(copy / "config.json", lambda config: config.update(eos_token_id=9))
    assert KimiVL.from_pretrained(copy).stop_token_ids == (7, 9, 513, 514)


@pytest.mark.parametrize("limit", [5_000_000_000, 500_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_checkpoints_hold_the_published_names(
    model: KimiVL, processor: KimiVLProcessor, tiny: Path, tmp_path: Path, limit: int, dtype: torch.dtype
) -> None:
    save_checkpoint(model, tmp_path, dtype=dtype, max_shard_bytes=limit)
    processor.save(tmp_path)
    expected, stored = all_tensors(tiny), all_tensors(tmp_path)
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], tensor.to(dtype)) for name, tensor in expected.items())
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert (tmp_path / INDEX).exists() == (len(shards) > 1) == (limit == 500_000)
    assert not list(tmp_path.glob("*.part"))
    again = KimiVL.from_pretrained(tmp_path)
    assert again.stop_token_ids == model.stop_token_ids
    assert again.config.text_config == model.config.text_config
    assert KimiVLProcessor.from_pretrained(tmp_path).config == processor.config


def test_saved_configuration_is_the_given_one(tiny: Path, tmp_path: Path, model: KimiVL) -> None:
    save_checkpoint(model, tmp_path)
    assert KimiVLConfig.from_folder(tmp_path) == model.config
    published, ours = (json.loads((folder / "config.json").read_text()) for folder in (tiny, tmp_path))
    known = [name for name in published["text_config"] if name in ours["text_config"]]
    assert {name: ours["text_config"][name] for name in known} == {
        name: published["text_config"][name] for name in known
    }


def test_the_label_of_a_family_is_kept(tiny: Path, tmp_path: Path) -> None:
    model = KimiVL.from_pretrained(tiny)
    assert model.config.family is None
    save_checkpoint(model, tmp_path)
    assert CONFIG_KEY not in json.loads((tmp_path / "config.json").read_text())
    values = {**json.loads((tiny / "config.json").read_text()), CONFIG_KEY: "nano"}
    model.config = KimiVLConfig.from_dict(values)
    save_checkpoint(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())[CONFIG_KEY] == "nano"
    assert KimiVLConfig.from_folder(tmp_path).family == "nano"


def test_a_new_model_can_be_trained_and_saved(model: KimiVL, inputs: dict[str, Any], tmp_path: Path) -> None:
    fresh = random_weights(KimiVL(model.config), torch.Generator().manual_seed(0)).train()
    twin = random_weights(KimiVL(model.config), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), twin.parameters(), strict=True))
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=3e-3)
    batch = inputs["one_image"]
    losses = []
    for _ in range(8):
        logits = fresh(**batch).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, batch["input_ids"][0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    without = {name for name, parameter in fresh.named_parameters() if parameter.grad is None}
    assert all(name.endswith("e_score_correction_bias") for name in without)
    save_checkpoint(fresh, tmp_path)
    with torch.no_grad():
        expected = fresh.eval()(**batch).logits
        found = KimiVL.from_pretrained(tmp_path)(**batch).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_missing_unexpected_and_misshaped_tensors_are_listed_together(copy: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["language_model.model.layers.1.mlp.experts.3.up_proj.weight"]
        tensors["language_model.model.layers.9.extra.weight"] = torch.zeros(3)
        tensors["language_model.lm_head.weight"] = torch.zeros(768, 63)

    change_shard(copy / SHARDS[0], change)
    extra = {"language_model.model.layers.9.extra.weight": SHARDS[0]}
    change_json(copy / INDEX, lambda index: index["weight_map"].update(extra))
    error = refused(copy)
    assert "1 tensors missing, 1 unexpected, 1 with the wrong shape" in error.message
    text = error.render()
    assert "missing: language_model.model.layers.1.mlp.experts.3.up_proj.weight [40, 64]" in text
    assert "unexpected: language_model.model.layers.9.extra.weight [3]" in text
    assert "mis-shaped: language_model.lm_head.weight: expected [768, 64] float, found [768, 63] F32" in text


def test_long_lists_are_cut_with_a_total(copy: Path) -> None:
    change_shard(copy / SHARDS[0], lambda tensors: [tensors.pop(name) for name in list(tensors)[:50]])
    error = refused(copy)
    assert "50 tensors missing" in error.message
    assert error.render().count("missing: language_model") == 20
    assert "missing: and 30 more" in error.render()


def test_whole_numbers_are_no_weights(copy: Path) -> None:
    change_shard(
        copy / SHARDS[0], lambda t: t.update({"language_model.lm_head.weight": torch.zeros(768, 64, dtype=torch.int8)})
    )
    error = refused(copy)
    assert "quantized (weights of I8)" in error.message
    assert "language_model.lm_head.weight is I8" in str(error.why)


def test_tables_of_old_checkpoints_are_skipped(copy: Path) -> None:
    name = "language_model.model.layers.0.self_attn.rotary_emb.inv_freq"
    change_shard(copy / SHARDS[0], lambda tensors: tensors.update({name: torch.zeros(4)}))
    KimiVL.from_pretrained(copy)


def test_missing_shards_are_named_before_anything_is_opened(copy: Path) -> None:
    for shard in SHARDS:
        (copy / shard).unlink()
    error = refused(copy)
    assert error.code == "model.shards"
    assert f"2 of 2 weight files are missing: {SHARDS[0]}, {SHARDS[1]}" in error.message


@pytest.mark.parametrize("weight_map", [None, [], {"a": "../other.safetensors"}, {"a": "/etc/x.safetensors"}, {"a": 3}])
def test_an_index_that_leaves_the_folder_is_refused(copy: Path, weight_map: Any) -> None:
    change_json(copy / INDEX, lambda index: index.update(weight_map=weight_map))
    assert refused(copy).code == "model.index"


def test_a_single_file_needs_no_index(copy: Path, tiny: Path) -> None:
    tensors = all_tensors(tiny)
    for path in [*copy.glob("*.safetensors"), copy / INDEX]:
        path.unlink()
    save_file(tensors, copy / "model.safetensors")
    KimiVL.from_pretrained(copy)


class Payload:
    """Would create a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_pickled_weights_are_refused_and_never_opened(copy: Path, tmp_path: Path) -> None:
    for path in [*copy.glob("*.safetensors"), copy / INDEX]:
        path.unlink()
    torch.save({"weight": Payload(tmp_path / "created")}, copy / "pytorch_model.bin")
    error = refused(copy)
    assert error.code == "model.pickle"
    assert "pytorch_model.bin" in error.message
    assert not (tmp_path / "created").exists()


def test_a_folder_without_weights_says_so(copy: Path) -> None:
    for path in [*copy.glob("*.safetensors"), copy / INDEX]:
        path.unlink()
    assert refused(copy).code == "model.no_weights"


def header(values: dict[str, Any]) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text


BROKEN = {
    "empty": b"",
    "shorter than its length": b"\x10\x00",
    "header longer than the file": struct.pack("<Q", 10**6) + b"{}",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "unknown dtype": header({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
    "overlapping data": header(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        }
    )
    + bytes(12),
    "truncated data": header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}) + bytes(8),
    "shape against offsets": header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}) + bytes(8),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_weight_files_are_named(copy: Path, content: bytes) -> None:
    (copy / SHARDS[1]).write_bytes(content)
    error = refused(copy)
    assert error.code == "model.safetensors"
    assert SHARDS[1] in error.message
    assert error.why


def test_a_cut_weight_file_is_named(copy: Path) -> None:
    path = copy / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-100])
    assert SHARDS[1] in refused(copy).message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(copy: Path, bad: float) -> None:
    name = "language_model.model.layers.2.mlp.experts.1.down_proj.weight"
    shard = json.loads((copy / INDEX).read_text())["weight_map"][name]

    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors[name][3, 1] = bad

    change_shard(copy / shard, spoil)
    assert name in refused(copy).message
    load_model(KimiVL, copy, check_finite=False)


def test_code_of_a_checkpoint_is_never_run_and_a_notice_says_so(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    created = tmp_path / "created"
    (copy / "modeling_kimi_vl.py").write_text(f"open({str(created)!r}, 'w')\n")
    with caplog.at_level(logging.INFO, "kvl_eval"):
        KimiVL.from_pretrained(copy)
    assert "auto_map" in caplog.text
    assert not created.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "mentions"),
    [
        ({"device": "cuda:99"}, "model.device", "available: cpu"),
        ({"device": "quantum"}, "model.device", "quantum"),
        ({"dtype": "int4"}, "model.dtype", "float32, float64, bfloat16, float16"),
        ({"dtype": torch.int8}, "model.dtype", "int8"),
    ],
)
def test_impossible_devices_and_dtypes_are_refused(
    tiny: Path, arguments: dict[str, Any], code: str, mentions: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        KimiVL.from_pretrained(tiny, **arguments)
    assert caught.value.code == code
    assert mentions in caught.value.render()


def test_too_little_memory_is_told_in_bytes() -> None:
    text = TextConfig(vocab_size=10**13, hidden_size=8, num_hidden_layers=1, intermediate_size=8)
    vision = VisionConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8)
    with torch.device("meta"):
        model = KimiVL(KimiVLConfig(text_config=text, vision_config=vision))
    with pytest.raises(CheckpointError, match=r"on cpu: the weights need 596,046\.\d GiB") as caught:
        materialise(model, torch.device("cpu"))
    assert caught.value.code == "model.memory"


def test_low_rank_queries_and_biases_have_their_published_names(model: KimiVL) -> None:
    text = replace(model.config.text_config, q_lora_rank=12, attention_bias=True)
    with torch.device("meta"):
        names = checkpoint_tensors(KimiVL(replace(model.config, text_config=text)))
    prefix = "language_model.model.layers.0.self_attn."
    assert {name.removeprefix(prefix): tuple(t.shape) for name, t in names.items() if name.startswith(prefix)} == {
        "q_a_proj.weight": (12, 64),
        "q_a_proj.bias": (12,),
        "q_a_layernorm.weight": (12,),
        "q_b_proj.weight": (96, 12),
        "kv_a_proj_with_mqa.weight": (32, 64),
        "kv_a_proj_with_mqa.bias": (32,),
        "kv_a_layernorm.weight": (24,),
        "kv_b_proj.weight": (112, 24),
        "o_proj.weight": (64, 48),
        "o_proj.bias": (64,),
    }
