"""Messages, texts and pictures to the tensors that the model takes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, overload

import torch
from torch import Tensor

from kvl_eval.model.base import Turn
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.kimi_vl import chat
from kvl_eval.model.kimi_vl.agreement import check_agreement
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import preprocess_image
from kvl_eval.model.kimi_vl.template_check import TEMPLATE, warn_if_template_differs
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer

if TYPE_CHECKING:
    from PIL.Image import Image


class KimiVLProcessor:
    """Tokenizer, chat template and image processor of one checkpoint."""

    def __init__(self, tokenizer: KimiTokenizer, config: PreprocessorConfig, pad_token_id: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.pad_token_id = tokenizer.pad_id if pad_token_id is None else pad_token_id

    @classmethod
    def from_pretrained(cls, path_or_repo: str | Path, *, revision: str | None = None) -> Self:
        """Read the processor files of a checkpoint folder or repository; weights are not downloaded.

        Raises: CheckpointError, if a file is missing or broken, or if vocabulary and model do not belong together.
        """
        folder = checkpoint_folder(path_or_repo, revision, weights=False)
        tokenizer = KimiTokenizer.from_folder(folder)
        config = PreprocessorConfig.from_folder(folder)
        if (folder / "config.json").is_file():
            check_agreement(tokenizer, config, KimiVLConfig.from_folder(folder), folder)
        warn_if_template_differs(folder)
        return cls(tokenizer, config)

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer's files, `preprocessor_config.json` and `chat_template.jinja`."""
        folder = Path(folder)
        self.tokenizer.save(folder)
        text = json.dumps(self.config.to_dict(), indent=1) + "\n"
        (folder / "preprocessor_config.json").write_text(text, "utf-8")
        (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")

    @overload
    def apply_chat_template(
        self, messages: Sequence[Turn], add_generation_prompt: bool = True, tokenize: Literal[False] = False
    ) -> str: ...

    @overload
    def apply_chat_template(
        self, messages: Sequence[Turn], add_generation_prompt: bool = True, *, tokenize: Literal[True]
    ) -> list[int]: ...

    def apply_chat_template(
        self, messages: Sequence[Turn], add_generation_prompt: bool = True, tokenize: bool = False
    ) -> str | list[int]:
        """The rendered conversation, or its ids with every spelled-out special token recognised, as published."""
        rendered = chat.render(messages, add_generation_prompt)
        return self.tokenizer.encode(rendered, allow_special=True) if tokenize else rendered

    def encode(self, messages: Sequence[Turn], images: "Sequence[Image]" = ()) -> dict[str, Tensor]:
        """Tensors of one conversation with its pictures in reading order.

        Content is plain text: special tokens that it spells out are not control tokens.
        Returns: input_ids and attention_mask (1, S), and with pictures pixel_values and image_grid_hws.
        Raises:  PromptError, if pictures and image parts differ in number; MediaError, for an unusable picture.
        """
        chat.check_slots(chat.num_images(messages), len(images))
        pictures = self.image_tensors(images)
        ids = chat.encode_messages(self.tokenizer, messages, self._token_counts(pictures))
        return {**self._padded([ids]), **pictures}

    def __call__(
        self, images: "Image | Sequence[Image] | None" = None, text: str | Sequence[str] = ""
    ) -> dict[str, Tensor]:
        """Tensors of rendered texts, each `<|media_pad|>` widened to its picture's tokens, padded at the left.

        Special tokens in the texts are recognised, as the published processor does; use `encode` for text from data.
        Returns: input_ids and attention_mask (B, S), and with pictures pixel_values (N, 3, 14, 14) and image_grid_hws.
        Raises:  PromptError, if placeholders and pictures differ in number.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if images is None:
            images = []
        elif not isinstance(images, Sequence):
            images = [images]
        chat.check_slots(sum(one.count(chat.MEDIA_PAD) for one in texts), len(images))
        pictures = self.image_tensors(images)
        counts = iter(self._token_counts(pictures))
        expanded = [_expand(one, [next(counts) for _ in range(one.count(chat.MEDIA_PAD))]) for one in texts]
        return {**self._padded([self.tokenizer.encode(one, allow_special=True) for one in expanded]), **pictures}

    def image_tensors(self, images: "Sequence[Image]") -> dict[str, Tensor]:
        """pixel_values (N, 3, 14, 14) float32 and image_grid_hws (n, 2) int64; empty without pictures."""
        prepared = [preprocess_image(image, self.config) for image in images]
        if not prepared:
            return {}
        patches = torch.cat([torch.from_numpy(patches) for patches, _ in prepared])
        grids = torch.tensor([grid for _, grid in prepared], dtype=torch.int64)
        return {"pixel_values": normalize(patches, self.config), "image_grid_hws": grids}

    def _token_counts(self, pictures: dict[str, Tensor]) -> list[int]:
        high, wide = self.config.merge_kernel_size
        grids = pictures["image_grid_hws"].tolist() if pictures else []
        return [rows * cols // (high * wide) for rows, cols in grids]

    def _padded(self, rows: Sequence[list[int]]) -> dict[str, Tensor]:
        size = max(map(len, rows))
        ids = [[self.pad_token_id] * (size - len(row)) + row for row in rows]
        mask = [[0] * (size - len(row)) + [1] * len(row) for row in rows]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def normalize(patches: Tensor, config: PreprocessorConfig, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 patches (N, 3, 14, 14) to (x / 255 - mean) / std, computed in float32 on the patches' device."""
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=patches.device)[:, None, None]
        for values in (config.image_mean, config.image_std)
    )
    return ((patches.float() / 255.0 - mean) / std).to(dtype)


def _expand(text: str, counts: Sequence[int]) -> str:
    parts = text.split(chat.MEDIA_PAD)
    return parts[0] + "".join(chat.MEDIA_PAD * count + part for count, part in zip(counts, parts[1:], strict=True))
