"""Which devices this machine can compute on, and the error where the one asked for is none of them."""

from __future__ import annotations

import torch

from kvl_eval.errors import CheckpointError

NAMES = {"cuda": "CUDA", "mps": "MPS", "xpu": "XPU"}


def torch_device(device: torch.device | str | None) -> torch.device:
    """A device that can be used; None means the CPU. Raises: CheckpointError `model.device`."""
    if device is None:
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        if chosen.type != "meta":
            torch.empty(1, device=chosen).cpu()
            return chosen
        why = "the meta device holds shapes and computes nothing"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = _why(str(device), error)
    raise CheckpointError(
        "model.device",
        f"device '{device}' is not available",
        why=f"{why}; available: {', '.join(available_devices())}",
        fix=_fix(str(device)),
    )


def available_devices() -> list[str]:
    """`cpu`, and the names of accelerators that can be used now."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cuda"] if cards == 1 else [f"cuda:{number}" for number in range(cards)]
    return ["cpu", *names, *(["mps"] if torch.mps.is_available() else [])]


def _why(device: str, error: Exception) -> str:
    kind, _, number = device.partition(":")
    if kind == "cuda" and torch.cuda.is_available():
        return f"there is no GPU with the number {number}" if number else str(error).splitlines()[0]
    if kind in NAMES:
        what = "does not find this device" if _is_built(kind) else f"has no {NAMES[kind]} support"
        return f"PyTorch {torch.__version__} {what}"
    return "PyTorch does not know this device"


def _is_built(kind: str) -> bool:
    """Whether this build of PyTorch has the code for a kind of accelerator."""
    if kind == "cuda":
        return torch.version.cuda is not None or torch.version.hip is not None
    return kind == "mps" and torch.backends.mps.is_built()


def _fix(device: str) -> str:
    kind = device.partition(":")[0]
    other = f", or install PyTorch with {NAMES[kind]}" if kind in NAMES and not _is_built(kind) else ""
    return f"use --device {available_devices()[-1]}{other}"
