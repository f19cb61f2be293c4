"""Logits equal those of transformers' own class in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kvl_eval.errors import CheckpointError, PromptError
from kvl_eval.model.qwen2_5_vl import qwen2_5_vl
from kvl_eval.model.qwen2_5_vl.architecture import ARCHITECTURE
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.model.qwen2_5_vl.weights import load
from tests.model.qwen2_5_vl.prompts import SIZES, Size, make_case
from tests.model.qwen2_5_vl.tiny import SHAPES, Reference, make_checkpoint

TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def model(folder: Path) -> Qwen25VL:
    return load(folder)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@torch.no_grad()
def test_logits_equal_those_of_transformers(
    folder: Path, model: Qwen25VL, reference: Reference, sizes: tuple[Size, ...]
) -> None:
    case = make_case(folder, sizes)
    logits = model(torch.tensor([case.ids]), case.patches, case.grids)[0]
    expected = reference.logits(case.ids, case.images)
    assert expected.std() > 0.25
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0.0)


@torch.no_grad()
def test_a_picture_is_seen_the_same_beside_others(folder: Path, model: Qwen25VL) -> None:
    together = make_case(folder, SIZES["four images, two alike"])
    assert together.patches is not None
    features = model.image_features(together.patches, together.grids)
    alone = [
        model.image_features(patches, [grid])
        for patches, grid in zip(
            together.patches.split([rows * cols for rows, cols in together.grids]), together.grids, strict=True
        )
    ]
    torch.testing.assert_close(features, torch.cat(alone), atol=1e-5, rtol=0.0)


def test_positions_equal_those_of_transformers(folder: Path, model: Qwen25VL, reference: Reference) -> None:
    for sizes in SIZES.values():
        case = make_case(folder, sizes)
        features = None if case.patches is None else model.image_features(case.patches, case.grids)
        embedded = model.embed(torch.tensor([case.ids]), features, case.grids)
        if not sizes:
            expected, delta = torch.arange(len(case.ids)).expand(3, 1, -1), 0
        else:
            inputs = reference.inputs(case.ids, case.images)
            expected, deltas = reference.model.model.get_rope_index(
                inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"]
            )
            delta = int(deltas)
        assert torch.equal(embedded.positions, expected)
        assert embedded.next_position == len(case.ids) + delta


def test_images_and_placeholders_must_agree(folder: Path, model: Qwen25VL) -> None:
    case = make_case(folder, SIZES["image"])
    with pytest.raises(PromptError) as caught:
        model(torch.tensor([case.ids[:8] + case.ids[-5:]]), case.patches, case.grids)
    assert caught.value.code == "image.slots"
    with pytest.raises(PromptError) as caught:
        model(torch.tensor([case.ids]), case.patches, [(8, 10)])
    assert caught.value.code == "image.patches"
    with pytest.raises(PromptError) as caught:
        model(torch.tensor([case.ids]), case.patches, [(3, 32)])
    assert caught.value.code == "image.grid"


@torch.no_grad()
def test_features_do_not_depend_on_how_many_patches_are_taken_at_once(
    folder: Path, model: Qwen25VL, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(folder, SIZES["four images, two alike"])
    assert case.patches is not None
    whole = model.image_features(case.patches, case.grids)
    monkeypatch.setattr(qwen2_5_vl, "PATCHES_AT_ONCE", 1)
    torch.testing.assert_close(model.image_features(case.patches, case.grids), whole, atol=1e-5, rtol=0.0)


def test_names_in_memory_are_read_too(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SHAPES["tied"])
    tensors = load_file(folder / "model.safetensors")
    before = load(folder).state_dict()
    renamed = {
        name.replace("visual.", "model.visual.", 1)
        if name.startswith("visual.")
        else name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in tensors.items()
    }
    head = tensors["model.embed_tokens.weight"].clone()
    save_file({**renamed, "lm_head.weight": head}, folder / "model.safetensors")
    after = load(folder).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_in_bfloat16_is_loaded(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SHAPES["untied"], torch.bfloat16)
    assert ARCHITECTURE.dtype(folder) == "bfloat16"
    case = make_case(folder, SIZES["two images"])
    exact, rough = load(folder, dtype="float32"), load(folder, dtype="bfloat16")
    assert (exact.dtype, rough.dtype) == (torch.float32, torch.bfloat16)
    ids = torch.tensor([case.ids])
    with torch.no_grad():
        logits = [model(ids, case.patches, case.grids)[0] for model in (exact, rough)]
    torch.testing.assert_close(logits[0], Reference(folder).logits(case.ids, case.images), atol=TOLERANCE, rtol=0.0)
    assert logits[1].dtype == torch.float32
    torch.testing.assert_close(logits[1], logits[0], atol=0.3, rtol=0.0)


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SHAPES["untied"])
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.scale"] = tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.code == "model.tensors"
    assert "model.norm.weight" in str(caught.value.why) and "model.norm.scale" in str(caught.value.why)


def test_stop_tokens_come_from_all_files(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SHAPES["untied"])
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7]}))
    assert ARCHITECTURE.stop_ids(folder) == (7, 320, 322)
