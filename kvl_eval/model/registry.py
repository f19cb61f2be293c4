"""The architectures that the bundled engine runs: one line each. Imports no torch.

A package of an architecture (`kvl_eval/model/NAME/`) has a module `architecture` with the record `ARCHITECTURE`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.base import Architecture
from kvl_eval.model.files import read_json
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.pictures import PictureRule

PACKAGES = {
    "kimi_vl": "kvl_eval.model.kimi_vl",
    "qwen2_5_vl": "kvl_eval.model.qwen2_5_vl",
}
"""{`model_type` of config.json: package}; the package is imported when a checkpoint asks for it."""


SERVED_RULE: PictureRule = PreprocessorConfig()
"""How large pictures may be that are sent to models which prepare them themselves."""


def architecture(model_type: str) -> Architecture:
    """The record of an architecture. Raises: CheckpointError, for one that the bundled engine does not run."""
    if model_type not in PACKAGES:
        raise CheckpointError(
            "model.config",
            f"model_type is {model_type!r}",
            where="config.json",
            why=f"the bundled engine runs {', '.join(PACKAGES)}",
            fix="put hf: before the name to run it through transformers, or serve it and use --model endpoint",
        )
    record: Architecture = import_module(f"{PACKAGES[model_type]}.architecture").ARCHITECTURE
    return record


def architecture_of(folder: Path) -> Architecture:
    """The record of a checkpoint folder's architecture. Raises: CheckpointError."""
    return architecture(str(read_json(folder / "config.json").get("model_type")))
