"""How large pictures may be: a limit of patches for each, lowered until a whole prompt fits the context. All pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kvl_eval.errors import ConfigError, PromptError
from kvl_eval.pictures import PictureRule, Size

LADDER = (3072, 2048, 1536, 1024, 768, 512, 256)  # patches of one picture, tried in this order


def fit_limit(
    sizes: Sequence[Size], text_tokens: int, answer_tokens: int, context: int, config: PictureRule
) -> int | None:
    """The largest limit of patches at which all pictures, the text and the answer fit; None where none does.

    Nothing is dropped: one limit holds for every picture, and those below it stay as they are.

    Args:
        sizes:         (width, height) of the pictures as their files have them.
        text_tokens:   of everything in the prompt but images, the marks around each image included.
        answer_tokens: most new tokens.
        config:        its limit is tried first, and nothing above it.
    """
    room = context - text_tokens - answer_tokens
    return next((limit for limit in limits(config) if picture_tokens(sizes, limited(config, limit)) <= room), None)


def limits(config: PictureRule) -> Iterator[int]:
    """The limits that are tried, in falling order."""
    yield config.limit
    yield from (limit for limit in LADDER if limit < config.limit)


def picture_tokens(sizes: Sequence[Size], config: PictureRule) -> int:
    """Visual tokens of all pictures."""
    return sum(count * tokens_of(*size, config) for size, count in Counter(sizes).items())


def tokens_of(width: int, height: int, config: PictureRule) -> int:
    """Visual tokens of one picture, shrunk first where the processor would refuse it as too long."""
    return config.size(*config.accepted(width, height)).tokens


def seen_size(width: int, height: int, config: PictureRule) -> Size:
    """The size, before padding, at which the model sees a picture."""
    return config.size(*config.accepted(width, height)).resized


def limited(config: PictureRule, limit: int | None) -> PictureRule:
    """The configuration with at most `limit` patches a picture; None changes nothing."""
    if limit is None or limit >= config.limit:
        return config
    return config.with_limit(limit)


def within_pixels(config: PictureRule, max_pixels: int | None) -> PictureRule:
    """The configuration under `--max-pixels N`: as many patches as N pixels make. Raises: ConfigError."""
    if max_pixels is None:
        return config
    limit = max_pixels // config.patch_pixels
    if limit < 1:
        raise ConfigError(
            "config.max_pixels", f"--max-pixels {max_pixels} is too small", fix=f"use at least {config.patch_pixels}"
        )
    return limited(config, limit)


def overflow(sizes: Sequence[Size], text_tokens: int, answer_tokens: int, context: int) -> PromptError:
    """The error of a sample whose pictures fit under no limit."""
    return PromptError(
        "context_overflow",
        f"{len(sizes)} images, {text_tokens} text tokens and {answer_tokens} new tokens exceed the context of "
        f"{context} even at {LADDER[-1]} patches per image",
        fix="lower --frames, --max-new-tokens or --answer-tokens, or skip the sample",
    )
