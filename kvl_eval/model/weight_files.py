"""Which file of a checkpoint folder holds which tensor, from the headers of safetensors files. Imports no torch.

With an index, the index decides for each tensor. Without one, every safetensors file of the folder counts, and a tensor
that two of them hold is an error: nothing says which is meant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from kvl_eval.decode import Between, decode, read_json
from kvl_eval.errors import CheckpointError, DecodeError
from kvl_eval.model import files
from kvl_eval.model.files import is_there, require_file

INDEX = "model.safetensors.index.json"
NOT_WEIGHTS = ("adapter_", "optimizer", "consolidated")  # files beside the weights that begin so
PICKLES = ("bin", "pt", "pth", "ckpt")
MAX_HEADER = 100 * 2**20  # the limit of the format
NAMED = 5  # files or tensors that an error lists

Offset = Annotated[int, Between(0, 2**62)]


@dataclass(frozen=True, slots=True)
class _TensorEntry:
    """A tensor in a header as safetensors writes it."""

    dtype: str
    shape: tuple[Offset, ...]
    data_offsets: tuple[Offset, Offset]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor in a file: its shape, its dtype as safetensors names it, where it lies in the file's data, in bytes."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Numbers that it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """The header of a safetensors file: as JSON with sorted names, and its tensors."""

    text: str
    tensors: tuple[StoredTensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The weights of a checkpoint folder.

    Attributes:
        paths:   the files that hold them, in order of names.
        tensors: {name in the file: tensor}.
        notices: what lies beside them and is not used, in sentences.
    """

    paths: tuple[Path, ...]
    tensors: Mapping[str, StoredTensor]
    notices: tuple[str, ...] = ()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder. Raises: CheckpointError as `stored_weights` does."""
    return list(stored_weights(folder).paths)


def stored_weights(folder: Path) -> WeightFiles:
    """Every tensor of a checkpoint folder, and its file.

    Raises: CheckpointError, if files are missing, odd or broken, if index and files contradict each other, if a tensor
    is there twice, or if only pickled weights are there.
    """
    beside = _safetensors(folder)
    if is_there(folder / INDEX):
        return _indexed(folder, beside)
    if not beside:
        raise _no_weights(folder)
    tensors: dict[str, StoredTensor] = {}
    for path in beside:
        own = {tensor.name: tensor for tensor in file_header(path).tensors}
        require_once(tensors, own)
        tensors |= own
    return WeightFiles(paths=tuple(beside), tensors=tensors, notices=_adapter_notices(folder))


def require_once(first: Mapping[str, StoredTensor], second: Mapping[str, StoredTensor]) -> None:
    """Raise CheckpointError `model.duplicate` where both hold a tensor of one name."""
    twice = sorted(first.keys() & second.keys())
    if not twice:
        return
    one, other = first[twice[0]].file, second[twice[0]].file
    more = f" and {len(twice) - 1:,} more are" if len(twice) > 1 else " is"
    raise CheckpointError(
        "model.duplicate",
        f"{twice[0]}{more} in two files, {one.name} and {other.name}",
        where=str(one.parent),
        why="without an index it is not clear which of the two to use",
        fix="move one set of weight files to another folder",
    )


def _safetensors(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.safetensors"))
    return [path for path in paths if not path.name.startswith(NOT_WEIGHTS)]


def _adapter_notices(folder: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in folder.glob("adapter_*.safetensors"))
    return tuple(f"{name} is not applied" for name in names)


def _indexed(folder: Path, beside: list[Path]) -> WeightFiles:
    """The tensors that the index places, each from its file."""
    places = _places(folder / INDEX)
    paths = [folder / name for name in sorted(set(places.values()))]
    absent = [path.name for path in paths if not is_there(path)]
    if absent:
        _refuse_stale(folder, places, beside)
        names = ", ".join(absent[:NAMED]) + (f" and {len(absent) - NAMED:,} more" if len(absent) > NAMED else "")
        raise CheckpointError(
            "model.shards",
            f"{len(absent)} of {len(paths)} weight files are missing: {names}",
            where=str(folder),
            why=f"{INDEX} names them",
            fix="copy the missing files into the folder",
        )
    headers = {path.name: {tensor.name: tensor for tensor in file_header(path).tensors} for path in paths}
    lacking = [name for name, file in places.items() if name not in headers[file]]
    elsewhere = [name for name in lacking if any(name in own for own in headers.values())]
    if elsewhere:
        more = f" (and {len(elsewhere) - 1:,} more)" if len(elsewhere) > 1 else ""
        raise CheckpointError(
            "model.index",
            f"{INDEX} lists {elsewhere[0]}{more} in {places[elsewhere[0]]}, but another file contains it",
            where=str(folder),
            fix="use the index and the weight files of one export",
        )
    unplaced = [name for file, own in headers.items() for name in own if places.get(name) != file]
    notices = [f"{len(unplaced):,} tensors are not in the index and are not used: {unplaced[0]}"] if unplaced else []
    notices += [f"{path.name} is not in the index and is not used" for path in beside if path.name not in headers]
    tensors = {name: headers[file][name] for name, file in places.items() if name in headers[file]}
    return WeightFiles(paths=tuple(paths), tensors=tensors, notices=(*notices, *_adapter_notices(folder)))


def _places(index: Path) -> dict[str, str]:
    """{tensor: name of its file} as an index says. Raises: CheckpointError."""
    try:
        places = decode(dict[str, str], files.read_json(index).get("weight_map"), "weight_map")
    except DecodeError as error:
        raise _bad_index(index, error.message) from None
    if not all(name.endswith(".safetensors") and Path(name).name == name for name in places.values()):
        raise _bad_index(index, "it names a file that is not a safetensors file of this folder")
    return places


def _bad_index(index: Path, why: str) -> CheckpointError:
    return CheckpointError(
        "model.index", f"{INDEX} has no usable weight_map", where=str(index), why=why, fix="download it again"
    )


def _refuse_stale(folder: Path, places: Mapping[str, str], beside: Iterable[Path]) -> None:
    """Raise CheckpointError where files that the index does not name hold every tensor that it does."""
    others = [path for path in beside if path.name not in places.values()]
    stored = {tensor.name for path in others for tensor in file_header(path).tensors}
    if others and places.keys() <= stored:
        names = ", ".join(path.name for path in others[:NAMED])
        raise CheckpointError(
            "model.index",
            f"{INDEX} names missing files, while {names} contains all {len(places):,} tensors: the index is stale",
            where=str(folder),
            fix=f"remove {INDEX}",
        )


def _no_weights(folder: Path) -> CheckpointError:
    pickled = sorted(path.name for ending in PICKLES for path in folder.glob(f"*.{ending}"))
    return CheckpointError(
        "model.pickle" if pickled else "model.no_weights",
        f"no safetensors files, only {', '.join(pickled[:3])}" if pickled else "no safetensors files",
        where=str(folder),
        why="pickled weights can run code and are not read" if pickled else None,
        fix="use a checkpoint in safetensors format",
    )


def file_header(path: Path) -> TensorHeader:
    """The header of a safetensors file.

    Raises: CheckpointError, if the file is odd, or the header longer than it or 100 MiB, no JSON object, or places a
    tensor outside the file.
    """
    require_file(path)
    state = path.stat()
    return _header_of(path, state.st_size, (state.st_ino, state.st_mtime_ns))


@lru_cache(maxsize=64)
def _header_of(path: Path, size: int, _: tuple[int, int]) -> TensorHeader:
    """The header of a file in this state: what reads a checkpoint asks for it several times."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 2 <= length <= min(MAX_HEADER, size - 8) else b""
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        is_cut = size < 8 or 2 <= length <= MAX_HEADER
        raise broken(path, f"the header has {length} bytes, the file {size}", is_cut=is_cut)
    try:
        header = read_json(text)
    except DecodeError as error:
        raise broken(path, error.message) from None
    if not isinstance(header, dict):
        raise broken(path, "the header is not a JSON object")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    tensors = tuple(_tensor(name, entry, path) for name, entry in entries.items())
    needed, room = max((tensor.end for tensor in tensors), default=0), size - 8 - length
    if needed > room:
        raise broken(path, f"its header describes {needed:,} bytes of data, the file has {room:,}", is_cut=True)
    return TensorHeader(text=json.dumps(header, sort_keys=True), tensors=tensors)


def _tensor(name: str, entry: object, path: Path) -> StoredTensor:
    try:
        tensor = decode(_TensorEntry, entry, name)
    except DecodeError as error:
        raise broken(path, error.message) from None
    begin, end = tensor.data_offsets
    if begin > end:
        raise broken(path, f"{name} ends before it begins")
    return StoredTensor(name=name, file=path, shape=tensor.shape, dtype=tensor.dtype, begin=begin, end=end)


def broken(path: Path, why: str, *, is_cut: bool = False) -> CheckpointError:
    """The error of a file that is not a safetensors file; `is_cut`: it is shorter than its own header says."""
    return CheckpointError(
        "model.safetensors",
        f"{path.name} is not a valid safetensors file",
        where=str(path),
        why=why,
        fix="download the file again" if is_cut else "use another copy of the file",
    )
