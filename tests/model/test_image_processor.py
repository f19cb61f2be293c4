"""Pictures to patches: exact sizes, exact bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

from kvl_eval.errors import MediaError
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import image_size, preprocess_image
from tests.refusals import refused

CONFIG = PreprocessorConfig()


def test_size_rule(golden: Path) -> None:
    rows = json.loads((golden / "size_rule.json").read_text("utf-8"))
    assert {row["in_token_limit"] for row in rows} == {4096, 16384}
    for row in rows:
        config = PreprocessorConfig(in_token_limit=row["in_token_limit"])
        if "error" in row:
            with pytest.raises(MediaError) as caught:
                image_size(row["w"], row["h"], config)
            assert row["error"] in caught.value.render()
            assert caught.value.reason == "media_too_long"
            continue
        size = image_size(row["w"], row["h"], config)
        expected = (row["resized_wh"], row["padded_wh"], row["grid_hw"], row["n_tokens"])
        assert (list(size.resized), list(size.padded), list(size.grid), size.tokens) == expected, row


def image_cases() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "data" / "kimi_vl" / "image_cases.json"
    return json.loads(path.read_text("utf-8"))["cases"]


@pytest.mark.parametrize("name", image_cases())
def test_patches_are_exact(golden: Path, tiny: Path, name: str) -> None:
    case = image_cases()[name]
    with Image.open(golden / case["file"]) as image:
        assert image.mode == case["mode"]
        patches, grid = preprocess_image(image, PreprocessorConfig.from_folder(tiny))
    expected = load_file(golden / "image_patches_uint8.safetensors")[name]
    assert list(grid) == case["grid_hw"]
    assert patches.dtype == np.uint8
    assert np.array_equal(patches, expected)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), limit=st.sampled_from([256, 1024, 4096, 16384]))
def test_sizes_always_fit_the_model(width: int, height: int, limit: int) -> None:
    try:
        size = image_size(width, height, PreprocessorConfig(in_token_limit=limit))
    except MediaError as error:
        assert error.code == "media.too_long"
        assert max(width, height) > 7140
        return
    assert size.padded == (size.grid[1] * 14, size.grid[0] * 14)
    assert size.tokens * 4 == size.grid[0] * size.grid[1]
    assert all(0 <= padded - resized < 28 for padded, resized in zip(size.padded, size.resized, strict=True))
    assert size.resized[0] <= width and size.resized[1] <= height
    assert size.resized == (width, height) or (width // 14) * (height // 14) > limit, "nothing is shrunk unasked"


def test_without_padding_the_centre_is_cut_out() -> None:
    pixels = np.zeros((30, 45, 3), np.uint8)
    pixels[1:29, 8:36] = 200  # the middle 28 x 42 begins at row 1, column 2 (1.5 rounded to even)
    config = PreprocessorConfig(pad_input=False)
    patches, grid = preprocess_image(Image.fromarray(pixels), config)
    assert grid == (2, 3)
    assert patches[0, 0, 0].tolist() == [0] * 6 + [200] * 8


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0)])
def test_pictures_without_content_are_refused(width: int, height: int) -> None:
    with refused(MediaError, "media.empty", "is empty"):
        image_size(width, height, CONFIG)


def test_a_picture_smaller_than_a_patch_is_refused_where_nothing_is_padded() -> None:
    with refused(MediaError, "media.empty", "too small after resizing"):
        image_size(13, 100, PreprocessorConfig(pad_input=False))


def test_a_truncated_picture_is_an_error_and_never_half_decoded(golden: Path, tmp_path: Path) -> None:
    content = (golden / "images" / "over_limit_500x300.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(MediaError) as caught:
        preprocess_image(image, CONFIG)
    assert caught.value.reason == "media_corrupt"


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "I", "F", "YCbCr", "LAB", "HSV", "PA", "RGBX"])
def test_other_modes_give_patches_or_a_clear_error(mode: str) -> None:
    image = Image.new(mode, (30, 30))
    try:
        patches, grid = preprocess_image(image, CONFIG)
    except MediaError as error:
        assert error.reason == "media_corrupt"
    else:
        assert (patches.shape, grid) == ((16, 3, 14, 14), (4, 4))
