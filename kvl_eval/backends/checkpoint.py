"""A checkpoint as settings want it: its folder, its device, its dtype."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvl_eval.backends.base import EngineSettings
from kvl_eval.errors import ConfigError
from kvl_eval.model.hub import checkpoint_folder

DTYPES = ("float32", "bfloat16", "float16", "float64")
SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp64": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where weights come from and how they are to be computed with.

    Attributes:
        location: a folder or a hub repository.
        fetch:    whether a repository's weights may be fetched to describe them; else those of the cache are.
    """

    location: str | Path
    settings: EngineSettings
    fetch: bool = True

    def folder(self, *, weights: bool = True) -> Path:
        """Its folder; files of a repository are fetched, weights where they are wanted. Raises: CheckpointError."""
        settings = self.settings
        return checkpoint_folder(
            self.location,
            settings.revision,
            weights=weights,
            offline=settings.offline,
            max_download=settings.max_download,
        )

    def files(self) -> tuple[Path, list[Path]]:
        """The folder and its weight files, downloaded first where allowed. Raises: CheckpointError."""
        from kvl_eval.model.weight_files import weight_files

        folder = self.folder(weights=self.fetch)
        is_local = Path(self.location).expanduser().is_dir()
        is_wanted = self.fetch or is_local or any(folder.glob("*.safetensors"))
        return folder, weight_files(folder) if is_wanted else []

    def device(self, *, small: bool = False) -> str:
        """The device asked for, else a CUDA one where there is one; a small model stays on the CPU unless told.

        Raises: CheckpointError `model.device` for one that this machine has not.
        """
        import torch

        from kvl_eval.model.devices import torch_device

        if self.settings.device not in (None, "auto"):
            return str(torch_device(self.settings.device))

        return "cuda" if not (small and self.settings.device is None) and torch.cuda.is_available() else "cpu"

    def dtype(self, device: str, own: str) -> str:
        """The dtype asked for, else float32 on a CPU and `own` elsewhere. Raises: ConfigError `config.dtype`."""
        if self.settings.dtype not in (None, *DTYPES):
            names = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}"
            near = SHORT_DTYPES.get(str(self.settings.dtype))
            raise ConfigError(
                "config.dtype",
                f"--dtype must be {names}, got {self.settings.dtype!r}",
                fix=None if near is None else f"--dtype {near}",
            )
        return self.settings.dtype or ("float32" if device == "cpu" else own)
