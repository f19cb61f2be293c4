"""Linear maps of the same input as one product on an accelerator: their weights lie behind each other in one tensor.

The maps keep their names, and their weights are views of that tensor: loading, saving and training see nothing of it,
and nothing is held twice. On a CPU a product more costs nothing, and maps stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Joint(NamedTuple):
    """Weights that lie behind each other.

    Attributes:
        weight: (sum of the outputs, inputs).
        sizes:  outputs of each map.
        places: addresses of the maps' weights in it.
    """

    weight: Tensor
    sizes: list[int]
    places: list[int]

    @classmethod
    def of(cls, maps: Sequence[nn.Linear]) -> Joint:
        """Lay the weights of maps without biases behind each other; from then on they are views."""
        sizes = [linear.out_features for linear in maps]
        weight = maps[0].weight.data.new_empty(sum(sizes), maps[0].in_features)
        for linear, part in zip(maps, torch.split(weight, sizes), strict=True):
            if weight.device.type != "meta":  # where there is nothing to copy, and torch loads its compiler to do so
                part.copy_(linear.weight.data)
            linear.weight.data = part
        return cls(weight, sizes, _places(maps))

    def products(self, x: Tensor) -> Sequence[Tensor]:
        """What each map makes of `x`, by one product."""
        return torch.split(F.linear(x, self.weight), self.sizes, -1)


class Joining(nn.Module):
    """A module with maps of the same input, which a subclass names."""

    def __init__(self) -> None:
        super().__init__()
        self._joint: Joint | None = None

    def inputs(self) -> Sequence[nn.Module]:
        """The maps of what comes in."""
        raise NotImplementedError

    def products(self, x: Tensor) -> Sequence[Tensor]:
        """What each of the maps makes of `x`."""
        return products(x, self.inputs(), self._joint)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._joint = laid_together(self.inputs())
        return self


def laid_together(maps: Sequence[nn.Module]) -> Joint | None:
    """The maps' weights behind each other; None on a CPU and where they are not plain maps of one kind without biases.

    To be called whenever the weights came to other memory: at the end of a module's `_apply`.
    """
    linears = [linear for linear in maps if isinstance(linear, nn.Linear)]
    kinds = {(linear.weight.device, linear.weight.dtype) for linear in linears}
    if len(linears) < len(maps) or len(kinds) > 1 or linears[0].weight.device.type == "cpu":
        return None
    if any(linear.bias is not None for linear in linears):
        return None
    return Joint.of(linears)


def products(x: Tensor, maps: Sequence[nn.Module], joint: Joint | None) -> Sequence[Tensor]:
    """What each map makes of `x`: by one product, where their weights lie in the joint and need no gradients."""
    if joint is None or torch.is_grad_enabled() or joint.weight.device != x.device or _places(maps) != joint.places:
        return [linear(x) for linear in maps]
    return joint.products(x)


def _places(maps: Sequence[nn.Module]) -> list[int]:
    return [linear.weight.data_ptr() if isinstance(linear, nn.Linear) else -1 for linear in maps]
