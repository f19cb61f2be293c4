"""Names of a checkpoint's tensors: the published ones, and those that transformers gives them in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.model.qwen2_5_vl.config import QwenConfig

if TYPE_CHECKING:
    from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL

RENAMED = (("model.language_model.", "model."), ("model.visual.", "visual."))
HEAD = "lm_head.weight"


def published_name(name: str) -> str:
    """The name as the published checkpoints and this package have it."""
    for written, published in RENAMED:
        if name.startswith(written):
            return published + name.removeprefix(written)
    return name


def wanted(names: Iterable[str], is_tied: bool) -> list[str]:
    """The names of those tensors that the model reads: a tied head is the embedding table, whatever else is there."""
    return [name for name in names if not (is_tied and published_name(name) == HEAD)]


def load(folder: Path, *, dtype: str | None = None, device: str | None = None) -> "Qwen25VL":
    """Interim."""
    import torch
    from safetensors.torch import load_file

    from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
    from kvl_eval.model.weights import weight_files

    config = QwenConfig.from_folder(folder)
    model = Qwen25VL(config)
    tensors = {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}
    model.load_state_dict({published_name(name): tensors[name] for name in wanted(tensors, config.tie_word_embeddings)})
    return model.to(getattr(torch, dtype or "float32")).eval()
