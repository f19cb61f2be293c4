"""One limit of patches for all pictures of a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import ConfigError
from kvl_eval.media.fit import fit_limit, limited, limits, overflow, picture_tokens, seen_size, tokens_of, within_pixels
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import image_size

CONFIG = PreprocessorConfig()
ROOMY = PreprocessorConfig(in_token_limit=16_384)


def test_pictures_that_fit_keep_the_processors_own_limit() -> None:
    assert fit_limit([(448, 448)] * 64, 300, 512, 131_072, CONFIG) == 4096
    assert fit_limit([], 300, 512, 131_072, CONFIG) == 4096


@pytest.mark.parametrize(
    ("config", "tried"),
    [
        (ROOMY, [16_384, 3072, 2048, 1536, 1024, 768, 512, 256]),
        (CONFIG, [4096, 3072, 2048, 1536, 1024, 768, 512, 256]),
        (PreprocessorConfig(in_token_limit=1024), [1024, 768, 512, 256]),
        (PreprocessorConfig(in_token_limit=100), [100]),
    ],
)
def test_the_limits_that_are_tried(config: PreprocessorConfig, tried: list[int]) -> None:
    assert list(limits(config)) == tried


def test_120_pages_at_144_dpi_fit_131072_tokens_at_3072_patches() -> None:
    """A letter page is 1224 x 1584 pixels: 58 * 72 patches, 1073 tokens at 4096 patches, so 120 pages want 128,760."""
    pages = [(1224, 1584)] * 120
    tokens = picture_tokens(pages, CONFIG)
    assert tokens == 120 * tokens_of(1224, 1584, CONFIG)
    assert fit_limit(pages, 131_072 - tokens - 512, 512, 131_072, CONFIG) == 4096
    assert fit_limit(pages, 131_072 - tokens - 511, 512, 131_072, CONFIG) == 3072


def test_where_nothing_fits_there_is_no_limit_and_the_error_has_the_counts() -> None:
    sizes = [(1920, 1080)] * 3600
    assert fit_limit(sizes, 200, 512, 131_072, CONFIG) is None
    error = overflow(sizes, 200, 512, 131_072)
    assert error.reason == "context_overflow"
    assert all(text in error.message for text in ("3600 images", "200 text tokens", "512 new", "131072", "256 patches"))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), min_size=1, max_size=20),
    room=st.integers(1, 30_000),
    config=st.sampled_from([CONFIG, ROOMY, PreprocessorConfig(in_token_limit=1024)]),
)
def test_the_largest_limit_that_fits_is_taken(
    sizes: list[tuple[int, int]], room: int, config: PreprocessorConfig
) -> None:
    found = fit_limit(sizes, 100, 50, room + 150, config)
    fitting = [limit for limit in limits(config) if picture_tokens(sizes, limited(config, limit)) <= room]
    assert found == (fitting[0] if fitting else None)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), limit=st.sampled_from([256, 1024, 4096]))
def test_a_picture_of_the_size_seen_is_not_shrunk_again(width: int, height: int, limit: int) -> None:
    config = limited(CONFIG, limit)
    size = seen_size(width, height, config)
    again = image_size(*size, PreprocessorConfig(in_token_limit=10**9))
    assert again.resized == size
    assert again.tokens == tokens_of(width, height, config)


def test_max_pixels_lower_the_limit_of_patches() -> None:
    assert within_pixels(CONFIG, None) == CONFIG
    assert within_pixels(CONFIG, 196 * 100 + 5).limit == 100
    assert within_pixels(CONFIG, 10**9) == CONFIG
    with pytest.raises(ConfigError):
        within_pixels(CONFIG, 195)
