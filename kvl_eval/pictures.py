"""How a model wants its pictures: the rule that media preparation follows without knowing the model. No torch in here.

Sizes are (width, height) in pixels, grids (rows, columns) in patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

Size = tuple[int, int]
Grid = tuple[int, int]
Shrink = Callable[[int, int], Size]
"""(width, height) -> the size at which the model sees an image."""


class PictureSize(NamedTuple):
    """What becomes of a picture: its size after shrinking, its size after padding, its patches, its visual tokens."""

    resized: Size
    padded: Size
    grid: Grid
    tokens: int


class PictureRule(Protocol):
    """From a picture to patches, as one checkpoint's own processor does it.

    A frozen dataclass that pickles: it travels to worker processes and its `repr` stands in fingerprints. Its module
    imports no torch. Every method is pure.
    """

    @property
    def limit(self) -> int:
        """Most patches of a picture; a larger one is shrunk."""

    @property
    def patch_pixels(self) -> int:
        """Pixels of one patch: width times height."""

    @property
    def patches_per_token(self) -> int:
        """Patches that become one visual token."""

    def with_limit(self, patches: int) -> Self:
        """The same rule with another limit."""

    def size(self, width: int, height: int) -> PictureSize:
        """What becomes of a picture of that size.

        Raises: MediaError `media.too_long`, where the checkpoint's processor refuses it; `media.empty`, for no pixels.
        """

    def accepted(self, width: int, height: int) -> Size:
        """The size itself, or, where `size` refuses it as too long, the longest legal one of the same aspect."""

    def patches(self, image: Image) -> tuple[NDArray[np.uint8], Grid]:
        """Patches of a picture before normalization, (P, 3, side, side) in the order that the tower takes, and its
        grid.

        Raises: MediaError, as `size`, or `media.corrupt`, if the picture cannot be decoded.
        """

    def normalized(self, patches: Tensor) -> Tensor:
        """What the tower takes of any portion of whole pictures' uint8 patches, on their device, in float32."""
