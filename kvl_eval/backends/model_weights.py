"""The weights of the bundled engine: as `--dtype` says, or packed as `--weights` says, and the room they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.backends.base import WEIGHTS, EngineSettings, MemoryNeed, is_packed
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.backends.fingerprint import value_count, weights_sha256
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError
from kvl_eval.model.base import Architecture, PackedPlace, Packing
from kvl_eval.model.weight_files import weight_files

if TYPE_CHECKING:
    from kvl_eval.model.base import VisionLanguageModel

PACKED_DTYPE = "bfloat16"  # of what is not packed, where nothing was asked for


def sizes_by_option(architecture: Architecture, folder: Path, paths: list[Path], device: str) -> dict[str, int]:
    """{option: bytes that a checkpoint's weights take with it}, the largest first. Raises: CheckpointError."""
    sizes = {"--dtype bfloat16": 2 * value_count(paths)}
    if architecture.packing is not None and device == "cpu":
        sizes |= {f"--weights {kind}": architecture.packing.bytes(folder, kind) for kind in WEIGHTS[1:]}
    return sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWeights:
    """How a checkpoint's weights are held in memory.

    Attributes:
        checkpoint:   whose weights.
        architecture: of the checkpoint.
        home:         folder for packed weights of all checkpoints.
        small:        whether the model stays on the CPU unless told otherwise.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    home: Path
    small: bool

    @property
    def settings(self) -> EngineSettings:
        """What the user said."""
        return self.checkpoint.settings

    @property
    def kind(self) -> str | None:
        """`int8` or `int4`; None where weights are as `--dtype` says."""
        return self.settings.weights if is_packed(self.settings.weights) else None

    def device(self) -> str:
        """Where the model computes. Raises: CheckpointError, for a device that is not there."""
        return self.checkpoint.device(small=self.small)

    def dtype(self, own: str) -> str:
        """Of what is not packed; `own` is the checkpoint's."""
        if self.kind is not None:
            return self.settings.dtype or PACKED_DTYPE
        return self.checkpoint.dtype(self.device(), own)

    def identity(self, own: str) -> dict[str, Json]:
        """What of them can change an answer."""
        return {"dtype": self.dtype(own), **({"weights": self.kind} if self.kind else {})}

    def check(self) -> None:
        """Raise ConfigError where `--weights` asks for something unsupported; without packed weights nothing is looked
        at.
        """
        if self.settings.weights not in (None, *WEIGHTS):
            raise ConfigError(
                "config.weights",
                f"unknown value {self.settings.weights!r} for --weights",
                fix=f"use one of {', '.join(WEIGHTS)}",
            )
        if self.kind is None:
            return
        self._packing()
        if self.device() != "cpu":
            raise ConfigError(
                "config.weights",
                f"--weights {self.kind} needs a CPU, but the model would run on {self.device()}",
                fix="add --device cpu or remove --weights",
            )

    def _packing(self) -> Packing:
        if self.architecture.packing is None:
            raise ConfigError(
                "config.weights",
                f"--weights {self.kind} is not supported for {self.architecture.model_type}",
                fix="remove --weights, or serve a quantized checkpoint and use --model endpoint",
            )
        return self.architecture.packing

    def bytes(self, folder: Path, paths: list[Path], own: str) -> int:
        """What they take in memory; 0 where no weight file is there. Raises: CheckpointError."""
        import torch

        if not paths:
            return 0
        if self.kind is not None:
            return self._packing().bytes(folder, self.kind, self.dtype(own))
        return value_count(paths) * int(getattr(torch, self.dtype(own)).itemsize)

    def require_room(self, folder: Path, paths: list[Path], own: str) -> None:
        """Raise CheckpointError where they do not fit on the device; several cards are planned later."""
        import torch

        from kvl_eval.model.memory import free_bytes, require_room

        if self.settings.device == "auto" and self.kind is None:
            return
        needed, device = self.bytes(folder, paths, own), torch.device(self.device())
        if needed > free_bytes(device):
            require_room(needed, device, self.choices(folder, paths, own))

    def choices(self, folder: Path, paths: list[Path], own: str) -> Mapping[str, int]:
        """{option that makes them smaller: what they take then}, the largest first."""
        now, sizes = self.bytes(folder, paths, own), sizes_by_option(self.architecture, folder, paths, self.device())
        return {option: size for option, size in sizes.items() if size < now}

    def memory(self, folder: Path, paths: list[Path], own: str) -> MemoryNeed | None:
        """What they and the cache need, and what is free; None where no weight file is there."""
        import torch

        from kvl_eval.model.memory import free_bytes

        if not paths:
            return None
        shape, dtype = self.architecture.cost_shape(folder), getattr(torch, self.dtype(own))
        return MemoryNeed(
            device=self.device(),
            weights=self.bytes(folder, paths, own),
            token=shape.layers * shape.cache_width * dtype.itemsize,
            context=self.architecture.context(folder),
            free=free_bytes(torch.device(self.device())),
            kept_in=self.place(paths).folder if self.kind else None,
        )

    def place(self, paths: list[Path]) -> PackedPlace:
        """Where packed weights are kept."""
        from kvl_eval.model.packed_matrix import layout_name

        assert self.kind is not None
        fingerprint = weights_sha256(paths)
        return PackedPlace(home=self.home, fingerprint=fingerprint, kind=self.kind, layout=layout_name(self.kind))

    def load(self, own: str) -> VisionLanguageModel:
        """The model. Raises: CheckpointError; StorageError, where packed weights cannot be kept."""
        folder = self.checkpoint.folder()
        if self.kind is not None:
            place = self.place(weight_files(folder))
            return self._packing().load(folder, place, dtype=self.dtype(own))
        device = "auto" if self.settings.device == "auto" else self.device()
        return self.architecture.load(folder, dtype=self.dtype(own), device=device)
