"""Small tensors that several modules make."""

from collections.abc import Sequence

import torch
from torch import Tensor


def index_tensor(values: Sequence[int], device: torch.device | str) -> Tensor:
    """Whole numbers on a device; copying them there does not wait for what the device is doing."""
    return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)
