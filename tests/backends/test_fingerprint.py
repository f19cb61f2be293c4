"""Hashes that tell checkpoints apart, whole or by the ends of their tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.backends import fingerprint
from kvl_eval.backends.fingerprint import weights_sha256
from kvl_eval.errors import CheckpointError

SIZES = {"a": 40_000, "b": 9_000, "c": 100}


def written(path: Path, data: bytes, **places: object) -> Path:
    begin, header = 0, {}
    for name, size in SIZES.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [begin, begin + size]}
        begin += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header, **places}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.fixture
def data() -> bytes:
    return bytes(i % 251 for i in range(sum(SIZES.values())))


def test_small_checkpoints_are_hashed_whole(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    original = weights_sha256([written(path, data)])
    for place in (0, 20_000, len(data) - 1):
        assert weights_sha256([written(path, changed(data, place))]) != original
    assert weights_sha256([written(path, data)]) == original


def test_large_ones_by_both_ends_of_every_tensor(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "WHOLE", 1000)
    path = tmp_path / "model.safetensors"
    original = weights_sha256([written(path, data)])
    for place in (0, 4095, 36_000, 39_999, 40_000, 48_999, 49_000, 49_099):
        assert weights_sha256([written(path, changed(data, place))]) != original
    assert weights_sha256([written(path, changed(data, 20_000))]) == original
    assert (
        weights_sha256([written(path, data, extra={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})]) != original
    )


@pytest.mark.parametrize(
    "place",
    [
        None,
        3,
        {},
        {"data_offsets": [0]},
        {"data_offsets": [5, 3]},
        {"data_offsets": [0, 10**9]},
        {"data_offsets": ["0", 1]},
    ],
)
def test_a_tensor_outside_its_file_is_named(tmp_path: Path, data: bytes, place: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        weights_sha256([written(tmp_path / "model.safetensors", data, odd=place)])
    assert "odd" in (caught.value.why or "")
