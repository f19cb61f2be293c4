"""The checkpoint that is written for vLLM, checked without vLLM: tokenizer, processor classes, latent norms."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from kvl_eval.backends import MODELS
from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL, KimiVLProcessor, save_checkpoint
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer, read_ranks, special_tokens
from kvl_eval.model.kimi_vl.vllm_export import CLASSES, export_for_vllm, fast_tokenizer, last_merge

NANO = Path(MODELS["kimi-vl-nano"].location)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "nano"
    export_for_vllm(NANO, folder)
    return folder


def test_the_last_merge_is_what_lower_ranks_leave() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5}
    assert last_merge(b"abc", ranks) == (b"ab", b"c")
    with pytest.raises(CheckpointError):
        last_merge(b"abca", {**ranks, b"abca": 2})


@pytest.mark.shared
@pytest.mark.slow
def test_the_real_vocabulary_encodes_alike(shared: Path) -> None:
    ranks = read_ranks(shared / "tokenizer" / "tiktoken.model")
    tokenizer = KimiTokenizer(ranks, special_tokens(len(ranks)))
    fast = fast_tokenizer(tokenizer)
    fast.encode_special_tokens = True
    rows = [json.loads(line) for line in (shared / "tokenizer" / "plain_text.jsonl").read_text().splitlines()]
    assert len(rows) == 28
    for row in rows:
        assert fast.encode(row["text"], add_special_tokens=False).ids == tokenizer.encode(row["text"])


def test_prompts_encode_alike(exported: Path) -> None:
    processor = KimiVLProcessor.from_pretrained(exported)
    fast = PreTrainedTokenizerFast.from_pretrained(exported)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "3 + 4 = ?\nSay ◁think▷."}]}]
    ours = processor.apply_chat_template(messages, tokenize=True)
    text = fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert fast(text, add_special_tokens=False)["input_ids"] == ours


@pytest.mark.parametrize("size", [(28, 28), (333, 215), (90, 700), (1400, 1300)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_the_processor_classes_stand_alone_and_make_the_same_patches(
    exported: Path, size: tuple[int, int], mode: str
) -> None:
    spec = importlib.util.spec_from_file_location("kimi_vl_processing", exported / CLASSES.name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = json.loads((exported / "preprocessor_config.json").read_text())
    theirs = module.KimiVLImageProcessor(**settings)
    image = Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 40).convert(mode)
    made = theirs(image)
    expected = KimiVLProcessor.from_pretrained(NANO).image_tensors([image])
    assert np.array_equal(made["pixel_values"].numpy(), expected["pixel_values"].numpy())
    assert made["image_grid_hws"].tolist() == expected["image_grid_hws"].tolist()


def test_latents_are_scaled_by_the_root_of_the_two_eps(tmp_path: Path) -> None:
    model = KimiVL.from_pretrained(NANO, dtype="float32")
    text = replace(model.config.text_config, rms_norm_eps=1e-4)
    model.config = replace(model.config, text_config=text)
    save_checkpoint(model, tmp_path / "eps")
    KimiVLProcessor.from_pretrained(NANO).save(tmp_path / "eps")
    export_for_vllm(tmp_path / "eps", tmp_path / "out")
    scaled = dict(KimiVL.from_pretrained(tmp_path / "out").named_parameters())
    for name, weight in model.named_parameters():
        if name.endswith("kv_a_proj_with_mqa.weight"):
            assert torch.allclose(scaled[name][:512], 10 * weight[:512])
            assert torch.equal(scaled[name][512:], weight[512:])
        else:
            assert torch.equal(scaled[name], weight)


def test_a_geometry_vllm_cannot_compute_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        export_for_vllm(data / "kimi_vl" / "tiny_checkpoint", tmp_path / "out")
    assert "kv_lora_rank" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(CheckpointError):
        export_for_vllm(NANO, tmp_path)
