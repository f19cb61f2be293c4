"""Forms of a checkpoint that the bundled engine does not run, each named in one sentence. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvl_eval.decode import Json, decode
from kvl_eval.errors import CheckpointError, DecodeError
from kvl_eval.model.files import is_there, read_json, require_file
from kvl_eval.model.weight_files import PICKLES, WeightFiles

GGUF_FIX = "serve it with `llama-server -m X.gguf --mmproj Y.gguf` and use --model endpoint"


SERVED = "use --backend vllm, or serve it and use --model endpoint"
UNMERGED = (".lora_A", ".lora_B", ".lora_embedding", ".base_layer.", ".lora_magnitude_vector")
QUANTIZED_FORMATS = ("F8_", "F4", "I8", "U8", "I4", "U4", "I16", "U16", "I32", "U32", "I64", "U64")


def refuse_form(folder: Path) -> None:
    """Raise CheckpointError `model.form` where a folder holds a model in another form than a whole float checkpoint."""
    refuse_format(folder)
    if is_there(folder / "config.json"):
        _refuse_quantized(folder)


def refuse_format(folder: Path) -> None:
    """Raise CheckpointError `model.form` where a folder holds no whole checkpoint; it may be quantized."""
    weights = [path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_")]
    if is_there(folder / "adapter_config.json") and not (weights and is_there(folder / "config.json")):
        raise _adapter(folder, f"this is {_adapter_name(folder)}, not a complete model")
    names = sorted(path.name for path in folder.glob("*.gguf"))
    if names and not weights:
        raise _gguf(names[0], folder)


def refuse_weights_form(folder: Path, weights: WeightFiles) -> None:
    """Raise CheckpointError `model.form` where the tensors are those of an unmerged adapter, or quantized."""
    unmerged = next((name for name in weights.tensors if any(part in f".{name}" for part in UNMERGED)), None)
    if unmerged is not None:
        raise _adapter(folder, f"the weights contain a LoRA adapter that is not merged: {unmerged}")
    for name, tensor in weights.tensors.items():
        if tensor.dtype.startswith(QUANTIZED_FORMATS) and "weight" in name.rpartition(".")[2]:
            raise _quantized(folder, f"weights of {tensor.dtype}", SERVED, f"{name} is {tensor.dtype}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _AdapterFile:
    """What is used of `adapter_config.json`."""

    base_model_name_or_path: str | None = None
    peft_type: str | None = None


def _adapter_name(folder: Path) -> str:
    try:
        file = decode(_AdapterFile, read_json(folder / "adapter_config.json"))
    except (CheckpointError, DecodeError):
        file = _AdapterFile()
    kind = "a LoRA adapter" if file.peft_type in (None, "LORA") else f"a PEFT adapter ({file.peft_type})"
    return f"{kind} for {file.base_model_name_or_path}" if file.base_model_name_or_path else kind


def _adapter(folder: Path, message: str) -> CheckpointError:
    fix = (
        "merge it (PEFT `merge_and_unload`, then save) and use the merged folder, or serve the base model and the "
        "adapter "
        "with vLLM"
    )
    return CheckpointError("model.form", message, where=str(folder), fix=f"{fix} and use --model endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantization:
    """What is used of `quantization_config` or `quantization`."""

    quant_method: str | None = None
    weight_block_size: tuple[int, ...] | None = None
    bits: int | None = None
    load_in_4bit: bool | None = None

    def described(self, default: str) -> str:
        """The kind of quantization in words."""
        method = self.quant_method or default
        parts = [METHODS.get(method, method)]
        if self.weight_block_size:
            parts.append(f"blocks of {' x '.join(map(str, self.weight_block_size))}")
        bits = 4 if self.load_in_4bit else self.bits
        return ", ".join([*parts, f"{bits} bits"] if bits else parts)


METHODS = {"awq": "AWQ", "gptq": "GPTQ", "mlx": "MLX"}
SECTIONS = ("text_config", "vision_config")


def _refuse_quantized(folder: Path) -> None:
    try:
        values = read_json(folder / "config.json")
    except CheckpointError:
        return  # whoever needs the file says what is wrong with it
    for section in (values, *(values.get(name) for name in SECTIONS)):
        if not isinstance(section, dict):
            continue
        for key, default in (("quantization", "mlx"), ("quantization_config", "method not stated")):
            if section.get(key):
                fix = "serve it with an MLX server and use --model endpoint" if default == "mlx" else SERVED
                raise _quantized(folder, _kind(section[key], default), fix, f"config.json has the field {key}")


def _kind(value: Json, default: str) -> str:
    try:
        return decode(_Quantization, value).described(default)
    except DecodeError:
        return METHODS.get(default, default)


def _quantized(folder: Path, kind: str, fix: str, why: str) -> CheckpointError:
    message = f"this checkpoint is quantized ({kind}); the bundled engine supports float weights only"
    return CheckpointError("model.form", message, where=str(folder), why=why, fix=fix)


def file_refusal(path: Path) -> CheckpointError:
    """The error for a path that exists but is not a folder: what kind of file it is, and what to use instead."""
    try:
        require_file(path)
        with path.open("rb") as file:
            magic = file.read(4)
    except CheckpointError as error:
        return error
    except OSError as error:
        message, fix = f"cannot read {path.name}: {error.strerror}", "check the disk and the permissions"
        return CheckpointError("model.file", message, where=str(path.parent), fix=fix)
    if magic == b"GGUF" or path.suffix == ".gguf":
        return _gguf(path.name, path.parent)
    if path.suffix == ".safetensors":
        return _refusal(path, "is a weight file, but a model is a folder", f"use its folder: {path.parent}")
    if path.suffix.lstrip(".") in PICKLES:
        return _refusal(
            path,
            "is a file of pickled weights, which can run code and are not read",
            "convert it to safetensors and use its folder",
        )
    if magic[:2] == b"PK":
        return _refusal(path, "is a zip archive, but a model is a folder", "unpack it and use the folder")
    return _refusal(path, "is a file, but a model is a folder", f"use a folder: {path.parent}")


def _refusal(path: Path, kind: str, fix: str) -> CheckpointError:
    return CheckpointError("model.form", f"{path.name} {kind}", where=str(path), fix=fix)


def _gguf(name: str, folder: Path) -> CheckpointError:
    return CheckpointError(
        "model.form",
        f"{name}: the bundled engine does not support GGUF, the format of llama.cpp",
        where=str(folder),
        fix=GGUF_FIX,
    )
