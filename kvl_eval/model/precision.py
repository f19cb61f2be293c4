"""The precision of what must be exact: norms, rotations, routing, softmax and sums of experts.

A model in bfloat16 or float16 computes these in float32, as the published code does. One in float64 stays there, so
that no token depends on the order in which a batch of another shape adds its numbers (float32 moves them by 1e-7).
"""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it already is."""
    return x if x.dtype == torch.float64 else x.float()


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that `wide` gives values of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32
