"""From a picture to patches, exactly as the checkpoint's own processor does it. Imports numpy and Pillow, never torch.

A picture is converted to RGB (alpha is dropped, not blended, and EXIF orientation is not applied) and then resized, up
or down, to sides that are multiples of a merge cell and an area within the checkpoint's bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvl_eval.errors import MediaError
from kvl_eval.model.qwen2_5_vl.config import PictureConfig
from kvl_eval.pictures import Grid, PictureSize, Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

MAX_ASPECT = 200  # longer pictures are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenPictures:
    """The picture rule of one checkpoint."""

    config: PictureConfig

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Of a checkpoint folder. Raises: CheckpointError."""
        return cls(config=PictureConfig.from_folder(folder))

    @property
    def limit(self) -> int:
        """Most patches of a picture; a larger one is shrunk."""
        return self.config.max_pixels // self.patch_pixels

    @property
    def patch_pixels(self) -> int:
        return self.config.patch_size**2

    @property
    def patches_per_token(self) -> int:
        return self.config.merge_size**2

    def with_limit(self, patches: int) -> Self:
        """The same rule with another limit."""
        most = patches * self.patch_pixels
        return replace(self, config=replace(self.config, max_pixels=most, min_pixels=min(most, self.config.min_pixels)))

    def size(self, width: int, height: int) -> PictureSize:
        """What becomes of a picture of that size.

        Raises: MediaError `media.too_long`, if one side is more than 200 times the other; `media.empty`, for no pixels.
        Source: image processor of the published checkpoints.
        """
        if width < 1 or height < 1:
            raise MediaError("media.empty", f"an image of {width} x {height} pixels is empty")
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise MediaError(
                "media.too_long",
                f"an image of {width} x {height} pixels is too long",
                why=f"one side may be at most {MAX_ASPECT} times as long as the other",
                fix="cut it into pieces",
            )
        resized = self._resized(width, height)
        cols, rows = (side // self.config.patch_size for side in resized)
        return PictureSize(resized, resized, (rows, cols), rows * cols // self.patches_per_token)

    def _resized(self, width: int, height: int) -> Size:
        """Sides rounded to merge cells; where the area is out of bounds, scaled and rounded towards them."""
        cell, least, most = self.config.cell_size, self.config.min_pixels, self.config.max_pixels
        rounded = round(width / cell) * cell, round(height / cell) * cell
        if rounded[0] * rounded[1] > most:
            scale = math.sqrt(width * height / most)
            return tuple(max(cell, math.floor(side / scale / cell) * cell) for side in (width, height))  # type: ignore[return-value]
        if rounded[0] * rounded[1] < least:
            scale = math.sqrt(least / (width * height))
            return tuple(math.ceil(side * scale / cell) * cell for side in (width, height))  # type: ignore[return-value]
        return rounded

    def accepted(self, width: int, height: int) -> Size:
        """The size itself, or, where `size` refuses it as too long, one whose longer side is 200 times the shorter."""
        longest = MAX_ASPECT * min(width, height)
        return min(width, longest), min(height, longest)

    def patches(self, image: Image) -> tuple[NDArray[np.uint8], Grid]:
        """Patches of a picture before normalization, (P, 3, 14, 14), the four of a merge cell together; and its grid.

        Raises: MediaError, if the picture is too long, or cannot be decoded.
        """
        import numpy as np
        from PIL.Image import Resampling

        size = self.size(image.width, image.height)
        try:
            image = image.convert("RGB")
            pixels = np.asarray(image.resize(size.resized, Resampling.BICUBIC) if size.resized != image.size else image)
        except (OSError, SyntaxError) as error:
            raise MediaError("media.corrupt", "an image cannot be decoded", why=str(error)) from None
        (rows, cols), patch, merge = size.grid, self.config.patch_size, self.config.merge_size
        tiles = pixels.reshape(rows // merge, merge, patch, cols // merge, merge, patch, 3)
        cells = tiles.transpose(0, 3, 1, 4, 6, 2, 5)  # (cell rows, cell columns, rows, columns, 3, y, x)
        return np.ascontiguousarray(cells).reshape(rows * cols, 3, patch, patch), size.grid

    def normalized(self, patches: Tensor) -> Tensor:
        """uint8 patches (P, 3, 14, 14) to (x / 255 - mean) / std, computed in float32 on the patches' device."""
        import torch

        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=patches.device)[:, None, None]
            for values in (self.config.image_mean, self.config.image_std)
        )
        return (patches.float() / 255.0 - mean) / std
