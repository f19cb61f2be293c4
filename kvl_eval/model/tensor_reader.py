"""Tensors of a safetensors file: memory-mapped where the system allows it, else read one by one.

A private mapping of 30 GB is refused on a machine with less memory (`vm.overcommit_memory` 0 or 2, `ulimit -v`), though
no byte of it would ever be written. Then each tensor is read into memory of its own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kvl_eval.model.weight_files import broken, file_header

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
    "U8": torch.uint8,
}


class DirectFile:
    """A safetensors file without a memory map; `get_tensor` and `get_slice` as of `safe_open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tensors = {tensor.name: tensor for tensor in file_header(path).tensors}
        with path.open("rb") as file:
            self._data = 8 + int.from_bytes(file.read(8), "little")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open."""

    def get_tensor(self, name: str) -> Tensor:
        """A tensor's values. Raises: CheckpointError, where shape and bytes do not agree."""
        tensor = self._tensors[name]
        return self._read(name, tensor.begin, tensor.end, tensor.shape)

    def get_slice(self, name: str) -> _TensorParts:
        """A tensor whose parts along its first dimension are read when they are asked for."""
        tensor = self._tensors[name]
        size = (tensor.end - tensor.begin) // max(1, tensor.shape[0])

        def part(index: int) -> Tensor:
            begin = tensor.begin + index * size
            return self._read(name, begin, begin + size, tensor.shape[1:])

        return _TensorParts(part)

    def _read(self, name: str, begin: int, end: int, shape: tuple[int, ...]) -> Tensor:
        dtype = DTYPES.get(self._tensors[name].dtype)
        if dtype is None or torch.Size(shape).numel() * dtype.itemsize != end - begin:
            raise broken(self._path, f"the size of {name} does not match its shape and dtype")
        content = bytearray(end - begin)
        with self._path.open("rb") as file:
            file.seek(self._data + begin)
            if file.readinto(content) != len(content):
                raise broken(self._path, f"{name} is truncated", is_cut=True)
        return torch.frombuffer(content, dtype=dtype).view(shape) if content else torch.empty(shape, dtype=dtype)


class _TensorParts:
    """What `get_slice` gives: `parts[index]`."""

    def __init__(self, part: Callable[[int], Tensor]) -> None:
        self._part = part

    def __getitem__(self, index: int) -> Tensor:
        return self._part(index)


def opened(path: Path) -> Any:
    """A safetensors file with `get_tensor` and `get_slice`, to be used in `with`. Raises: CheckpointError."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, MemoryError, ValueError, RuntimeError) as error:
        if _is_map_refused(error):
            return DirectFile(path)
        raise broken(path, str(error)) from None


def _is_map_refused(error: Exception) -> bool:
    """Whether the system has no room for a mapping; the file may be whole."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error) for words in ("unable to mmap", "Cannot allocate memory"))
