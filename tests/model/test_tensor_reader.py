"""Weight files that the system does not let be mapped are read tensor by tensor, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL, memory, tensor_reader
from kvl_eval.model.tensor_reader import DirectFile, opened

REFUSAL = "unable to mmap 30000000000 bytes from file <model.safetensors>: Cannot allocate memory (12)"


REFUSALS = [RuntimeError(REFUSAL), MemoryError("Cannot allocate memory (os error 12)"), OSError(12, "in any language")]


@pytest.fixture(params=REFUSALS, ids=lambda error: type(error).__name__)
def unmapped(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A system that refuses every mapping."""

    def refuse(path: Path, framework: str) -> None:
        raise request.param

    monkeypatch.setattr(tensor_reader, "safe_open", refuse)


def test_a_file_reads_the_same_with_and_without_a_map(tiny: Path) -> None:
    path = next(tiny.glob("*.safetensors"))
    direct = DirectFile(path)
    with opened(path) as mapped:
        for name in list(mapped.keys())[::20]:
            assert torch.equal(direct.get_tensor(name), mapped.get_tensor(name))
            assert torch.equal(direct.get_slice(name)[0], mapped.get_slice(name)[0])


def test_a_model_loads_where_nothing_can_be_mapped(model: KimiVL, tiny: Path, unmapped: None) -> None:
    read = KimiVL.from_pretrained(tiny)
    assert all(map(torch.equal, read.parameters(), model.parameters()))


def test_weights_that_cannot_be_mapped_and_do_not_fit_end_in_one_sentence(
    tiny: Path, unmapped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    with pytest.raises(CheckpointError, match="not enough memory on cpu") as caught:
        KimiVL.from_pretrained(tiny)
    assert caught.value.code == "model.memory"


def test_other_errors_of_a_file_are_still_the_files(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, framework: str) -> None:
        raise RuntimeError("invalid header")

    monkeypatch.setattr(tensor_reader, "safe_open", refuse)
    with pytest.raises(CheckpointError, match="is not a valid safetensors file"):
        KimiVL.from_pretrained(tiny)


def test_shapes_that_contradict_the_bytes_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(CheckpointError, match="not a valid safetensors file"):
        DirectFile(path).get_tensor("a")
