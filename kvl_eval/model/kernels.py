"""Small operations between the products of a layer, each of them one or few kernels on a card.

Shapes: B rows, A heads, C values of a head's sum; N pages, P tokens per page, G rows that attend to a page, E = N * G
entries of all parts together, M most entries of a row; other dimensions are free.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kvl_eval.model.precision import wide, wide_dtype
from kvl_eval.model.regions import region


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Weight * x / sqrt(mean(x^2) + eps), statistics in float32 or wider."""
    if x.dtype == wide_dtype(x.dtype):
        return F.rms_norm(x, weight.shape, weight, eps)
    return weight * F.rms_norm(wide(x), weight.shape, eps=eps).to(x.dtype)


rms_norm = region(kernels=1)(normed)


@region(kernels=1)
def add_and_norm(x: Tensor, more: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The sum of two tensors, and `normed` of it."""
    total = x + more
    return total, normed(total, weight, eps)


@region(kernels=1)
def silu_times(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    return F.silu(gate) * up


@region(kernels=1)
def page_shares(scores_NGAP: Tensor, hidden_NP: Tensor | None, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """What each place of a page is worth to each of its owners' heads, relative to the page's highest score.

    Returns: shares (N, G, A, P) in the dtype of the scores; highest scores and sums of shares (E, A), wide. Of a page
             of which nothing is seen all shares are 0.
    """
    scores = wide(scores_NGAP) * scale
    if hidden_NP is not None:
        scores = scores.masked_fill(hidden_NP[:, None, None], float("-inf"))
    tops = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    shares = (scores - tops).exp()
    return shares.to(scores_NGAP.dtype), tops.flatten(0, 1)[..., 0], shares.sum(-1).flatten(0, 1)


@region(kernels=2)
def merged(sums_EAC: Tensor, tops_EA: Tensor, totals_EA: Tensor, entries_BM: Tensor) -> Tensor:
    """Each row's softmax over all its pages, (B, A, C), put together from its entries in their order.

    Args:
        sums:    what each entry's shares add up to.
        tops:    highest score of each entry.
        totals:  sum of each entry's shares.
        entries: of each row, -1 behind its last one.
    """
    absent_B1M = (entries_BM < 0)[:, None]
    entries = entries_BM.clamp(min=0)
    tops = tops_EA[entries].mT.masked_fill(absent_B1M, float("-inf"))  # (B, A, M)
    weights = (tops - tops.amax(-1, keepdim=True)).exp()
    totals = weights * totals_EA[entries].mT.masked_fill(absent_B1M, 0.0)
    weights = weights / totals.sum(-1, keepdim=True)
    parts = wide(sums_EAC)[entries].transpose(1, 2).masked_fill(absent_B1M[..., None], 0.0)  # (B, A, M, C)
    return (weights[..., None] * parts).sum(2).to(sums_EAC.dtype)
