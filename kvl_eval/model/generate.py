"""Batched generation as a library: prefill each prompt alone, then decode all rows together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from kvl_eval.errors import PromptError
from kvl_eval.model.base import Prepare, VisionLanguageModel
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.rows import PromptRows, StepRows
from kvl_eval.model.sampling import finite_token, sample_rows
from kvl_eval.model.tensors import index_tensor

PREFILL_CHUNK = 2048  # tokens


class BatchedModel(VisionLanguageModel, Protocol):
    """A model that embeds many prompts at once, and in which a token's place is its position."""

    @property
    def stop_token_ids(self) -> Sequence[int]:
        """Ids that end a reply."""

    @property
    def context(self) -> int:
        """Most tokens of a sequence."""

    def image_features(
        self,
        pixel_values: Tensor,
        grids: Tensor | Sequence[Sequence[int]] | None,
        *,
        prepare: Prepare | None = None,
    ) -> Tensor:
        """Visual tokens (M, H) of all images."""

    def embeddings(self, input_ids: Tensor, image_features: Tensor | None = None) -> Tensor:
        """(B, S, H), visual tokens in place of the placeholders, in reading order."""


@torch.no_grad()
def prefill(
    model: VisionLanguageModel, embeds_1SH: Tensor, pool: PagePool, table: PageTable, chunk: int = PREFILL_CHUNK
) -> Tensor:
    """Logits (1, vocab_size) behind a prompt, which goes to the pages of a sequence in chunks."""
    logits = embeds_1SH.new_empty(0)
    for part in torch.split(embeds_1SH, chunk, dim=1):
        size = part.shape[1]
        positions = torch.arange(table.length, table.length + size, device=embeds_1SH.device)[None]
        logits = model.forward_cached(part, PromptRows(pool, [table], [size], positions))
    return logits


@torch.no_grad()
def decode_step(model: VisionLanguageModel, tokens: Sequence[int], rows: StepRows) -> Tensor:
    """Logits (B, vocab_size) behind one more token of every row."""
    ids = index_tensor(tokens, model.device)
    return model.forward_cached(model.embed(ids[:, None]).embeds, rows)


@torch.no_grad()
def generate(
    model: BatchedModel,
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
    pixels = None if pixel_values is None else pixel_values.to(model.device)
    embeds = model.embeddings(ids, None if pixels is None else model.image_features(pixels, image_grid_hws))
    prompts = _without_padding(embeds, attention_mask)
    _check_lengths([len(prompt) for prompt in prompts], model.context)
    stops = frozenset(model.stop_token_ids if stop_token_ids is None else stop_token_ids)
    pool, tables = model.new_pool(), [PageTable() for _ in prompts]
    pairs = zip(prompts, tables, strict=True)
    logits = torch.cat([prefill(model, prompt[None], pool, table, prefill_chunk) for prompt, table in pairs])
    rows = StepRows(pool, tables)
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
            for i in set(range(count)) - set(going):
                pool.release(rows.tables[i])
            active, rows = [active[i] for i in going], StepRows(pool, [rows.tables[i] for i in going])
        logits = decode_step(model, [tokens[i] for i in going], rows)
    return results


def _without_padding(embeds: Tensor, attention_mask: Tensor | None) -> list[Tensor]:
    """(S, H) of each row."""
    if attention_mask is None:
        return list(embeds)
    return [row[mask] for row, mask in zip(embeds, attention_mask.to(embeds.device).bool(), strict=True)]


def _check_lengths(lengths: Sequence[int], limit: int) -> None:
    for row, length in enumerate(lengths):
        if not 0 < length <= limit:
            raise PromptError(
                "context.overflow" if length else "prompt.empty",
                f"prompt {row} has {length} tokens; it must have 1 to {limit}",
                fix="use fewer or smaller images, or a shorter text",
            )
