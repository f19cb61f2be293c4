"""The tokenizer of Qwen2.5-VL: byte-level BPE of `tokenizer.json`, special tokens by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import read_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, IMAGE_PAD, VISION_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"
END_OF_TEXT = "<|endoftext|>"
NEEDED = (IM_START, IM_END, VISION_START, IMAGE_PAD, VISION_END, END_OF_TEXT)


class QwenTokenizer:
    """Text to ids and back."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a tokenizer of the `tokenizers` package.

        Raises: CheckpointError, if a special token that the chat template needs is missing.
        """
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # spelled out in a text, they are text
        self._added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}
        self.special_tokens = {name: number for number, name in self._added.items()}
        absent = [name for name in NEEDED if name not in self.special_tokens]
        if absent:
            raise _broken(f"special tokens are missing: {', '.join(absent)}", "tokenizer.json", None)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `tokenizer.json` of a checkpoint folder. Raises: CheckpointError, if it is missing or broken."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        text = read_text(path, fix="copy tokenizer.json from the base model")
        try:
            return cls(Tokenizer.from_str(text))
        except CheckpointError:
            raise
        except Exception as error:  # the package raises nothing narrower
            raise _broken("cannot read tokenizer.json", str(path), str(error)) from None

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return 1 + max(self._tokenizer.get_vocab().values())

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""
        return tuple(sorted((self.special_tokens[IM_END], self.special_tokens[END_OF_TEXT])))

    def encode(self, text: str) -> list[int]:
        """Ids of a plain text; special tokens that it spells out are text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens spelled out; invalid UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token; of a special token, its name; nothing of an id that only fills up the embedding table."""
        if token in self._added:
            return self._added[token].encode()
        letters = self._tokenizer.id_to_token(token) or ""
        return bytes(self._byte_of[letter] for letter in letters)

    @cached_property
    def _byte_of(self) -> dict[str, int]:
        return {letter: value for value, letter in enumerate(byte_letters())}


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary: itself, where it prints in Latin-1.

    The others are counted on from U+0100.
    """
    letters, following = [], 0x100
    for value in range(256):
        if 0x21 <= value <= 0x7E or 0xA1 <= value <= 0xAC or value >= 0xAE:
            letters.append(chr(value))
        else:
            letters.append(chr(following))
            following += 1
    return letters


def _broken(message: str, where: str, why: str | None) -> CheckpointError:
    fix = "copy tokenizer.json from the base model"
    return CheckpointError("model.tokenizer", message, where=where, why=why, fix=fix)
