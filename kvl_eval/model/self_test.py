"""One attention call on the device that a model is loaded to, compared with the same in float32 on the CPU.

Fused kernels have been wrong before: torch 2.5 to 2.11 on MPS where values are narrower than queries (pytorch 176767).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kvl_eval.errors import CheckpointError

TOKENS = 37
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 5e-3}  # of values of about 1
TOLERANCE_ELSEWHERE = 1e-3

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""One causal call of a layer: queries (1, S, A, D), keys (1, S, K, D), values (1, S, K, V) to (1, S, A * V)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """Heads of queries, heads of keys and values, and their sizes."""

    heads: int
    key_heads: int
    key_size: int
    value_size: int


def check_attention(attend: Attend, shape: HeadShape, device: torch.device, dtype: torch.dtype) -> None:
    """Raise CheckpointError `model.device` where a device computes attention wrongly."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((shape.heads, shape.key_size), (shape.key_heads, shape.key_size), (shape.key_heads, shape.value_size))
    tensors = [torch.randn(1, TOKENS, *size, generator=generator).to(dtype) for size in sizes]
    with torch.no_grad():
        computed = attend(*(tensor.to(device) for tensor in tensors)).cpu().float()
        expected = _plain(*(tensor.float() for tensor in tensors))
    error = (computed - expected).abs().max().item()
    most = TOLERANCE.get(dtype, TOLERANCE_ELSEWHERE)
    if not error <= most:  # NaN is no number that is small enough
        raise CheckpointError(
            "model.device",
            f"attention on {device} gives wrong results: it differs by {error:.3g} from float32 on the CPU",
            why=f"torch {torch.__version__}, {str(dtype).removeprefix('torch.')}; accepted: up to {most:g}",
            fix="use --device cpu, another --dtype or another version of torch",
        )


def _plain(q_BSAD: Tensor, k_BSKD: Tensor, v_BSKV: Tensor) -> Tensor:
    """Causal attention written out."""
    group = q_BSAD.shape[2] // k_BSKD.shape[2]
    k_BSAD, v_BSAV = (x.repeat_interleave(group, dim=2) for x in (k_BSKD, v_BSKV))
    scores = torch.einsum("bsad,btad->bast", q_BSAD, k_BSAD) * q_BSAD.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    shares = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    return torch.einsum("bast,btav->bsav", shares, v_BSAV).flatten(2)
