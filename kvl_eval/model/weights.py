"""Checkpoint files: every tensor by its published name, from and to safetensors.

Weights are read one tensor at a time from memory-mapped files straight into their place on the device; routed experts
land in their slice of the stacked parameter. Nothing is ever unpickled, and no code of a checkpoint is run.
"""

import json
import logging
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kvl_eval.errors import CheckpointError
from kvl_eval.model.config_fields import TensorGroup
from kvl_eval.model.devices import torch_device
from kvl_eval.model.forms import refuse_weights_form
from kvl_eval.model.memory import GIB, require_room
from kvl_eval.model.meta import on_meta
from kvl_eval.model.placement import allocate, main_device
from kvl_eval.model.places import Places
from kvl_eval.model.tensor_names import STACKED, NameRules, Shape, fitted
from kvl_eval.model.tensor_reader import opened
from kvl_eval.model.weight_files import INDEX, StoredTensor, stored_weights

log = logging.getLogger(__name__)
Module = TypeVar("Module", bound=nn.Module)

PLAIN = NameRules()
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
SPARE = 100_000  # tensors that a configuration may describe beyond those of the files, so that all can be listed
SMALL = 1_000_000_000  # parameters up to which weights are looked through for NaN and infinity by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint(Generic[Module]):
    """What a loader must know of a model before it is built.

    Attributes:
        make:   builds it.
        dtype:  the checkpoint's own.
        groups: its tensors by size, as the configuration describes them.
        rules:  how they may be named in files.
    """

    make: Callable[[], Module]
    dtype: str
    groups: Sequence[TensorGroup]
    rules: NameRules

    def require_count(self, folder: Path) -> None:
        """Raise CheckpointError where far more tensors are described than the folder's files hold; builds nothing."""
        weights = stored_weights(folder)
        refuse_weights_form(folder, weights)
        each = self.rules.experts
        saved = sum(
            2 * each - 1 if name.endswith(STACKED[0]) else each - 1 for name in weights.tensors if is_stacked(name)
        )
        expected, count = sum(group.count for group in self.groups) - saved, len(weights.tensors)
        if expected > count + SPARE:
            raise CheckpointError(
                "model.tensors",
                f"config.json describes {expected:,} tensors, but the weight files contain {count:,}",
                where=str(folder),
                fix="use config.json and weights of one checkpoint",
            )

    def on_meta(self) -> Module:
        """The model without memory."""
        return on_meta(self.make)


def is_stacked(name: str) -> bool:
    """Whether a tensor in a file holds all experts of a layer."""
    return name.endswith(STACKED)


def checkpoint_tensors(model: nn.Module, stored: Container[str] = ()) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its published name, as a view into the model's parameters.

    Experts that are among the `stored` names as one stacked tensor stay one.
    """
    parameters = [(key, value.data) for key, value in model.named_parameters()]
    return {
        name: view
        for key, value in parameters
        for name, view in ([(key, value)] if key in stored else _published(key, value))
    }


def _published(key: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    prefix, _, last = key.rpartition(".")
    if not prefix.endswith(".experts"):
        yield key, value
        return
    for expert, weight in enumerate(value):
        if last == "gate_up_proj":
            gate, up = weight.chunk(2)
            yield f"{prefix}.{expert}.gate_proj.weight", gate
            yield f"{prefix}.{expert}.up_proj.weight", up
        else:
            yield f"{prefix}.{expert}.{last}.weight", weight


def load_on_one_device(
    blueprint: Blueprint[Module],
    folder: Path,
    *,
    dtype: str | None,
    device: str | None,
    check_device: Callable[[torch.device, torch.dtype], None],
) -> Module:
    """A model in evaluation mode with the weights of a checkpoint folder, all on one device.

    `check_device` raises where the device computes wrongly. Raises: CheckpointError, naming everything that is missing,
    unexpected, mis-shaped or unreadable.
    """
    blueprint.require_count(folder)
    target = torch_device(main_device(device))
    wanted = torch_dtype(dtype, blueprint.dtype, target)
    check_device(target, wanted)
    return read_weights(blueprint.on_meta().to(wanted), folder, target, rules=blueprint.rules).eval()


def read_weights(
    model: Module,
    folder: Path,
    target: torch.device,
    *,
    places: Places | None = None,
    check_finite: bool | None = None,
    rules: NameRules = PLAIN,
) -> Module:
    """A model that lies on the meta device, with memory on `target` or in its places, and a checkpoint's weights."""
    with ExitStack() as stack:
        sources = opened_tensors(stack, folder, model, rules).sources
        if places is None:
            require_room(weight_bytes(model), target)
        model = materialise(model, target) if places is None else allocate(model, places, materialise)
        slots = checkpoint_tensors(model, sources)
        if check_finite is None:
            check_finite = sum(slot.numel() for slot in slots.values()) <= SMALL
        fill(folder, slots, sources, check_finite)
    return model


class OpenTensor(NamedTuple):
    """A tensor of an opened file."""

    tensor: StoredTensor
    file: Any

    def read(self) -> Tensor:
        """Its values, on the CPU."""
        values: Tensor = self.file.get_tensor(self.tensor.name)
        return values

    def part(self, index: int) -> Tensor:
        """Values of one of the parts that are stacked in it."""
        values: Tensor = self.file.get_slice(self.tensor.name)[index]
        return values


class OpenTensors(NamedTuple):
    """Tensors by their name in the model, and how the files name them where not as published."""

    sources: Mapping[str, OpenTensor]
    form: str | None


def check_headers(blueprint: Blueprint[Module], folder: Path) -> str | None:
    """How the weight files name their tensors, where not as published; values are not read, but for a tied head.

    Raises: CheckpointError, where the files' headers are not those of the model.
    """
    blueprint.require_count(folder)
    with ExitStack() as stack:
        return opened_tensors(stack, folder, blueprint.on_meta(), blueprint.rules).form


def check_tensors(model: nn.Module, folder: Path, check_finite: bool = False, rules: NameRules = PLAIN) -> int:
    """Compare the weight files of a folder with a model, which may lie on the meta device; how many tensors there are.

    Raises: CheckpointError as `read_weights` does; with `check_finite` also for the first tensor with NaN or infinity.
    """
    with ExitStack() as stack:
        sources = opened_tensors(stack, folder, model, rules).sources
        for name, source in sources.items() if check_finite else ():
            _require_finite(folder, name, source.read())
    return len(sources)


def checked_weights(blueprint: Blueprint[Module], folder: Path) -> str:
    """What `check model` says of the weight files. Raises: CheckpointError."""
    form = check_headers(blueprint, folder)
    parameters = sum(group.count * group.size for group in blueprint.groups)
    is_small = parameters <= SMALL
    count = check_tensors(blueprint.on_meta(), folder, check_finite=is_small, rules=blueprint.rules)
    names = "names and shapes match config.json" if form is None else f"in another naming scheme ({form})"
    finite = "all finite" if is_small else "values not checked"
    return f"{count:,} tensors, {parameters:,} parameters, {names}, {finite}"


def opened_tensors(stack: ExitStack, folder: Path, model: nn.Module, rules: NameRules) -> OpenTensors:
    """The tensors of a folder by their names in the model. Raises: CheckpointError as `read_weights` does."""
    weights = stored_weights(folder)
    files = {path: stack.enter_context(opened(path)) for path in weights.paths}

    def slots(stored: Container[str]) -> Mapping[str, Shape]:
        return {name: tuple(value.shape) for name, value in checkpoint_tensors(model, stored).items()}

    fit = fitted(folder, weights, rules, slots)
    for notice in fit.notices:
        log.warning("%s: %s", folder, notice)
    if fit.twins is not None:
        _require_equal(folder, *(OpenTensor(tensor, files[tensor.file]) for tensor in fit.twins))
    sources = {name: OpenTensor(tensor, files[tensor.file]) for name, tensor in fit.tensors.items()}
    return OpenTensors(sources, fit.form)


def _require_equal(folder: Path, head: OpenTensor, table: OpenTensor) -> None:
    """Raise CheckpointError where an output head that should be the embedding table is another tensor."""
    if head.tensor.shape != table.tensor.shape or not torch.equal(head.read().float(), table.read().float()):
        raise CheckpointError(
            "model.tied_head",
            f"{head.tensor.name} differs from {table.tensor.name}, though tie_word_embeddings is true",
            where=str(folder),
            fix="set tie_word_embeddings to false in config.json, or remove the wrong tensor",
        )


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters in their dtype, wherever they lie."""
    return sum(parameter.nbytes for parameter in model.parameters())


def materialise(model: Module, device: torch.device) -> Module:
    """The model with uninitialised memory for every parameter. Raises: CheckpointError, if there is too little."""
    try:
        return model.to_empty(device=device)
    except (MemoryError, RuntimeError) as error:
        needed = weight_bytes(model)
        require_room(needed, device)
        raise CheckpointError(
            "model.memory",
            f"not enough memory on {device}: the weights need {needed / GIB:,.1f} GiB, which cannot be allocated",
            why=str(error).splitlines()[0],
            fix="free some memory, use a smaller --dtype or another machine",
        ) from None


def fill(folder: Path, slots: Mapping[str, Tensor], sources: Mapping[str, OpenTensor], check_finite: bool) -> None:
    """Copy every source into its slot. Raises: CheckpointError, with `check_finite` for NaN and infinity."""
    for name, source in sources.items():
        tensor = source.read()
        if check_finite:
            _require_finite(folder, name, tensor)
        slots[name].copy_(tensor)


def _require_finite(folder: Path, name: str, tensor: Tensor) -> None:
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(
            "model.weights_nan",
            f"{name} contains NaN or infinite values",
            where=str(folder),
            fix="use another copy of the checkpoint, or train it again",
        )


def torch_dtype(dtype: torch.dtype | str | None, own: str, device: torch.device) -> torch.dtype:
    """The dtype of a model; None means float32 on a CPU and the checkpoint's own elsewhere. Raises: CheckpointError."""
    if dtype is None:
        dtype = "float32" if device.type == "cpu" else own
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise CheckpointError("model.dtype", f"dtype {name} is not supported", fix=f"use one of {', '.join(DTYPES)}")
    if name == "float64" and device.type == "mps":
        raise CheckpointError("model.dtype", "mps does not support float64", fix="use --device cpu or float32")
    return DTYPES[name]


def write_weights(model: nn.Module, folder: Path, stored: torch.dtype, max_shard_bytes: int) -> None:
    """The weights under their published names, in files of at most so many bytes where tensors allow it."""
    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard_bytes
    tensors = checkpoint_tensors(model)
    for name, tensor in tensors.items():
        size = tensor.numel() * stored.itemsize
        if shards[-1] and size > room:
            shards.append({})
            room = max_shard_bytes
        shards[-1][name] = tensor
        room -= size
    names = _shard_names(len(shards))
    for name, shard in zip(names, shards, strict=True):
        packed = {key: tensor.to("cpu", stored).contiguous().clone() for key, tensor in shard.items()}
        save_file(packed, folder / f".{name}.part", metadata={"format": "pt"})
        (folder / f".{name}.part").chmod(0o644)
        os.replace(folder / f".{name}.part", folder / name)
    if len(shards) > 1:
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        total = sum(tensor.numel() * stored.itemsize for tensor in tensors.values())
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """A JSON object in the form of published checkpoints."""
    path.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
