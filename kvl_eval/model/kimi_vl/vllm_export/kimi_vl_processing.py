"""Processor and image processor of Kimi-VL for servers that know the model only.

This file stands alone: it is copied into exported checkpoints and named there by `auto_map`. It does what
`kvl_eval.model.kimi_vl.image_processor` does. Where the environment variable KIMI_VL_PIXELS names a folder, every
call also leaves its patches there, so that a test can compare them.
"""

import math
import os
import tempfile
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

IMAGE_TOKEN = "<|media_pad|>"


class KimiVLImageProcessor(BaseImageProcessor):
    """Pictures to normalised patches: shrunk above `in_token_limit`, padded with zeros, converted to RGB last."""

    model_input_names = ["pixel_values", "image_grid_hws"]  # noqa: RUF012

    def __init__(
        self,
        patch_size: int = 14,
        pad_input: bool = True,
        image_mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        image_std: tuple[float, ...] = (0.5, 0.5, 0.5),
        in_token_limit: int = 4096,
        merge_kernel_size: tuple[int, int] = (2, 2),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.pad_input = pad_input
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.in_token_limit = in_token_limit
        self.merge_kernel_size = list(merge_kernel_size)

    def preprocess(self, images: Any, return_tensors: str | None = None, **kwargs: Any) -> BatchFeature:
        images = images if isinstance(images, (list, tuple)) else [images]
        patched = [self._patches(_as_picture(image)) for image in images]
        pixels = torch.cat([patches for patches, _ in patched])
        grids = torch.tensor([grid for _, grid in patched])
        _leave_a_copy(pixels)
        return BatchFeature({"pixel_values": pixels, "image_grid_hws": grids}, tensor_type=return_tensors)

    def _patches(self, image: Image.Image) -> tuple[torch.Tensor, tuple[int, int]]:
        side, (high, wide) = self.patch_size, self.merge_kernel_size
        width, height = image.size
        count = (width // side) * (height // side)
        if count > self.in_token_limit:
            scale = math.sqrt(self.in_token_limit / count)
            width, height = int(width * scale), int(height * scale)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        if self.pad_input:
            padded = -(-width // (wide * side)) * wide * side, -(-height // (high * side)) * high * side
        else:
            padded = width // side * side, height // side * side
        if padded != image.size:
            left = max(0, round((image.width - padded[0]) / 2.0))
            top = max(0, round((image.height - padded[1]) / 2.0))
            image = image.crop((left, top, left + padded[0], top + padded[1]))
        values: Any = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
        values = (values - np.asarray(self.image_mean, np.float32)) / np.asarray(self.image_std, np.float32)
        rows, columns = padded[1] // side, padded[0] // side
        tiles = values.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3)
        return torch.from_numpy(np.ascontiguousarray(tiles).reshape(rows * columns, 3, side, side)), (rows, columns)


class KimiVLProcessor(ProcessorMixin):
    """Expands each picture's placeholder in a text to as many tokens as the picture has."""

    attributes: ClassVar = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **kwargs: Any
    ) -> None:
        self.image_token = IMAGE_TOKEN
        super().__init__(image_processor, tokenizer, chat_template=chat_template)  # type: ignore[no-untyped-call]

    def __call__(
        self, images: Any = None, text: Any = None, return_tensors: str | None = None, **kwargs: Any
    ) -> BatchFeature:
        pictures: Any = {}
        if images is not None and len(images):
            pictures = self.image_processor(images)
        texts = [text] if isinstance(text, str) else list(text or [])
        merged = math.prod(self.image_processor.merge_kernel_size)
        counts = [int(grid.prod()) // merged for grid in pictures["image_grid_hws"]] if pictures else []
        if counts:
            texts = [_expanded(one, counts) for one in texts]
        encoded: Any = self.tokenizer(texts, add_special_tokens=False) if texts else {}
        return BatchFeature({**encoded, **pictures}, tensor_type=return_tensors)


def _expanded(text: str, counts: list[int]) -> str:
    first, *others = text.split(IMAGE_TOKEN)
    return first + "".join(IMAGE_TOKEN * count + rest for count, rest in zip(counts, others, strict=True))


def _as_picture(image: Any) -> Image.Image:
    return image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))


def _leave_a_copy(pixels: torch.Tensor) -> None:
    folder = os.environ.get("KIMI_VL_PIXELS")
    if folder:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".npy", delete=False) as file:
            np.save(file, pixels.numpy())
