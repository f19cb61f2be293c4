"""A checkpoint's weights: by the published names, or by those that transformers gives them in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kvl_eval.model.forms import refuse_form
from kvl_eval.model.qwen2_5_vl.attention import check_device
from kvl_eval.model.qwen2_5_vl.config import QwenConfig
from kvl_eval.model.qwen2_5_vl.qwen2_5_vl import Qwen25VL
from kvl_eval.model.tensor_names import PUBLISHED, NameRules, Naming
from kvl_eval.model.weights import Blueprint, load_on_one_device

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"
NEWER = Naming(
    name="names since transformers 4.52",
    beginnings=(("model.language_model.", "model."), ("model.visual.", "visual.")),
)


def load(folder: Path, *, dtype: str | None = None, device: str | None = None) -> Qwen25VL:
    """The model of a checkpoint folder in evaluation mode.

    Raises: CheckpointError, naming everything that is missing, unexpected, mis-shaped or unreadable.
    """
    refuse_form(folder)
    text = QwenConfig.from_folder(folder).text_config
    return load_on_one_device(
        blueprint(folder), folder, dtype=dtype, device=device, check_device=partial(check_device, text)
    )


def blueprint(folder: Path) -> Blueprint[Qwen25VL]:
    """Of the model of a checkpoint folder. Raises: CheckpointError."""
    config = QwenConfig.from_folder(folder)
    rules = NameRules(namings=(PUBLISHED, NEWER), tied=(HEAD, TABLE) if config.tie_word_embeddings else None)
    return Blueprint(
        make=partial(Qwen25VL, config), dtype=config.torch_dtype, groups=config.tensor_groups(), rules=rules
    )
