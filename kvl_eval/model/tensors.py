"""Small tensors that several modules make."""

from collections.abc import Sequence

import torch
from torch import Tensor


def index_tensor(values: Sequence[int], device: torch.device | str) -> Tensor:
    """Whole numbers on a device; copying them there does not wait for what the device is doing."""
    return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)


def cache_mask(starts: Sequence[int], count: int, device: torch.device) -> Tensor | None:
    """(B, S, T) for `count` new tokens a row behind `starts` held ones; None where plain causality says the same."""
    if (count == 1 and len(set(starts)) == 1) or (count > 1 and not any(starts)):
        return None
    queries_BS = index_tensor(starts, device)[:, None] + torch.arange(count, device=device)
    return torch.arange(max(starts) + count, device=device) <= queries_BS[..., None]
