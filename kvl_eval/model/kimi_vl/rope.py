"""Rotary position embeddings: one axis for the language model, two axes for MoonViT.

Both turn *adjacent* components (2j, 2j+1), viewed as complex numbers; angles are float32, products float32 or wider.

Shapes: P patches or positions, D head size, J = D / 2 rotated pairs; leading dimensions are free.
"""

import torch
from torch import Tensor

from kvl_eval.model.precision import wide, wide_dtype


def text_angles(positions: Tensor, dim: int, theta: float) -> Tensor:
    """Angle of each pair at each position.

    Args:
        positions: (...) integer positions.
        dim:       rotated values in a head (`qk_rope_head_dim`).
        theta:     base of the frequencies (`rope_theta`).
    Returns: (..., dim / 2) float32.
    """
    exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=positions.device) / dim
    return positions[..., None].float() * (1.0 / theta**exponents)


def vision_angles(rows: int, cols: int, dim: int, device: torch.device | str | None = None) -> Tensor:
    """Angle of each pair at each patch of one picture: even pairs turn with the column, odd pairs with the row.

    Args:
        rows, cols: size of the picture in patches.
        dim:        head size, divisible by 4.
    Returns: (rows * cols, dim / 2) float32, patches in raster order.
    Source:  published remote code of MoonViT (the column comes first, whatever its docstring says).
    """
    exponents = torch.arange(0, dim, 4, dtype=torch.float32, device=device) / dim
    frequencies = 1.0 / 10000.0**exponents  # (D/4,)
    y = torch.arange(rows, dtype=torch.float32, device=device)[:, None, None] * frequencies
    x = torch.arange(cols, dtype=torch.float32, device=device)[None, :, None] * frequencies
    pairs = torch.stack([x.expand(rows, cols, -1), y.expand(rows, cols, -1)], dim=-1)  # (rows, cols, D/4, 2)
    return pairs.reshape(rows * cols, dim // 2)


def turn_of(angles: Tensor, dtype: torch.dtype) -> Tensor:
    """What `rotate` takes for values of a dtype: cosines and sines of the angles (..., J), as (..., 2, J)."""
    angles = angles.to(wide_dtype(dtype))
    return torch.stack([angles.cos(), angles.sin()], dim=-2)


def text_turn(positions: Tensor, dim: int, theta: float, dtype: torch.dtype) -> Tensor:
    """`turn_of` the angles of tokens: (..., 2, dim / 2)."""
    return turn_of(text_angles(positions, dim, theta), dtype)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each adjacent pair of `x` by its angle: (a, b) -> (a cos t - b sin t, a sin t + b cos t).

    Args:
        x:    (..., D), any float dtype.
        turn: (..., 2, D / 2), cosines and sines of the angles in the wide dtype of `x`, broadcast against `x`.
    Returns: (..., D) in the dtype of `x`.
    """
    cos, sin = turn.unbind(-2)
    pairs = wide(x).view(*x.shape[:-1], -1, 2)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():  # one pass in place of seven, with the same bits
        turned = torch.view_as_complex(pairs.contiguous()) * torch.complex(cos, sin)
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    a, b = pairs.unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def rotate_apart(x: Tensor, turn: Tensor) -> Tensor:
    """`rotate`, equal in every bit, with each number computed by itself: a compiler writes it where it is wanted."""
    cos, sin = (part[..., None].expand(*part.shape, 2).flatten(-2) for part in turn.unbind(-2))
    x_wide = wide(x)
    others = torch.unflatten(x_wide, -1, (-1, 2)).flip(-1).flatten(-2)
    signs = 2 * (torch.arange(x.shape[-1], device=x.device) % 2) - 1
    return (x_wide * cos + others * (sin * signs)).to(x.dtype)
