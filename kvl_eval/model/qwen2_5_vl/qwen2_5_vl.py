"""Qwen2.5-VL: vision tower and language model as one module (arXiv 2502.13923).

Shapes: B rows, S tokens a row, H hidden, M visual tokens of all pictures, P patches of all pictures.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.errors import PromptError
from kvl_eval.model.base import Embedded, Prepare, Rows
from kvl_eval.model.pages import PAGE, PagePool
from kvl_eval.model.precision import wide
from kvl_eval.model.qwen2_5_vl.config import QwenConfig
from kvl_eval.model.qwen2_5_vl.decoder import Decoder
from kvl_eval.model.qwen2_5_vl.rope import prompt_positions
from kvl_eval.model.qwen2_5_vl.vision import VisionTower
from kvl_eval.pictures import Grid

PATCHES_AT_ONCE = 16384  # bounds the vision tower's activations; pictures are never split


class Qwen25VL(nn.Module):
    """The whole model; parameters carry the published names."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision_config)
        self.model = Decoder(config.text_config)
        self.lm_head = None if config.tie_word_embeddings else _head(config)
        self.layer_devices: Sequence[torch.device] = ()  # of each decoder layer, where they lie on several

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self.layer_devices[0] if self.layer_devices else self.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.embed_tokens.weight.dtype

    def forward(self, input_ids: Tensor, patches: Tensor | None = None, grids: Sequence[Grid] = ()) -> Tensor:
        """Logits (1, S, vocab_size) of every position of one prompt, without a cache; differentiable.

        Args:
            input_ids: (1, S) ids with one placeholder for each visual token.
            patches:   (P, 3, 14, 14) normalized patches of all pictures, in reading order.
            grids:     (rows, columns) in patches of each picture.
        Raises: PromptError, if placeholders and visual tokens differ in number.
        """
        features = None if patches is None else self.image_features(patches, grids)
        embedded = self.embed(input_ids, features, grids)
        return self.logits(self.model(embedded.embeds, embedded.positions))

    def logits(self, x: Tensor) -> Tensor:
        """(..., H) final hidden states to (..., vocab_size) in float32 or wider."""
        table = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return wide(F.linear(x, table))

    def image_features(self, pixel_values: Tensor, grids: Sequence[Grid], *, prepare: Prepare | None = None) -> Tensor:
        """Visual tokens of all pictures, (M, H), in order; the tower sees a bounded number of patches at once.

        Args:
            pixel_values: (P, 3, 14, 14) patches of all pictures.
            grids:        (rows, columns) in patches of each picture.
            prepare:      makes what the tower takes of a portion of uint8 patches.
        Raises: PromptError, if grids and patches do not fit together.
        """
        features, start, first = [], 0, 0
        for end in _portions([rows * cols for rows, cols in grids], PATCHES_AT_ONCE):
            count = sum(rows * cols for rows, cols in grids[first:end])
            portion = pixel_values[start : None if end == len(grids) else start + count]
            features.append(self.visual(portion if prepare is None else prepare(portion), grids[first:end]))
            start, first = start + count, end
        return torch.cat(features)

    def embed(self, ids: Tensor, features: Tensor | None = None, grids: Sequence[Grid] = ()) -> Embedded:
        """One sequence with its visual tokens in place; its positions are (3, 1, S).

        Raises: PromptError, if placeholders and visual tokens differ in number.
        """
        embeds = self.model.embed_tokens(ids.to(self.device))
        if features is None:
            positions, following = prompt_positions(ids.shape[1], [], [])
        else:
            merge = self.config.vision_config.spatial_merge_size
            cells = [(rows // merge, cols // merge) for rows, cols in grids]
            places = (ids[0] == self.config.image_token_id).nonzero()[:, 0]
            _check_slots(len(places), len(features), sum(rows * cols for rows, cols in cells))
            embeds = embeds.index_copy(1, places.to(embeds.device), features.to(embeds)[None])
            sizes = [rows * cols for rows, cols in cells]
            firsts = places[[sum(sizes[:index]) for index in range(len(sizes))]].tolist()
            positions, following = prompt_positions(ids.shape[1], firsts, cells)
        return Embedded(embeds, positions[:, None].to(embeds.device), following)

    def new_pool(self, pages: int | None = None, page_size: int = PAGE) -> PagePool:
        """An empty cache of at most so many pages, where the layers lie and in their dtype."""
        return PagePool(
            layers=self.config.text_config.num_hidden_layers,
            width=self.config.text_config.cached_values,
            limit=pages,
            page_size=page_size,
            dtype=self.dtype,
            device=self.layer_devices or self.device,
        )

    @torch.no_grad()
    def forward_cached(self, embeds: Tensor, rows: Rows) -> Tensor:
        """Run new tokens of some sequences; logits (sequences, vocab_size) behind the last new one of each."""
        positions = rows.prepare()
        hidden_BSH = self.model(embeds, positions.expand(3, *positions.shape[-2:]), rows)
        rows.advance()
        return self.logits(rows.last(hidden_BSH))


def _head(config: QwenConfig) -> nn.Linear:
    return nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)


def _check_slots(slots: int, tokens: int, expected: int) -> None:
    if not slots == tokens == expected:
        raise PromptError(
            "image.slots",
            f"the prompt has {slots} image tokens, but the images give {tokens}",
            why=f"their grids have {expected} tokens",
            fix="build the prompt with the processor and pass the images of the same call",
        )


def _portions(sizes: Sequence[int], limit: int) -> list[int]:
    """Ends of consecutive runs whose sizes add up to at most `limit`; a larger single item is a run of its own."""
    ends, total = [], 0
    for index, size in enumerate(sizes):
        if index and total + size > limit:
            ends.append(index)
            total = 0
        total += size
    return [*ends, len(sizes)]
