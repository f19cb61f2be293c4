"""Kimi-VL: MoonViT, projector and Moonlight language model as one module (arXiv 2504.07491).

Shapes: B rows, S tokens a row, H hidden, M visual tokens of all images, P patches of all images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from kvl_eval.errors import PromptError
from kvl_eval.model.base import Embedded, Rows
from kvl_eval.model.generate import generate
from kvl_eval.model.kimi_vl.config import KimiVLConfig
from kvl_eval.model.kimi_vl.decoder import LanguageModel, padding_mask
from kvl_eval.model.kimi_vl.projector import Projector
from kvl_eval.model.kimi_vl.vision import MoonViT, grid_pairs
from kvl_eval.model.pages import PAGE, PagePool
from kvl_eval.model.places import Places
from kvl_eval.pictures import Grid

PATCHES_AT_ONCE = 16384  # bounds the vision tower's activations (80 kB each in float32); images are never split


@dataclass(frozen=True, slots=True)
class KimiVLOutput:
    """What a forward pass returns: logits (B, S, vocab_size), float32 or wider."""

    logits: Tensor


class KimiVL(nn.Module):
    """The whole model; parameters carry the checkpoint's names, routed experts are stacked."""

    def __init__(self, config: KimiVLConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = MoonViT(config.vision_config)
        self.multi_modal_projector = Projector(config)
        self.language_model = LanguageModel(config.text_config)
        self.stop_token_ids: Sequence[int] = config.eos_ids
        self.layer_devices: Sequence[torch.device] = ()  # of each decoder layer, where they lie on several

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | Places | None = None,
    ) -> Self:
        """Load a Hugging Face checkpoint, folder or repository id, straight onto its device.

        Args:
            revision: branch, tag or commit of a repository.
            dtype:    None means float32 on a CPU and the checkpoint's own elsewhere.
            device:   None means the CPU, `auto` the card there is or layers over all of them, by accelerate; a mapping
                      says for each module where it goes.
        Raises: CheckpointError, naming everything that is missing, unexpected, mis-shaped or unreadable.
        """
        from kvl_eval.model.kimi_vl.weights import load_model

        return load_model(cls, path_or_repo, revision=revision, dtype=dtype, device=device)

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self.layer_devices[0] if self.layer_devices else self.language_model.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.language_model.model.embed_tokens.weight.dtype

    @property
    def context(self) -> int:
        """Most tokens of a sequence."""
        return self.config.text_config.max_position_embeddings

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        image_grid_hws: Tensor | Sequence[Sequence[int]] | None = None,
        attention_mask: Tensor | None = None,
    ) -> KimiVLOutput:
        """Logits of every position, without a cache; differentiable.

        Args:
            input_ids:      (B, S) ids with one placeholder for each visual token.
            pixel_values:   (P, 3, 14, 14) patches of all images in reading order.
            image_grid_hws: (n, 2) rows and columns of each image in patches.
            attention_mask: (B, S), 0 for padding; positions count the tokens that are not padding.
        Raises: PromptError, if placeholders and visual tokens differ in number.
        """
        features = None if pixel_values is None else self.image_features(pixel_values, image_grid_hws)
        embeds = self.embeddings(input_ids, features)
        if attention_mask is None:
            positions, mask = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids), None
        else:
            positions = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
            mask = padding_mask(attention_mask)
        hidden = self.language_model.model(embeds, positions, mask)
        return KimiVLOutput(logits=self.language_model.logits(hidden))

    def image_features(
        self,
        pixel_values: Tensor,
        image_grid_hws: Tensor | Sequence[Sequence[int]] | None,
        *,
        patches_at_once: int = PATCHES_AT_ONCE,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Visual tokens of all images, (M, H), images in order; the tower sees a bounded number of patches at once.

        Args:
            pixel_values:    (P, 3, 14, 14) patches of all images.
            image_grid_hws:  (n, 2) rows and columns of each image in patches.
            patches_at_once: most patches in one call of the tower; a larger image has one to itself.
            prepare:         makes what the tower takes of a portion of `pixel_values`, so that all of them together
                             need not be more than bytes: `partial(normalize, config=...)` on uint8 patches.
        Raises: PromptError, if grids and patches do not fit together.
        """
        if image_grid_hws is None:
            raise PromptError("image.grid", "pixel_values needs image_grid_hws")
        grids = grid_pairs(image_grid_hws)
        features, start, first = [], 0, 0
        for end in _bounded_runs([rows * cols for rows, cols in grids], patches_at_once):
            count = sum(rows * cols for rows, cols in grids[first:end])
            last = None if end == len(grids) else start + count
            portion = pixel_values[start:last]
            merged = self.vision_tower(portion if prepare is None else prepare(portion), grids[first:end])
            features.append(self.multi_modal_projector(merged))
            start, first = start + count, end
        return torch.cat(features)

    def embed(self, ids: Tensor, features: Tensor | None = None, grids: Sequence[Grid] = ()) -> Embedded:
        """One sequence of ids (1, S) with visual tokens in place of its placeholders; without features all is text.

        Ids that lie on the host are looked through there, and the device is not waited for.
        Raises: PromptError, if features are given and placeholders and visual tokens differ in number.
        """
        embeds = self.language_model.model.embed_tokens(ids.to(self.device))
        if features is not None:
            places = (ids[0] == self.config.media_placeholder_token_id).nonzero()[:, 0]  # without a wait on the host
            _check_slots(len(places), len(features))
            embeds = embeds.index_copy(1, places.to(embeds.device), features.to(embeds)[None])
        size = ids.shape[1]
        return Embedded(embeds, torch.arange(size, device=embeds.device)[None], size)

    def embeddings(self, input_ids: Tensor, image_features: Tensor | None = None) -> Tensor:
        """Embeddings (B, S, H) with visual tokens in place of the placeholders, in reading order.

        Raises: PromptError, if placeholders and visual tokens differ in number.
        """
        embeds = self.language_model.model.embed_tokens(input_ids)
        slots = (input_ids == self.config.media_placeholder_token_id).to(embeds.device)
        _check_slots(int(slots.sum()), 0 if image_features is None else len(image_features))
        if image_features is None or not len(image_features):
            return embeds  # type: ignore[no-any-return]
        return embeds.masked_scatter(slots[..., None], image_features.to(embeds))  # type: ignore[no-any-return]

    def new_pool(self, pages: int | None = None, page_size: int = PAGE) -> PagePool:
        """A cache of at most so many pages for sequences that come and go, where the layers lie and in their dtype."""
        config = self.config.text_config
        device = self.layer_devices or self.device
        return PagePool(
            layers=config.num_hidden_layers,
            width=config.latent_size,
            limit=pages,
            page_size=page_size,
            dtype=self.dtype,
            device=device,
        )

    @torch.no_grad()
    def forward_cached(self, embeds: Tensor, rows: Rows) -> Tensor:
        """Run new tokens of some sequences; logits (sequences, vocab_size) behind the last one of each.

        Prompts and chunks of them take keys and values of all heads, single tokens absorbed weights.
        """
        hidden = self.language_model.model(embeds, rows.prepare(), None, rows)
        rows.advance()
        return self.language_model.logits(rows.last(hidden))

    generate = generate


def _check_slots(slots: int, tokens: int) -> None:
    if slots != tokens:
        raise PromptError(
            "image.slots",
            f"the prompt has {slots} image tokens, but the images give {tokens}",
            fix="build the prompt with the processor and pass the images of the same call",
        )


def _bounded_runs(sizes: Sequence[int], limit: int) -> list[int]:
    """Ends of consecutive runs whose sizes add up to at most `limit`; a larger single item is a run of its own."""
    ends, total = [], 0
    for index, size in enumerate(sizes):
        if index and total and total + size > limit:
            ends.append(index)
            total = 0
        total += size
    return [*ends, len(sizes)]
