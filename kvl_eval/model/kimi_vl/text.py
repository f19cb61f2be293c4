"""Tokenizer and chat template of one checkpoint, as an engine uses them. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from kvl_eval.model.base import EncodedPrompt, Turn
from kvl_eval.model.kimi_vl import chat
from kvl_eval.model.kimi_vl.config import KimiVLConfig
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer


class KimiText:
    """Conversations to ids."""

    def __init__(self, tokenizer: KimiTokenizer, vocab_size: int = 0) -> None:
        self.tokenizer = tokenizer
        self._vocab_size = vocab_size

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Of a checkpoint folder. Raises: CheckpointError, if a file is missing or broken."""
        return cls(KimiTokenizer.from_folder(folder), KimiVLConfig.from_folder(folder).text_config.vocab_size)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens that it spells out are text."""
        return self.tokenizer.encode(text)

    def token_bytes(self, token: int) -> bytes:
        """What a token writes; a special token's name; nothing of an id that only fills up the embedding table."""
        if self.tokenizer.size <= token < self._vocab_size:
            return b""
        return self.tokenizer.token_bytes(token)

    def encode_turns(self, turns: Sequence[Turn], image_tokens: Sequence[int]) -> EncodedPrompt:
        """A conversation with the answer's turn opened; see `chat.encode_messages`."""
        ids = chat.encode_messages(self.tokenizer, turns, image_tokens)
        placeholder = self.tokenizer.media_pad_id
        return EncodedPrompt(ids, [place for place, token in enumerate(ids) if token == placeholder])

    def rendered(self, turns: Sequence[Turn]) -> str:
        """The same as text, with `<image:1>` where the first picture's tokens stand."""
        texts, number = [], 0
        for piece in chat.pieces(turns):
            is_picture = piece.is_control and piece.text == chat.MEDIA_PAD
            number += is_picture
            texts.append(f"<image:{number}>" if is_picture else piece.text)
        return "".join(texts)
