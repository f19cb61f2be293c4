"""Hashes that tell one checkpoint from another without loading it. Imports no torch.

`weights_sha256` covers, for every safetensors file in order of names, its whole header (names, shapes, dtypes, places)
and its data: all of it in checkpoints of up to 256 MiB, else the first and the last 4 KiB of every tensor. So a
retrained or fine-tuned checkpoint always differs; a single damaged byte inside a large tensor may not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

from kvl_eval.decode import Json
from kvl_eval.families import CONFIG_KEY
from kvl_eval.model.weight_files import INDEX, StoredTensor, file_header

WHOLE = 256 * 2**20  # bytes of data up to which everything is hashed
EDGE = 4096
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
CONFIG_FILES = ("config.json", "generation_config.json", "preprocessor_config.json")
_ENTRY = rb'"%s":\s*"[^"\\]*"' % re.escape(CONFIG_KEY).encode()
LABEL = re.compile(rb",\s*%s|%s,\s*" % (_ENTRY, _ENTRY))
TOKENIZER_FILES = ("tiktoken.model", "tokenizer_config.json")
SUCCESSORS = {"preprocessor_config.json": "processor_config.json", "tiktoken.model": "tokenizer.json"}
"""What newer versions and other models have in place of a file."""


def checkpoint_facts(folder: Path, weights: list[Path]) -> dict[str, Json]:
    """What `run.json` says of a checkpoint: hashes of weights, configuration and tokenizer, size of the weights.

    Raises: CheckpointError, if a weight file is not a safetensors file.
    """
    size = sum(path.stat().st_size for path in weights)
    return {
        "weights_sha256": weights_sha256(weights),
        "weights_hashed": "whole" if size <= WHOLE else f"headers and {EDGE} bytes at both ends of every tensor",
        "weights_bytes": size,
        "config_sha256": files_sha256(folder, CONFIG_FILES),
        "tokenizer_sha256": files_sha256(folder, (*TOKENIZER_FILES, *_token_names(folder))),
    }


def _token_names(folder: Path) -> tuple[str, ...]:
    """The file that names added tokens where the tokenizer's configuration does not."""
    path = folder / "tokenizer_config.json"
    is_named = not path.is_file() or b"added_tokens_decoder" in path.read_bytes()
    return () if is_named or not (folder / "added_tokens.json").is_file() else ("added_tokens.json",)


def weights_sha256(paths: list[Path]) -> str:
    """The fingerprint described above. Raises: CheckpointError."""
    whole = sum(path.stat().st_size for path in paths) <= WHOLE
    digest, names = hashlib.sha256(), []
    for path in paths:
        digest.update(path.name.encode() + b"\0")
        header = file_header(path)
        names += [tensor.name for tensor in header.tensors]
        digest.update(header.text.encode())
        with path.open("rb") as file:
            file.seek(int.from_bytes(file.read(8), "little"), SEEK_CUR)  # behind the header
            for part in _whole(file) if whole else _edges(file, header.tensors):
                digest.update(part)
    if len(set(names)) < len(names):  # the index says which of two counts
        digest.update((paths[0].parent / INDEX).read_bytes())
    return digest.hexdigest()


def value_count(paths: list[Path]) -> int:
    """Numbers that weight files hold, from their headers. Raises: CheckpointError."""
    total = 0
    for path in paths:
        tensors = file_header(path).tensors
        total += sum((tensor.end - tensor.begin) // ITEM_BYTES.get(tensor.dtype, 1) for tensor in tensors)
    return total


def files_sha256(folder: Path, names: tuple[str, ...]) -> str:
    """One hash over named files of a folder; absent ones count as absent, and the label of the family does not count.

    What the family decides (sampling, data) is part of a run's identity by itself.
    """
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if not path.is_file() and name in SUCCESSORS:
            path = folder / SUCCESSORS[name]
        content = hashlib.sha256(LABEL.sub(b"", path.read_bytes())).digest() if path.is_file() else b"absent"
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _whole(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(1 << 20):
        yield part


def _edges(file: BinaryIO, tensors: Iterable[StoredTensor]) -> Iterator[bytes]:
    start = file.tell()
    for begin, end in sorted((tensor.begin, tensor.end) for tensor in tensors):
        for place in (begin, max(begin, end - EDGE)):
            file.seek(start + place)
            yield file.read(min(EDGE, end - place))
