"""Rotary positions of Qwen2.5-VL: rows and columns in the vision tower, time, row and column in the language model.

Both turn the components j and j + D / 2 of a head, viewed as a complex number; angles are float32, products float32 or
wider.

Shapes: P patches, S tokens, D head size, J = D / 2 rotated pairs; leading dimensions are free.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kvl_eval.model.precision import wide

VISION_THETA = 10000.0


def patch_angles(places_P2: Tensor, dim: int) -> Tensor:
    """Angle of each pair at each patch: the first half of the pairs turns with the row, the second with the column.

    Args:
        places_P2: (P, 2), row and column of each patch.
        dim:       head size, divisible by 4.
    Returns: (P, dim / 2) float32.
    """
    exponents = torch.arange(0, dim // 2, 2, dtype=torch.float32, device=places_P2.device) / (dim // 2)
    return (places_P2[..., None].float() * (1.0 / VISION_THETA**exponents)).flatten(-2)


def token_angles(positions_3S: Tensor, sections: Sequence[int], theta: float) -> Tensor:
    """Angle of each pair at each token: pairs turn with time, row or column, section by section.

    Args:
        positions_3S: (3, ...) whole numbers; of text all three are the same.
        sections:     how many pairs turn with each of the three.
        theta:        base of the frequencies.
    Returns: (..., J) float32.
    """
    count, device = sum(sections), positions_3S.device
    axes_J = torch.repeat_interleave(torch.arange(3, device=device), torch.tensor(sections, device=device))
    exponents_J = torch.arange(count, dtype=torch.float32, device=device) / count
    return positions_3S.float()[axes_J].movedim(0, -1) * (1.0 / theta**exponents_J)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (a, b) of `x` by their angles: (a cos t - b sin t, b cos t + a sin t).

    Args:
        x:        (..., D), any float dtype; the pairs are (x[j], x[j + D / 2]).
        cos, sin: (..., D / 2) of the angles, broadcast against `x`.
    Returns: (..., D) in the dtype of `x`.
    """
    a, b = wide(x).chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def prompt_positions(length: int, starts: Sequence[int], cells: Sequence[tuple[int, int]]) -> tuple[Tensor, int]:
    """Positions of a prompt's tokens, and that of the token behind it.

    A text's tokens count up, all three numbers alike. The tokens of a picture share their time, and have the rows and
    columns of their cells; what follows continues after the longer side of the image.

    Args:
        length: tokens of the prompt.
        starts: where each picture's tokens begin, in rising order.
        cells:  rows and columns of each picture, in visual tokens.
    Returns: (3, length) whole numbers, and the next position.
    """
    ends = [start + rows * cols for start, (rows, cols) in zip(starts, cells, strict=True)]
    parts, position = [], 0
    for index, (before, start) in enumerate(pairwise(_bounds(starts, ends, length))):
        if index % 2:  # a picture
            rows, cols = cells[index // 2]
            parts.append(position + _picture_places(rows, cols))
            position += max(rows, cols)
        else:
            parts.append(torch.arange(position, position + start - before).expand(3, -1))
            position += start - before
    return torch.cat(parts, dim=1), position


def _bounds(starts: Sequence[int], ends: Sequence[int], length: int) -> list[int]:
    """Where texts and pictures begin, in turn, from 0 to the length."""
    return [0, *(bound for pair in zip(starts, ends, strict=True) for bound in pair), length]


def _picture_places(rows: int, cols: int) -> Tensor:
    """(3, rows * cols): time, row and column of each visual token, from 0."""
    row = torch.arange(rows).repeat_interleave(cols)
    return torch.stack([torch.zeros_like(row), row, torch.arange(cols).repeat(rows)])
