"""Logits equal those of transformers' own class in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kvl_eval.errors import PromptError
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.model.qwen2_5_vl.weights import load
from tests.model.qwen2_5_vl.prompts import SIZES, Size, make_case
from tests.model.qwen2_5_vl.tiny import Reference

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
    assert expected.std() > 0.5
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
