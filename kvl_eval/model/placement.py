"""A model's layers over several devices, by accelerate: for models larger than one card.

accelerate plans (`infer_auto_device_map` over balanced budgets) and moves activations from device to device by hooks
(`dispatch_model`). Modules of some classes, such as a decoder layer, stay whole, since they use weights of their parts
directly: the architecture's record names them (`whole_classes`). A layer's share of the cache lies
where the layer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from kvl_eval.errors import CheckpointError
from kvl_eval.model.places import Places

Module = TypeVar("Module", bound=nn.Module)

OFFLOADED = ("cpu", "disk")
SHARE = 0.9  # of a card's free memory that weights may take; the KV cache gets a share of what is left


def plan_places(
    model: nn.Module, whole_classes: Sequence[str], memory: Mapping[int | str, int] | None = None
) -> dict[str, int | str]:
    """Where the modules of a model (it may lie on the meta device) go, with about equal shares for all cards.

    Args:
        memory: bytes that each device has for weights; None means what the cards here have free.
    Raises: CheckpointError, if the weights do not fit, or accelerate is not there.
    """
    accelerate, whole = _accelerate(), list(whole_classes)
    room = dict(_cards() if memory is None else memory)
    dtype = next(model.parameters()).dtype
    budgets = accelerate.utils.get_balanced_memory(model, room, no_split_module_classes=whole, dtype=dtype)
    places: dict[str, int | str] = accelerate.infer_auto_device_map(
        model, {**budgets, **{name: 0 for name in OFFLOADED if name not in room}}, no_split_module_classes=whole
    )
    left = [name for name, place in places.items() if place in OFFLOADED and place not in room]
    if left:
        needed = sum(parameter.nbytes for parameter in model.parameters()) / 2**30
        raise CheckpointError(
            "model.memory",
            f"not enough memory on {len(room)} devices: the weights need {needed:,.1f} GiB",
            why=f"no room for {', '.join(left[:5])}; "
            + ", ".join(f"{name}: {room[name] / 2**30:,.1f} GiB" for name in room),
            fix="use more or larger GPUs, or a smaller --dtype",
        )
    return places


def main_device(device: torch.device | str | Places | None) -> torch.device | str | None:
    """The one device that is meant, or that of the first module that is placed."""
    if isinstance(device, Mapping):
        first = _first(device)
        return torch.device("cuda", first) if isinstance(first, int) else first
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def wanted_places(
    model: nn.Module, device: torch.device | str | Places | None, whole_classes: Sequence[str]
) -> Places | None:
    """Where modules go; None where one device is meant, or `auto` finds no second card."""
    if isinstance(device, Mapping):
        return device
    return plan_places(model, whole_classes) if device == "auto" and torch.cuda.device_count() > 1 else None


def allocate(model: Module, places: Places, materialise: Callable[[nn.Module, torch.device], nn.Module]) -> Module:
    """The model with uninitialised memory for every parameter, each in its place. Raises: CheckpointError."""
    for name, place in places.items():
        materialise(model.get_submodule(name), torch.device("cpu" if place == "disk" else place))
    return model


def dispatch(
    model: nn.Module, places: Places, layers: Sequence[str], whole_classes: Sequence[str], folder: str | None = None
) -> list[torch.device]:
    """Hook a model by accelerate: inputs and offloaded weights are brought to where a module computes.

    Args:
        layers: names of the decoder layers.
        folder: where weights placed on `disk` are written to.
    Returns: the device of each layer.
    """
    accelerate = _accelerate()
    first = _first(places)
    devices = {name: torch.device(first if place in OFFLOADED else place) for name, place in places.items()}
    accelerate.dispatch_model(
        model,
        dict(places),
        main_device=first,
        offload_dir=folder,
        preload_module_classes=list(whole_classes),
        force_hooks=True,
    )
    return [_place_of(name, devices) for name in layers]


def _first(places: Places) -> int | str:
    """The device of the first module; what lies on `disk`, or beside cards on `cpu`, is brought there to compute."""
    return next((place for place in places.values() if place != "disk"), "cpu")


def _place_of(name: str, devices: Mapping[str, torch.device]) -> torch.device:
    """The device of a module: its own, or that of the module around it that has one."""
    while name not in devices:
        name = name.rpartition(".")[0]
    return devices[name]


def _cards() -> Mapping[int | str, int]:
    from kvl_eval.model.memory import free_bytes

    cards: Sequence[int] = range(torch.cuda.device_count())
    return {card: int(SHARE * free_bytes(torch.device("cuda", card))) for card in cards}


def _accelerate() -> Any:
    try:
        import accelerate
        import accelerate.utils
    except ImportError:
        raise CheckpointError(
            "model.accelerate",
            "a model on several GPUs needs accelerate, which is not installed",
            fix="pip install 'kvl-eval[multi-gpu]'",
        ) from None
    return accelerate
