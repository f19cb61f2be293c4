"""A checkpoint's weights: by the published names, or by those that transformers gives them in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from kvl_eval.model.qwen2_5_vl.config import QwenConfig
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.model.weights import check_tensors, checked_tensors, load_on_one_device

RENAMED = (("model.language_model.", "model."), ("model.visual.", "visual."))
HEAD = "lm_head.weight"


def load(folder: Path, *, dtype: str | None = None, device: str | None = None) -> Qwen25VL:
    """The model of a checkpoint folder in evaluation mode.

    Raises: CheckpointError, naming everything that is missing, unexpected, mis-shaped or unreadable.
    """
    config = QwenConfig.from_folder(folder)
    return load_on_one_device(
        partial(Qwen25VL, config),
        folder,
        config.torch_dtype,
        dtype=dtype,
        device=device,
        published=names_of(config),
    )


def check_headers(folder: Path) -> int:
    """Tensors of the weight files. Raises: CheckpointError, where their headers are not those of the model."""
    config = QwenConfig.from_folder(folder)
    return check_tensors(_on_meta(config), folder, published=names_of(config))


def checked_weights(folder: Path) -> str:
    """What `check model` says of the weight files. Raises: CheckpointError."""
    config = QwenConfig.from_folder(folder)
    return checked_tensors(_on_meta(config), folder, names_of(config))


def _on_meta(config: QwenConfig) -> Qwen25VL:
    with torch.device("meta"):
        return Qwen25VL(config)


def names_of(config: QwenConfig) -> Callable[[str], str | None]:
    """A tensor's name in a file -> its name in the model."""
    return partial(published_name, is_tied=config.tie_word_embeddings)


def published_name(name: str, is_tied: bool) -> str | None:
    """The name as the model has it; None for a tied head, which is the embedding table whatever a file holds."""
    for written, published in RENAMED:
        if name.startswith(written):
            return published + name.removeprefix(written)
    return None if is_tied and name == HEAD else name
