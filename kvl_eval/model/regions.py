"""Functions of tensors that become few kernels on a card: compiled by torch there, run as they are elsewhere.

A region computes, and does nothing else: no module, no branch on a value, nothing written in place. So a compiled one
has no graph break, and one that torch cannot compile on some machine can still run as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)

# Values are rounded to the model's dtype where the function says so, and not kept wider because a kernel could.
OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"emulate_precision_casts": True}
WORTH_IT = 1_000_000_000  # parameters from which a model saves more time than its regions take to compile
compiling = {"cuda": False}  # by type of device


def compile_for(device: torch.device, parameters: int) -> None:
    """Compile regions on a card from now on, where the model that runs there is worth the minute.

    `TORCHDYNAMO_DISABLE=1` in the environment leaves all as it is, which is torch's own switch.
    """
    compiling["cuda"] = device.type == "cuda" and parameters >= WORTH_IT


class Region(Generic[P, R]):
    """A function that may be compiled, with the number of kernels that it is compiled to.

    Products, sorts and other operations that torch calls from a library are not part of a region.
    """

    def __init__(self, function: Callable[P, R], kernels: int) -> None:
        self.function = function
        self.kernels = kernels
        self.broken = False
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        first = args[0]
        if self.broken or not isinstance(first, Tensor) or not compiling.get(first.device.type, False):
            return self.function(*args, **kwargs)
        if torch.is_grad_enabled():
            return self.function(*args, **kwargs)
        try:
            return self.compiled(*args, **kwargs)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            self.broken = True
            log.warning(
                "torch cannot compile %s on this machine: %s", self.function.__name__, str(error).partition("\n")[0]
            )
            return self.function(*args, **kwargs)

    @cached_property
    def compiled(self) -> Callable[P, R]:
        """The compiled function, for tensors of any size; compiled by its first call."""
        return torch.compile(self.function, dynamic=True, fullgraph=True, options=OPTIONS)


def region(kernels: int) -> Callable[[Callable[P, R]], Region[P, R]]:
    """Make a function a `Region` of so many kernels."""
    return lambda function: Region(function, kernels)
