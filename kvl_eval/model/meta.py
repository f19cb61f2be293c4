"""Modules without memory, for what must be known of a model before its weights are read."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)


class _Unfilled(TorchFunctionMode):
    """Fills no parameter: values drawn on `meta` are nothing, and to draw them loads torch's compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def on_meta(make: Callable[[], Module]) -> Module:
    """What `make` builds, on the device `meta`."""
    with torch.device("meta"), _Unfilled():
        return make()
