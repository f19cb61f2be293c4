"""Pictures become the patches that transformers' own processor makes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from kvl_eval.errors import MediaError
from kvl_eval.model.qwen2_5_vl.config import PictureConfig
from kvl_eval.model.qwen2_5_vl.image_processor import QwenPictures
from tests.model.qwen2_5_vl.tiny import picture

RULE = QwenPictures(config=PictureConfig(max_pixels=100_000))
PUBLISHED = QwenPictures(config=PictureConfig())


@pytest.mark.parametrize(
    "size", [(56, 84), (1, 1), (13, 7), (640, 427), (427, 640), (28, 1001), (300, 2), (999, 31)], ids=str
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_patches_equal_those_of_transformers(size: tuple[int, int], mode: str) -> None:
    image = picture(*size, seed=sum(size)).convert(mode)
    expected = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=100_000)(image, return_tensors="np")
    patches, grid = RULE.patches(image)
    assert patches.dtype == np.uint8
    assert (1, *grid) == tuple(expected["image_grid_thw"][0])
    pixels = RULE.normalized(torch.from_numpy(patches))
    frames = pixels[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1)
    np.testing.assert_allclose(frames.numpy(), expected["pixel_values"], atol=2e-6)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_sizes_equal_those_of_transformers(width: int, height: int) -> None:
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(MediaError) as caught:
            PUBLISHED.size(width, height)
        assert caught.value.code == "media.too_long"
        width, height = PUBLISHED.accepted(width, height)
    assert PUBLISHED.accepted(width, height) == (width, height)
    size = PUBLISHED.size(width, height)
    assert size.resized[::-1] == smart_resize(height, width, 28, 3136, 12_845_056)
    assert size.grid == (size.resized[1] // 14, size.resized[0] // 14)
    assert 4 * size.tokens == size.grid[0] * size.grid[1] <= PUBLISHED.limit


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([256, 512, 768, 3072]))
def test_a_lower_limit_holds_for_every_picture(width: int, height: int, limit: int) -> None:
    assume(min(width, height) * 30 > max(width, height))  # a thin picture keeps one row of cells
    limited = PUBLISHED.with_limit(limit)
    assert limited.limit == limit
    assert 4 * limited.size(width, height).tokens <= limit


def test_a_resized_picture_stays_as_it_is() -> None:
    unlimited = RULE.with_limit(10**9)
    for width, height in ((640, 427), (13, 7), (300, 2)):
        resized = RULE.size(width, height).resized
        assert unlimited.size(*resized).resized == resized


def test_the_rule_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(RULE)) == RULE


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(MediaError) as caught:
        RULE.patches(Image.new("RGB", (0, 5)))
    assert caught.value.code == "media.empty"


def test_a_picture_may_be_two_hundred_times_as_long_as_wide() -> None:
    assert PUBLISHED.size(2000, 10).tokens > 0
    with pytest.raises(MediaError):
        PUBLISHED.size(2001, 10)
    assert PUBLISHED.accepted(2001, 10) == (2000, 10)


def test_a_limit_below_the_least_pixels_holds() -> None:
    assert RULE.with_limit(8).size(500, 400).tokens <= 2


def test_a_picture_of_just_the_most_pixels_keeps_its_size() -> None:
    rule = QwenPictures(config=PictureConfig(max_pixels=280 * 140))
    assert rule.size(285, 138).resized == (280, 140)
