"""Checkpoint files: every tensor by its published name, from and to safetensors.

Weights are read one tensor at a time from memory-mapped files straight into their place on the device; routed experts
land in their slice of the stacked parameter. Nothing is ever unpickled, and no code of a checkpoint is run.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kvl_eval.errors import CheckpointError
from kvl_eval.model.memory import GIB, require_room
from kvl_eval.model.placement import allocate, main_device
from kvl_eval.model.places import Places
from kvl_eval.model.weight_files import INDEX, StoredTensor, broken, stored_weights

log = logging.getLogger(__name__)
Module = TypeVar("Module", bound=nn.Module)

SKIPPED = ("rotary_emb.inv_freq", "cos_cached", "sin_cached")  # tables that old checkpoints carry along
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
FLOAT_FORMATS = ("F32", "BF16", "F16", "F64")
SHOWN = 20
SMALL = 1_000_000_000  # parameters up to which weights are looked through for NaN and infinity by default


def checkpoint_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its published name, as a view into the model's parameters."""
    return {name: view for key, value in model.named_parameters() for name, view in _published(key, value.data)}


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
    make: Callable[[], Module],
    folder: Path,
    own_dtype: str,
    *,
    dtype: str | None,
    device: str | None,
    published: Callable[[str], str | None],
) -> Module:
    """A model in evaluation mode with the weights of a checkpoint folder, all on one device.

    Args:
        make:      builds the model.
        own_dtype: the checkpoint's.
        published: a tensor's name in a file -> its name in the model; None for one that the model does not read.
    Raises: CheckpointError, naming everything that is missing, unexpected, mis-shaped or unreadable.
    """
    target = torch_device(main_device(device))
    with torch.device("meta"):
        model = make().to(torch_dtype(dtype, own_dtype, target))
    return read_weights(model, folder, target, published=published).eval()


def read_weights(
    model: Module,
    folder: Path,
    target: torch.device,
    *,
    places: Places | None = None,
    check_finite: bool | None = None,
    published: Callable[[str], str | None] = str,
) -> Module:
    """A model that lies on the meta device, with memory on `target` or in its places, and a checkpoint's weights."""
    with ExitStack() as stack:
        sources, slots = _opened_tensors(stack, folder, model, published)
        if places is None:
            require_room(weight_bytes(model), target)
        model = materialise(model, target) if places is None else allocate(model, places, materialise)
        if check_finite is None:
            check_finite = sum(slot.numel() for slot in slots.values()) <= SMALL
        _fill(folder, checkpoint_tensors(model), sources, check_finite)
    return model


class _OpenTensor(NamedTuple):
    """A tensor of an opened file."""

    tensor: StoredTensor
    file: Any

    def read(self) -> Tensor:
        """Its values, on the CPU."""
        values: Tensor = self.file.get_tensor(self.tensor.name)
        return values


def check_tensors(
    model: nn.Module, folder: Path, check_finite: bool = False, published: Callable[[str], str | None] = str
) -> int:
    """Compare the weight files of a folder with a model, which may lie on the meta device; how many tensors there are.

    Raises: CheckpointError as `read_weights` does; with `check_finite` also for the first tensor with NaN or infinity.
    """
    with ExitStack() as stack:
        sources, slots = _opened_tensors(stack, folder, model, published)
        for name, source in sources.items() if check_finite else ():
            _require_finite(folder, name, source.read())
    return len(slots)


def checked_tensors(model: nn.Module, folder: Path, published: Callable[[str], str | None] = str) -> str:
    """What `check model` says of the weight files of a model on the meta device. Raises: CheckpointError."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    count = check_tensors(model, folder, check_finite=parameters <= SMALL, published=published)
    finite = ", all finite" if parameters <= SMALL else ", values not looked at"
    return f"{count:,} tensors, {parameters:,} parameters, names and shapes as config.json says{finite}"


def _opened_tensors(
    stack: ExitStack, folder: Path, model: nn.Module, published: Callable[[str], str | None]
) -> tuple[dict[str, _OpenTensor], dict[str, Tensor]]:
    """{name in the model: its tensor in a file} and {name: its place in the model}, which agree."""
    weights = stored_weights(folder)
    for notice in weights.notices:
        log.warning("%s: %s", folder, notice)
    opened = {path: stack.enter_context(_opened(path)) for path in weights.paths}
    sources = {
        name: _OpenTensor(tensor, opened[tensor.file])
        for key, tensor in weights.tensors.items()
        if not key.endswith(SKIPPED) and (name := published(key)) is not None
    }
    slots = checkpoint_tensors(model)
    _compare(folder, slots, {name: source.tensor for name, source in sources.items()})
    return sources, slots


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
            fix="free memory, choose a smaller --dtype, or use another machine",
        ) from None


def _fill(folder: Path, slots: Mapping[str, Tensor], sources: Mapping[str, _OpenTensor], check_finite: bool) -> None:
    for name, source in sources.items():
        tensor = source.read()
        if check_finite:
            _require_finite(folder, name, tensor)
        slots[name].copy_(tensor)


def _require_finite(folder: Path, name: str, tensor: Tensor) -> None:
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(
            "model.weights_nan",
            f"{name} holds NaN or infinite values",
            where=str(folder),
            fix="use another copy of the checkpoint, or train it anew",
        )


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise broken(path, str(error)) from None


def _compare(folder: Path, slots: Mapping[str, Tensor], found: Mapping[str, StoredTensor]) -> None:
    """Raise one error that lists every missing, unexpected and mis-shaped tensor."""
    missing = sorted(set(slots) - set(found))
    unexpected = sorted(set(found) - set(slots))
    wrong = []
    for name in sorted(set(slots) & set(found)):
        expected, shape, form = list(slots[name].shape), list(found[name].shape), found[name].dtype
        if shape != expected or form not in FLOAT_FORMATS:
            wrong.append(f"{name}: expected {expected} float, found {shape} {form}")
    if not (missing or unexpected or wrong):
        return
    lines = [
        *_listed("missing", (f"{name} {list(slots[name].shape)}" for name in missing), len(missing)),
        *_listed("unexpected", (f"{name} {list(found[name].shape)}" for name in unexpected), len(unexpected)),
        *_listed("mis-shaped", wrong, len(wrong)),
    ]
    raise CheckpointError(
        "model.tensors",
        f"{len(missing)} tensors missing, {len(unexpected)} unexpected, {len(wrong)} mis-shaped, of {len(slots)}",
        where=str(folder),
        why="\n".join(lines),
        fix="use config.json and weights of one and the same checkpoint",
    )


def _listed(title: str, items: Iterable[str], count: int) -> list[str]:
    shown = [f"{title}: {item}" for _, item in zip(range(SHOWN), items, strict=False)]
    return [*shown, f"{title}: and {count - SHOWN} more"] if count > SHOWN else shown


def torch_device(device: torch.device | str | None) -> torch.device:
    """A device that can be used; None means the CPU. Raises: CheckpointError."""
    chosen = torch.device("cpu") if device is None else None
    try:
        chosen = chosen or torch.device(device)  # type: ignore[arg-type]
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        available = [
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.mps.is_available() else []),
        ]
        raise CheckpointError(
            "model.device",
            f"device {device!s} cannot be used",
            why=f"available here: {', '.join(available)}; torch says: {str(error).splitlines()[0]}",
            fix="choose one of the available devices",
        ) from None
    return chosen


def torch_dtype(dtype: torch.dtype | str | None, own: str, device: torch.device) -> torch.dtype:
    """The dtype of a model; None means float32 on a CPU and the checkpoint's own elsewhere. Raises: CheckpointError."""
    if dtype is None:
        dtype = "float32" if device.type == "cpu" else own
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise CheckpointError("model.dtype", f"dtype {name} is not supported", why=f"accepted: {', '.join(DTYPES)}")
    if name == "float64" and device.type == "mps":
        raise CheckpointError(
            "model.dtype", "device mps computes nothing in float64", fix="use --device cpu or float32"
        )
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
