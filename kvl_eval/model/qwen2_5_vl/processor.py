"""Tokenizer and chat template of one checkpoint, and whether its files belong together. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from kvl_eval.errors import CheckpointError
from kvl_eval.model.base import EncodedPrompt, Turn
from kvl_eval.model.qwen2_5_vl import chat
from kvl_eval.model.qwen2_5_vl.config import PictureConfig, QwenConfig
from kvl_eval.model.qwen2_5_vl.tokenizer import IMAGE_PAD, QwenTokenizer


class QwenProcessor:
    """Conversations to ids."""

    def __init__(self, tokenizer: QwenTokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Of a checkpoint folder. Raises: CheckpointError, if the tokenizer's file is missing or broken."""
        return cls(QwenTokenizer.from_folder(folder))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens that it spells out are text."""
        return self.tokenizer.encode(text)

    def token_bytes(self, token: int) -> bytes:
        """What a token writes; a special token's name."""
        return self.tokenizer.token_bytes(token)

    def encode_turns(self, turns: Sequence[Turn], image_tokens: Sequence[int]) -> EncodedPrompt:
        """A conversation with the answer's turn opened; see `chat.encode_turns`."""
        return chat.encode_turns(self.tokenizer, turns, image_tokens)

    def rendered(self, turns: Sequence[Turn]) -> str:
        """The same as text, with `<image:1>` where the first picture's tokens stand."""
        return chat.render(turns, number_images=True)


def check_folder(folder: Path) -> None:
    """Raise CheckpointError if files are missing, or `config.json` contradicts the tokenizer's or the processor's."""
    model, pictures = QwenConfig.from_folder(folder), PictureConfig.from_folder(folder)
    tokenizer, vision = QwenTokenizer.from_folder(folder), model.vision_config
    if model.text_config.vocab_size < tokenizer.size:
        raise _contradiction(folder, "vocab_size", model.text_config.vocab_size, f"{tokenizer.size} or more")
    agreements = (
        ("image_token_id", model.image_token_id, tokenizer.special_tokens[IMAGE_PAD]),
        ("vision_config.patch_size", vision.patch_size, pictures.patch_size),
        ("vision_config.spatial_merge_size", vision.spatial_merge_size, pictures.merge_size),
        ("vision_config.temporal_patch_size", vision.temporal_patch_size, pictures.temporal_patch_size),
    )
    for name, own, other in agreements:
        if own != other:
            raise _contradiction(folder, name, own, str(other))


def _contradiction(folder: Path, name: str, value: int, expected: str) -> CheckpointError:
    return CheckpointError(
        "model.config",
        f"{name} is {value}",
        where=str(folder / "config.json"),
        why=f"the tokenizer and preprocessor files say {expected}",
        fix="use config.json, preprocessor_config.json and tokenizer.json of one checkpoint",
    )
