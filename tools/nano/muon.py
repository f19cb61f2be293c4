"""Muon for stacks of matrices and AdamW for the rest, under one learning rate."""

from collections import defaultdict

import torch
from torch import Tensor

STEPS = ((3.4445, -4.7750, 2.0315),) * 5


def orthogonalised(update: Tensor) -> Tensor:
    """A stack (n, rows, columns) with singular values near 1, by five Newton-Schulz steps in bfloat16."""
    x = update.bfloat16()
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in STEPS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(update.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised; its root mean square is matched to AdamW's (arXiv 2502.16982)."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; parameters of equal shape are stacked into one batch of products."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    shapes[tuple(param.shape[-2:])].append(param)  # type: ignore[index]
            for (rows, columns), params in shapes.items():
                updates = [self._momentum(param, group["momentum"]) for param in params]
                stacked = orthogonalised(torch.cat([update.reshape(-1, rows, columns) for update in updates]))
                scale = 0.2 * max(rows, columns) ** 0.5
                parts = stacked.split([param.numel() // (rows * columns) for param in params])
                for param, part in zip(params, parts, strict=True):
                    param.mul_(1 - group["lr"] * group["weight_decay"])
                    param.add_(part.reshape(param.shape), alpha=-group["lr"] * scale)

    def _momentum(self, param: Tensor, momentum: float) -> Tensor:
        buffer = self.state[param].setdefault("momentum", torch.zeros_like(param))
        buffer.mul_(momentum).add_(param.grad)
        return param.grad + momentum * buffer  # type: ignore[operator,no-any-return]
