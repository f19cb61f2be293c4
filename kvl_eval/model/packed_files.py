"""Packed weights on disk: made once from a checkpoint, memory-mapped by every later run.

    ~/.cache/huggingface/kvl-eval/packed/<weights fingerprint>-int4/layer-01.safetensors ...

A file holds the packed matrices of one decoder layer, `rest` those of everything else. It is written matrix by matrix
under a temporary name and renamed when it is whole, so that an interrupted process continues with the next file. Its
header names the checkpoint, the kind and a SHA-256 of its data; a file that does not fit or whose bytes have changed is
made again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from kvl_eval.byte_bar import byte_bar
from kvl_eval.disk_space import require_space
from kvl_eval.errors import StorageError
from kvl_eval.model.base import PackedPlace
from kvl_eval.model.packed_matrix import PackedForm, PackedValues
from kvl_eval.model.tensor_reader import opened

VERSION = "1"  # of the packed form: files of another one are made again
ALIGNED = 64  # bytes at which data begins
MAX_HEADER = 2**24
AT_ONCE = 2**22
DTYPE_NAMES = {torch.uint8: "U8", torch.int8: "I8", torch.bfloat16: "BF16"}
UNKNOWN = "0" * 64

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of a model that is packed.

    Attributes:
        name: of the matrix, unique in the model.
        form: how it is packed.
        read: gives its values as the checkpoint has them.
        put:  hands its packed form to the module that computes with it.
    """

    name: str
    form: PackedForm
    read: Callable[[], Tensor]
    put: Callable[[PackedValues], None]

    @property
    def bytes(self) -> int:
        """What its packed form takes."""
        return sum(tensor.bytes for tensor in self.form.tensors.values())


def put_packed(place: PackedPlace, files: Mapping[str, Sequence[Matrix]]) -> None:
    """Hand every matrix its packed values, from files that are made where they are missing, odd or damaged.

    Args:
        files: {name of a file: the matrices in it}.
    Raises: StorageError, where there is no room or no permission; what `Matrix.read` raises.
    """
    paths = {place.folder / f"{name}.safetensors": matrices for name, matrices in files.items()}
    total = sum(matrix.bytes for matrices in files.values() for matrix in matrices)
    with byte_bar(f"{place.kind} weights", total) as told:
        missing = {path: matrices for path, matrices in paths.items() if not _is_whole(path, place, matrices, told)}
        if missing:
            _make(place, missing, told)
    for path, matrices in paths.items():
        with opened(path) as file:
            for matrix in matrices:
                values, scales = (file.get_tensor(f"{matrix.name}.{part}") for part in matrix.form.tensors)
                matrix.put(PackedValues(values, scales))


def _make(place: PackedPlace, missing: Mapping[Path, Sequence[Matrix]], told: Told) -> None:
    with _writing(place.folder):
        place.folder.mkdir(parents=True, exist_ok=True)
        with (place.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it: what it has made by then is taken
            left = {path: matrices for path, matrices in missing.items() if not _is_whole(path, place, matrices, told)}
            needed = sum(matrix.bytes for matrices in left.values() for matrix in matrices)
            require_space(place.folder, needed, "packed weights")
            for path, matrices in left.items():
                _write(path, place, matrices, told)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What goes wrong with writing as one StorageError."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            "storage.full" if is_full else "storage.write",
            f"cannot write packed weights to {folder}",
            why=error.strerror or str(error).splitlines()[0],
            fix="free some space or use another folder with --cache-dir, then run the same command again to continue",
        ) from None


def _header(place: PackedPlace, matrices: Sequence[Matrix], sha256: str) -> bytes:
    """Length and header of a file, padded so that the data begins aligned."""
    facts = {"version": VERSION, "weights": place.fingerprint, "kind": place.kind, "sha256": sha256}
    entries: dict[str, object] = {"__metadata__": facts}
    end = 0
    for matrix in matrices:
        for part, tensor in matrix.form.tensors.items():
            begin, end = end, end + tensor.bytes
            entry = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [begin, end]}
            entries[f"{matrix.name}.{part}"] = entry
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    return len(text).to_bytes(8, "little") + text


def _write(path: Path, place: PackedPlace, matrices: Sequence[Matrix], told: Told) -> None:
    draft, digest = path.with_name(f".{path.name}.part"), hashlib.sha256()
    try:
        with draft.open("wb") as file:
            file.write(_header(place, matrices, UNKNOWN))
            for matrix in matrices:
                for tensor in matrix.form.pack(matrix.read()):
                    content = tensor.contiguous().flatten().view(torch.uint8).numpy().data
                    digest.update(content)
                    file.write(content)
                told(matrix.bytes)
            file.seek(0)
            file.write(_header(place, matrices, digest.hexdigest()))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _is_whole(path: Path, place: PackedPlace, matrices: Sequence[Matrix], told: Told) -> bool:
    """Whether a file holds these matrices of this checkpoint, byte for byte as they were written."""
    try:
        with path.open("rb") as file:
            sha256 = _sha256_in_header(file)
            expected = _header(place, matrices, sha256)
            file.seek(0)
            is_fit = file.read(len(expected)) == expected
            if not is_fit or os.fstat(file.fileno()).st_size != len(expected) + sum(one.bytes for one in matrices):
                return False
            digest = hashlib.sha256()
            for content in iter(partial(file.read, AT_ONCE), b""):
                digest.update(content)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if digest.hexdigest() == sha256:
        told(sum(matrix.bytes for matrix in matrices))
        return True
    return False


def _sha256_in_header(file: BinaryIO) -> str:
    """What a header says of its data. Raises: ValueError, KeyError, TypeError, where it is no such header."""
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError("not a file of packed weights")
    return str(json.loads(file.read(length))["__metadata__"]["sha256"])
