"""The tokenizer of Kimi-VL: byte-level BPE over `tiktoken.model`, special tokens by id. Imports no torch.

Text is cut as the published tokenizer cuts it: into blocks of 400,000 characters, and inside a block wherever more than
25,000 characters in a row are white space or are not.
"""

import base64
import binascii
import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Self

import tiktoken

from kvl_eval.decode import decode
from kvl_eval.errors import CheckpointError, DecodeError, PromptError
from kvl_eval.model.config_fields import TokenId
from kvl_eval.model.files import read_file, read_json, read_json_if_there

PATTERN = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
NUM_SPECIAL = 258  # ids behind the vocabulary that are special; the last two lie outside the embedding
SPECIAL_OFFSETS = {
    "[BOS]": 0,
    "[EOS]": 1,
    "<|im_end|>": 2,
    "<|im_user|>": 3,
    "<|im_assistant|>": 4,
    "<|start_header_id|>": 6,
    "<|end_header_id|>": 7,
    "[EOT]": 9,
    "<|im_system|>": 10,
    "<|im_middle|>": 17,
    "<|media_start|>": 18,
    "<|media_content|>": 19,
    "<|media_end|>": 20,
    "<|media_pad|>": 21,
    "[UNK]": 254,
    "[PAD]": 255,
}  # where the released checkpoints have them, counted from the first id behind the vocabulary
NEEDED = (
    "[EOS]",
    "<|im_end|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_system|>",
    "<|im_middle|>",
    "<|media_start|>",
    "<|media_content|>",
    "<|media_end|>",
    "<|media_pad|>",
)
BLOCK_CHARACTERS = 400_000
RUN_CHARACTERS = 25_000


class KimiTokenizer:
    """Text to ids and back."""

    def __init__(self, ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> None:
        """Build a tokenizer from ranks 0 .. n-1 and the names of special tokens; unnamed special ids get their default.

        Ids behind the special ones are special tokens as well: a fine-tune may have added them.
        Raises: CheckpointError, if a needed special token has no id, or one has the id of a byte-pair token.
        """
        self.ranks = dict(ranks)
        self.num_base = len(self.ranks)
        absent = [name for name in NEEDED if name not in special_tokens]
        if absent:
            raise _broken(f"special tokens are missing: {', '.join(absent)}", "tokenizer_config.json")
        inside = [f"{name} = {number}" for name, number in special_tokens.items() if number < self.num_base]
        if inside:
            why = f"special ids begin at {self.num_base}"
            raise _broken(f"special tokens inside the vocabulary: {', '.join(inside)}", "tokenizer_config.json", why)
        names = {number: name for name, number in special_tokens.items()}
        special_ids: list[int] = sorted({*range(self.num_base, self.num_base + NUM_SPECIAL), *names})
        self.special_tokens: dict[str, int] = {names.get(i, f"<|reserved_token_{i}|>"): i for i in special_ids}
        self._special_ids = frozenset(special_ids)
        self._encoding = tiktoken.Encoding(
            "kimi", pat_str=PATTERN, mergeable_ranks=self.ranks, special_tokens=self.special_tokens
        )

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `tiktoken.model` and `tokenizer_config.json` of a checkpoint folder.

        Raises: CheckpointError, if a file is missing or broken, or a needed special token has no name.
        """
        names = {name: number for number, name in added_tokens(folder).items()}
        return cls(read_ranks(folder / "tiktoken.model"), names)

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Ids of a text; with `allow_special`, spelled-out special tokens become their ids instead of plain text."""
        encode_one = (
            (lambda part: self._encoding.encode(part, allowed_special="all"))
            if allow_special
            else self._encoding.encode_ordinary
        )
        return [token for part in _parts(text) for token in encode_one(part)]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of ids; invalid UTF-8 becomes U+FFFD."""
        kept = [i for i in ids if i not in self._special_ids] if skip_special_tokens else ids
        return self.decode_bytes(kept).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Bytes of ids, joined. For text that is still growing, feed them to an incremental UTF-8 decoder."""
        return b"".join(self.token_bytes(token) for token in ids)

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token; of a special token, its name. Raises: PromptError, for an id outside the vocabulary."""
        try:
            return self._encoding.decode_single_token_bytes(token)
        except (KeyError, OverflowError):
            why = f"token ids are 0 to {self.size - 1}"
            raise PromptError(
                "tokenizer.id", f"unknown token id {token}", why=why, fix="use ids of this tokenizer"
            ) from None

    def is_special(self, token: int) -> bool:
        return token in self._special_ids

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return 1 + max(self._special_ids)

    @property
    def stop_ids(self) -> tuple[int, int]:
        return self.special_tokens["[EOS]"], self.special_tokens["<|im_end|>"]

    @property
    def pad_id(self) -> int:
        return self.special_tokens.get("[PAD]", self.num_base + SPECIAL_OFFSETS["[PAD]"])

    @property
    def media_pad_id(self) -> int:
        return self.special_tokens["<|media_pad|>"]

    def save(self, folder: str | Path) -> None:
        """Write `tiktoken.model` and `tokenizer_config.json` in the published form."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(self.ranks.items(), key=lambda p: p[1])
        ]
        (folder / "tiktoken.model").write_bytes(b"".join(lines))
        named = {name: i for name, i in self.special_tokens.items() if not name.startswith("<|reserved_token_")}
        flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        config = {
            "added_tokens_decoder": {str(i): {"content": name, **flags} for name, i in named.items()},
            "additional_special_tokens": [name for name in named if name.startswith("<|") or name == "[EOT]"],
            "bos_token": "[BOS]",
            "eos_token": "[EOS]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1048576,
            "tokenizer_class": "TikTokenTokenizer",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")


def special_tokens(num_base: int) -> dict[str, int]:
    """The published special tokens behind a vocabulary of `num_base` byte-pair tokens."""
    return {name: num_base + offset for name, offset in SPECIAL_OFFSETS.items()}


@dataclass(frozen=True, slots=True)
class _AddedToken:
    """What `tokenizer_config.json` says of one id; the rest is not needed."""

    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenizerFile:
    """What is used of `tokenizer_config.json`."""

    added_tokens_decoder: Mapping[str, _AddedToken] = field(default_factory=dict)
    extra_special_tokens: tuple[str | _AddedToken, ...] | Mapping[str, str | _AddedToken] | None = None
    additional_special_tokens: tuple[str | _AddedToken, ...] | None = None
    bos_token: str | _AddedToken | None = None
    eos_token: str | _AddedToken | None = None
    pad_token: str | _AddedToken | None = None
    unk_token: str | _AddedToken | None = None

    def listed(self) -> list[str]:
        """Special tokens that are named without their ids."""
        extra = self.extra_special_tokens or ()
        named = [*(extra.values() if isinstance(extra, Mapping) else extra), *(self.additional_special_tokens or ())]
        named += [token for token in (self.bos_token, self.eos_token, self.pad_token, self.unk_token) if token]
        return [token if isinstance(token, str) else token.content for token in named]


def added_tokens(folder: Path) -> dict[int, str]:
    """{id: name} of the special tokens of a checkpoint folder.

    Ids are those of `tokenizer_config.json`, else those of `added_tokens.json`; tokens that have none there and are
    listed have the published ones. Raises: CheckpointError, if a file is missing or broken.
    """
    path = folder / "tokenizer_config.json"
    values = read_json(path, fix="copy tokenizer_config.json from the base model")
    try:
        file = decode(_TokenizerFile, values)
        if file.added_tokens_decoder:
            return {int(number): token.content for number, token in file.added_tokens_decoder.items()}
    except (DecodeError, ValueError) as error:
        why = error.message if isinstance(error, DecodeError) else str(error)
        raise _broken("tokenizer_config.json is not usable", str(path), why) from None
    path = folder / "added_tokens.json"
    try:
        tokens = {number: name for name, number in decode(dict[str, TokenId], read_json_if_there(path)).items()}
    except DecodeError as error:
        raise _broken("added_tokens.json is not usable", str(path), error.message) from None
    unnumbered = (set(file.listed()) & SPECIAL_OFFSETS.keys()) - set(tokens.values())
    if unnumbered:
        base = len(read_ranks(folder / "tiktoken.model"))
        tokens |= {base + SPECIAL_OFFSETS[name]: name for name in unnumbered}
    return tokens


def read_ranks(path: Path) -> dict[bytes, int]:
    """Ranks of a tiktoken file: one base64 token and its rank a line, ranks 0 .. n-1.

    Raises: CheckpointError, if the file is missing, empty or broken.
    """
    fix = "copy tiktoken.model from the base model"
    lines = read_file(path, fix=fix).removeprefix(codecs.BOM_UTF8).rstrip().splitlines()
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise _broken(
                f"{path.name} is damaged", f"{path}, line {number}", "expected base64, a space and a rank"
            ) from None
    if sorted(ranks.values()) != list(range(len(ranks))) or len(ranks) != len(lines):
        raise _broken(f"{path.name} is damaged", str(path), "ranks are not 0, 1, 2, ... without gaps")
    if len(ranks) < 256 or any(bytes([value]) not in ranks for value in range(256)):
        raise _broken(f"{path.name} is damaged", str(path), "not every single byte has a rank")
    return ranks


def _parts(text: str) -> Iterator[str]:
    """The pieces of a text that are encoded alone; for all but extreme texts, the text itself."""
    for start in range(0, len(text), BLOCK_CHARACTERS):
        block = text[start : start + BLOCK_CHARACTERS]
        if len(block) <= RUN_CHARACTERS:
            yield block
        else:
            yield from _cut_runs(block)


def _cut_runs(block: str) -> Iterator[str]:
    begin = place = 0
    for _, run in groupby(block, key=str.isspace):
        length = sum(1 for _ in run)
        for _ in range((length - 1) // RUN_CHARACTERS):
            place, length = place + RUN_CHARACTERS, length - RUN_CHARACTERS
            yield block[begin:place]
            begin = place
        place += length
    yield block[begin:]


def _broken(message: str, where: str, why: str | None = None) -> CheckpointError:
    fix = "copy tiktoken.model and tokenizer_config.json from the base model"
    return CheckpointError("model.tokenizer", message, where=where, why=why, fix=fix)
