"""Memory that runs out, on a device or in this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

T = TypeVar("T")
Arguments = ParamSpec("Arguments")

# An accelerator has an exception of its own. Main memory and MPS have none: torch raises a RuntimeError that says so.
UNTYPED = ("allocate memory", "not enough memory", "out of memory")


def within_memory(action: Callable[Arguments, T], *arguments: Arguments.args, **options: Arguments.kwargs) -> T | None:
    """What the action returns, or None where memory ran out; nothing holds on to what it had computed then."""
    try:
        return action(*arguments, **options)
    except RuntimeError as error:
        if not is_shortage(error):
            raise
    except MemoryError:
        pass
    return None


def is_shortage(error: RuntimeError) -> bool:
    """Whether torch says by it that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in UNTYPED)
