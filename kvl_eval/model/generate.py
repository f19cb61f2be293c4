"""Batched generation over the latent cache: prefill each prompt alone, then decode all rows together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kvl_eval.errors import PromptError
from kvl_eval.model.pages import LatentCache, PagedRows
from kvl_eval.model.sampling import finite_token, sample_rows
from kvl_eval.model.tensors import index_tensor

if TYPE_CHECKING:
    from kvl_eval.model.kimi_vl.model import KimiVL

PREFILL_CHUNK = 2048  # tokens


@torch.no_grad()
def prefill(model: "KimiVL", embeds: Tensor, cache: LatentCache | PagedRows, chunk: int = PREFILL_CHUNK) -> Tensor:
    """Logits (B, vocab_size) behind prompts of equal length, which go into the cache in chunks."""
    logits = embeds.new_empty(0)
    for part in torch.split(embeds, chunk, dim=1):
        logits = model.forward_block(part, cache)
    return logits


@torch.no_grad()
def decode_step(model: "KimiVL", tokens: Sequence[int], cache: LatentCache | PagedRows) -> Tensor:
    """Logits (B, vocab_size) behind one more token in every row of the cache."""
    ids = index_tensor(tokens, model.device)
    return model.forward_block(model.embed(ids[:, None]).embeds, cache)


@torch.no_grad()
def generate(
    model: "KimiVL",
    input_ids: Tensor,
    pixel_values: Tensor | None = None,
    image_grid_hws: Tensor | Sequence[Sequence[int]] | None = None,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    seed: int | Sequence[int] = 0,
    stop_token_ids: Sequence[int] | None = None,
    prefill_chunk: int = PREFILL_CHUNK,
) -> list[list[int]]:
    """New token ids of each row, its stop id included.

    Args:
        input_ids:      (B, S), padded on either side where `attention_mask` (B, S) is 0.
        pixel_values:   patches of all images of all rows, in reading order; `image_grid_hws` gives their sizes.
        seed:           one for all rows, or one for each: a row's draws depend on its seed alone.
        stop_token_ids: None means the checkpoint's own, an empty sequence none.
    Raises: PromptError, if a prompt is empty or longer than the context, or if images and placeholders do not fit.
    """
    ids = input_ids.to(model.device)
    features = None
    if pixel_values is not None:
        features = model.image_features(pixel_values.to(model.device), image_grid_hws)
    embeds = model.embeddings(ids, features)
    kept = torch.ones_like(ids) if attention_mask is None else attention_mask.to(model.device)
    prompts = [row[mask.bool()] for row, mask in zip(embeds, kept, strict=True)]
    _check_lengths([len(prompt) for prompt in prompts], model.config.text_config.max_position_embeddings)
    stops = frozenset(model.stop_token_ids if stop_token_ids is None else stop_token_ids)
    cache, logits = _prefill_rows(model, prompts, prefill_chunk)
    seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
    results: list[list[int]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    for step in range(max_new_tokens):
        count = len(active)
        chosen = sample_rows(
            logits,
            temperature=[temperature] * count,
            top_p=[top_p] * count,
            top_k=[top_k] * count,
            seed=[seeds[row] for row in active],
            step=[step] * count,
        )
        tokens = [finite_token(token) for token in chosen]
        for row, token in zip(active, tokens, strict=True):
            results[row].append(token)
        going = [i for i, token in enumerate(tokens) if token not in stops]
        if not going or step + 1 == max_new_tokens:
            break
        if len(going) < count:
            cache.keep(going)
            active = [active[i] for i in going]
        logits = decode_step(model, [tokens[i] for i in going], cache)
    return results


def _prefill_rows(model: "KimiVL", prompts: Sequence[Tensor], chunk: int) -> tuple[LatentCache, Tensor]:
    cache, logits = model.new_cache(), []
    for prompt in prompts:
        row = model.new_cache(rows=1)
        logits.append(prefill(model, prompt[None], row, chunk))
        cache.join(row)
    return cache, torch.cat(logits)


def _check_lengths(lengths: Sequence[int], limit: int) -> None:
    for row, length in enumerate(lengths):
        if not 0 < length <= limit:
            raise PromptError(
                "context.overflow" if length else "prompt.empty",
                f"prompt {row} has {length} tokens, the context holds 1 to {limit}",
                fix="use fewer or smaller pictures, or a shorter text",
            )
