"""The architectures that the bundled engine runs: one line each. Imports no torch.

A package of an architecture (`kvl_eval/model/NAME/`) has a module `architecture` with the record `ARCHITECTURE`, and a
module `families` with the record's `FAMILIES`, which is read by itself where nothing but a family is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kvl_eval.errors import CheckpointError, unknown
from kvl_eval.families import Families, ModelFamily
from kvl_eval.model.base import Architecture
from kvl_eval.model.files import read_json
from kvl_eval.model.kimi_vl.families import OTHER, SCRIPTED
from kvl_eval.pictures import PictureRule

PACKAGES = {
    "kimi_vl": "kvl_eval.model.kimi_vl",
    "qwen2_5_vl": "kvl_eval.model.qwen2_5_vl",
}
"""{`model_type` of config.json: package}; the package is imported when a checkpoint asks for it."""


def architecture(model_type: str) -> Architecture:
    """The record of an architecture. Raises: CheckpointError, for one that the bundled engine does not run."""
    if model_type not in PACKAGES:
        raise CheckpointError(
            "model.config",
            f"model_type is {model_type!r}",
            where="config.json",
            why=f"the bundled engine supports {', '.join(PACKAGES)}",
            fix="use --backend vllm, or --model hf:NAME to run it with transformers",
        )
    record: Architecture = import_module(f"{PACKAGES[model_type]}.architecture").ARCHITECTURE
    return record


def architecture_of(folder: Path) -> Architecture:
    """The record of a checkpoint folder's architecture. Raises: CheckpointError."""
    return architecture(str(read_json(folder / "config.json").get("model_type")))


def served_rule() -> PictureRule:
    """How large pictures may be that are sent to models which prepare them themselves: as those of Kimi-VL."""
    return architecture(OTHER.model_type).default_rule


def families(model_type: str | None) -> Families:
    """The families of an architecture; those of Kimi-VL for one that the bundled engine does not run."""
    package = PACKAGES.get(model_type or "", PACKAGES[OTHER.model_type])
    record: Families = import_module(f"{package}.families").FAMILIES
    return record


def family_named(name: str) -> ModelFamily:
    """The family that a user names. Raises: UsageError, with the nearest names."""
    records = _all_families()
    if name not in records:
        raise unknown("family", name, list(records), "kvl-eval run --help")
    return records[name]


def stored_family(name: str) -> ModelFamily:
    """The family that a run folder or a backend names; `other` for an unknown name."""
    return SCRIPTED if name == SCRIPTED.name else _all_families().get(name, OTHER)


def _all_families() -> dict[str, ModelFamily]:
    return {name: family for model_type in PACKAGES for name, family in families(model_type).records.items()}
