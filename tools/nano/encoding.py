"""Examples as token ids, labels and patches, in the exact chat template of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kvl_eval.model.base import Turn as Message
from kvl_eval.model.kimi_vl import chat
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import preprocess_image
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from tools.nano.mixture import Example, Part, Turn
from tools.nano.thinking import cut_short

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """Ids of a conversation, labels (IGNORED outside replies), and the patches of its pictures."""

    ids: list[int]
    labels: list[int]
    patches: list[np.ndarray]
    grids: list[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """Padded at the right; patches normalised to -1 .. 1."""

    input_ids: Tensor
    labels: Tensor
    pixel_values: Tensor | None
    grids: list[tuple[int, int]]


def encode(example: Example, tokenizer: KimiTokenizer, config: PreprocessorConfig) -> Encoded:
    """All turns with their replies, prompts as `KimiVLProcessor.encode` makes them."""
    prepared = [preprocess_image(image, config) for image in example.images]
    counts = [rows * columns // 4 for _, (rows, columns) in prepared]
    messages: list[Message] = []
    ids: list[int] = []
    labels: list[int] = []
    for turn in example.turns:
        messages.append({"role": "user", "content": [_part(part) for part in turn.parts]})
        prompt = chat.encode_messages(tokenizer, messages, counts)
        said, learned = _said(turn, tokenizer)
        labels += [IGNORED] * (len(prompt) - len(ids))
        labels += [one if kept else IGNORED for one, kept in zip(said, learned, strict=True)]
        ids = prompt + said
        messages.append({"role": "assistant", "content": turn.reply})
    return Encoded(ids, labels, [tiles for tiles, _ in prepared], [grid for _, grid in prepared])


def _said(turn: Turn, tokenizer: KimiTokenizer) -> tuple[list[int], list[bool]]:
    """Ids of a reply with its end, and which of them are learned."""
    end = tokenizer.special_tokens["<|im_end|>"]
    if turn.cut is None:
        ids = tokenizer.encode(turn.reply)
        if turn.learned:
            return [*ids, end], [*(tokenizer.decode([one]) in turn.learned for one in ids), False]
        return [*ids, end], [True] * (len(ids) + 1)
    ids, learned = cut_short(turn.reply, turn.cut, tokenizer)
    return [*ids, end], [*learned, True]


def _part(part: Part) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def collate(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """One batch."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [pad_id] * (width - len(row.ids)) for row in rows])
    labels = torch.tensor([row.labels + [IGNORED] * (width - len(row.labels)) for row in rows])
    tiles = [tile for row in rows for tile in row.patches]
    pixels = torch.from_numpy(np.concatenate(tiles)).float() / 127.5 - 1 if tiles else None
    return Batch(ids, labels, pixels, [grid for row in rows for grid in row.grids])
