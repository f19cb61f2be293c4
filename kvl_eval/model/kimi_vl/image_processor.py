"""From a picture to patches, exactly as the checkpoint's own processor does it. Imports numpy and Pillow, never torch.

A picture above `in_token_limit` patches is shrunk, then padded with zeros at the right and the bottom, and only then
converted to RGB: alpha is dropped, not blended, and EXIF orientation is not applied.
"""

import math
from typing import TYPE_CHECKING

from kvl_eval.errors import MediaError
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.pictures import PictureSize

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

MAX_SIDE = 512  # patches; the vision tower's positions end there


def image_size(width: int, height: int, config: PreprocessorConfig) -> PictureSize:
    """Sizes and token count of a picture of `width` x `height` pixels.

    Raises: MediaError (media.too_long), if a side has 512 patches or more after padding.
    """
    resized, padded = _resized_and_padded(width, height, config)
    cols, rows = padded[0] // config.patch_size, padded[1] // config.patch_size
    high, wide = config.merge_kernel_size
    if not rows or not cols:
        raise MediaError("media.empty", f"the image is too small after resizing ({width} x {height} pixels)")
    if cols >= MAX_SIDE or rows >= MAX_SIDE:
        limit = (MAX_SIDE - 1) // wide * wide * config.patch_size
        raise MediaError(
            "media.too_long",
            f"an image of {width} x {height} pixels is too long",
            why=f"Exceed pos emb: sides may have {limit} pixels at most after shrinking to in_token_limit "
            f"{config.in_token_limit}",
            fix=f"shrink it to at most {limit} pixels per side",
        )
    return PictureSize(resized, padded, (rows, cols), rows * cols // (high * wide))


def _resized_and_padded(width: int, height: int, config: PreprocessorConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    if width < 1 or height < 1:
        raise MediaError("media.empty", f"an image of {width} x {height} pixels is empty")
    patch, (high, wide) = config.patch_size, config.merge_kernel_size
    count = (width // patch) * (height // patch)
    if count > config.in_token_limit:
        scale = math.sqrt(config.in_token_limit / count)
        width, height = int(width * scale), int(height * scale)
    if config.pad_input:
        across, down = wide * patch, high * patch
        return (width, height), (-(-width // across) * across, -(-height // down) * down)
    return (width, height), (width // patch * patch, height // patch * patch)


def preprocess_image(image: "Image", config: PreprocessorConfig) -> tuple["npt.NDArray[np.uint8]", tuple[int, int]]:
    """Patches of a picture before normalisation, and its grid.

    Returns: (rows * cols, 3, 14, 14) uint8 in raster order, and (rows, cols).
    Raises:  MediaError, if the picture is too long, or cannot be decoded.
    Source:  image processor of the published checkpoints; resizing is Pillow's bicubic in the picture's own mode.
    """
    import numpy as np
    from PIL.Image import Resampling

    size = image_size(image.width, image.height, config)
    try:
        if size.resized != image.size:
            image = image.resize(size.resized, Resampling.BICUBIC)
        pixels = np.asarray(_fitted(image, size.padded).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise MediaError("media.corrupt", "an image cannot be decoded", why=str(error)) from None
    (rows, cols), patch = size.grid, config.patch_size
    tiles = pixels.reshape(rows, patch, cols, patch, 3).transpose(0, 2, 4, 1, 3)  # (rows, cols, 3, y, x)
    return np.ascontiguousarray(tiles).reshape(rows * cols, 3, patch, patch), size.grid


def _fitted(image: "Image", size: tuple[int, int]) -> "Image":
    """The picture on a larger canvas of zeros (palette entry 0 in a palette), or cut around its centre."""
    if image.size == size:
        return image
    left = max(0, round((image.width - size[0]) / 2.0))
    top = max(0, round((image.height - size[1]) / 2.0))
    return image.crop((left, top, left + size[0], top + size[1]))


def accepted_size(width: int, height: int, config: PreprocessorConfig) -> tuple[int, int]:
    """The size itself, or, where the processor refuses it as too long, the longest legal one of the same aspect."""
    try:
        image_size(width, height, config)
    except MediaError:
        longest = (MAX_SIDE - 1) // max(config.merge_kernel_size) * max(config.merge_kernel_size) * config.patch_size
        scale = longest / max(width, height)
        return tuple(min(longest, max(1, round(side * scale))) for side in (width, height))  # type: ignore[return-value]
    return width, height
