"""Prompts with pictures of odd and different sizes, as the checkpoint's own processor makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from kvl_eval.model.qwen2_5_vl.image_processor import QwenPictures
from kvl_eval.model.qwen2_5_vl.processor import QwenProcessor
from kvl_eval.pictures import Grid
from tests.model.qwen2_5_vl.tiny import picture

Size = tuple[int, int]

# Windows of 2 or 4 cells, of 28 pixels each, are cut off at the right, at the bottom, or at both.
SIZES: dict[str, tuple[Size, ...]] = {
    "text": (),
    "image": ((168, 112),),
    "odd": ((201, 143),),
    "smaller than a window": ((31, 57),),
    "two images": ((301, 90), (57, 199)),
    "four images, two alike": ((90, 120), (400, 37), (90, 120), (33, 33)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prompt as ids, and its pictures as they are and as patches."""

    ids: list[int]
    places: list[int]
    images: list[Image.Image]
    patches: Tensor | None
    grids: list[Grid]


def make_case(folder: Path, sizes: Sequence[Size], text: str = "What is shown in this picture?") -> Case:
    """A question about pictures of these sizes: every second one stands behind the text."""
    images = [picture(*size, seed=number) for number, size in enumerate(sizes)]
    rule = QwenPictures.from_folder(folder)
    prepared = [rule.patches(image) for image in images]
    content = [{"type": "image"} for _ in images]
    content.insert(1, {"type": "text", "text": text})
    counts = [rule.size(*image.size).tokens for image in images]
    prompt = QwenProcessor.from_folder(folder).encode_turns([{"role": "user", "content": content}], counts)
    bytes_of = [torch.from_numpy(patches) for patches, _ in prepared]
    return Case(
        ids=prompt.ids,
        places=prompt.places,
        images=images,
        patches=rule.normalized(torch.cat(bytes_of)) if images else None,
        grids=[grid for _, grid in prepared],
    )
