"""A checkpoint's weights and stop ids; a model as a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from kvl_eval.model.devices import torch_device
from kvl_eval.model.files import read_json
from kvl_eval.model.forms import refuse_form
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.kimi_vl.architecture import ARCHITECTURE
from kvl_eval.model.kimi_vl.attention import check_device
from kvl_eval.model.kimi_vl.config import KimiVLConfig
from kvl_eval.model.placement import dispatch, main_device, wanted_places
from kvl_eval.model.places import Places
from kvl_eval.model.regions import compile_for
from kvl_eval.model.tensor_names import PUBLISHED, NameRules, Naming
from kvl_eval.model.weights import (
    Blueprint,
    read_weights,
    torch_dtype,
    write_json,
    write_weights,
)

if TYPE_CHECKING:
    from kvl_eval.model.kimi_vl.model import KimiVL

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound="KimiVL")
HEAD, TABLE = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
NEWER = Naming(
    name="names since transformers 4.52",
    beginnings=(
        ("lm_head.", "language_model.lm_head."),
        ("model.language_model.", "language_model.model."),
        ("model.", ""),
    ),
)


def load_model(
    kind: type[Model],
    path_or_repo: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | Places | None = None,
    check_finite: bool | None = None,
) -> Model:
    """A model in evaluation mode with the weights of a checkpoint; see `KimiVL.from_pretrained`.

    `check_finite` looks for NaN and infinity in the weights; None means: in models of up to a billion parameters.
    """
    folder = checkpoint_folder(path_or_repo, revision)
    refuse_form(folder)
    values = read_json(folder / "config.json")
    config = KimiVLConfig.from_dict(values)
    if "auto_map" in values:
        log.info(
            "%s refers to its own code (auto_map); it is not run, the bundled implementation is used in its place",
            folder,
        )
    target = torch_device(main_device(device))
    wanted = torch_dtype(dtype, config.torch_dtype, target)
    check_device(config.text_config, target, wanted)
    plan = _blueprint(kind, config)
    plan.require_count(folder)
    model = plan.on_meta().to(wanted)
    places = wanted_places(model, device, ARCHITECTURE.whole_classes)
    model = read_weights(model, folder, target, places=places, check_finite=check_finite, rules=plan.rules)
    model.stop_token_ids = ARCHITECTURE.stop_ids(folder)
    compile_for(target, sum(parameter.numel() for parameter in model.parameters()))
    return model.eval() if places is None else place(model.eval(), places)


def blueprint(folder: Path) -> Blueprint[KimiVL]:
    """Of the model of a checkpoint folder. Raises: CheckpointError."""
    from kvl_eval.model.kimi_vl.model import KimiVL

    return _blueprint(KimiVL, KimiVLConfig.from_folder(folder))


def _blueprint(kind: type[Model], config: KimiVLConfig) -> Blueprint[Model]:
    text = config.text_config
    more = range(text.num_hidden_layers, text.num_hidden_layers + text.num_nextn_predict_layers)
    rules = NameRules(
        namings=(PUBLISHED, NEWER),
        unread=tuple(f"language_model.model.layers.{layer}." for layer in more),
        tied=(HEAD, TABLE) if text.tie_word_embeddings else None,
        experts=text.n_routed_experts,
    )
    return Blueprint(make=partial(kind, config), dtype=config.torch_dtype, groups=config.tensor_groups(), rules=rules)


def place(model: Model, places: Places, folder: str | None = None) -> Model:
    """The model with its layers on several devices; `folder` takes what is placed on `disk`."""
    names = [f"language_model.model.layers.{index}" for index in range(len(model.language_model.model.layers))]
    model.layer_devices = dispatch(model, places, names, ARCHITECTURE.whole_classes, folder)
    return model


def save_checkpoint(
    model: KimiVL, folder: str | Path, *, dtype: torch.dtype | None = None, max_shard_bytes: int = 5_000_000_000
) -> None:
    """Write `config.json`, `generation_config.json` and the weights under their published names.

    Args:
        dtype:           stored form of every tensor; None keeps the model's.
        max_shard_bytes: a new safetensors file begins where the last would become larger.
    The tokenizer's and the processor's files are written by `KimiVLProcessor.save`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = dtype or model.dtype
    write_weights(model, folder, stored, max_shard_bytes)
    config = replace(model.config, torch_dtype=str(stored).removeprefix("torch.")).to_dict()
    write_json(folder / "config.json", config)
    ids = {key: config[key] for key in ("bos_token_id", "pad_token_id") if config[key] is not None}
    write_json(
        folder / "generation_config.json", {**ids, "eos_token_id": list(model.stop_token_ids) or config["eos_token_id"]}
    )
