"""`kvl-eval check model` names everything that is wrong with a checkpoint, and runs nothing of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kvl_eval.check_model import ModelFinding, as_text, check
from kvl_eval.errors import CheckpointError

TINY = Path(__file__).resolve().parent / "data" / "kimi_vl" / "tiny_checkpoint"
SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "checkpoint"))


def failed(folder: Path) -> dict[str, ModelFinding]:
    found = check(folder)
    assert found.ok == all(one.ok or one.warning for one in found.findings)
    return {one.check: one for one in found.findings if not one.ok}


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def test_a_sound_checkpoint_is_usable_and_described() -> None:
    found = check(TINY)
    text = as_text(found)
    assert found.ok
    assert text.splitlines()[-1] == "usable"
    assert "all finite" in text
    assert "renders 2 probes like the published one" in text
    json.dumps(asdict(found))


def test_every_fault_is_named_in_one_report(folder: Path) -> None:
    (folder / SHARD).unlink()
    (folder / "preprocessor_config.json").write_text("{")
    edit_json(folder / "tokenizer_config.json", lambda values: values["added_tokens_decoder"].pop("514"))
    faults = failed(folder)
    assert {"weight files", "tensors", "tokenizer", "processor"} <= set(faults)
    assert SHARD in faults["weight files"].text
    assert "<|im_end|>" in faults["tokenizer"].text
    assert "not usable" in as_text(check(folder))


def test_mis_shaped_and_missing_tensors_are_listed(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    first, second = sorted(tensors)[:2]
    del tensors[first]
    tensors[second] = torch.zeros(3, 3)
    save_file(tensors, folder / SHARD)
    fault = failed(folder)["tensors"]
    assert f"missing: {first}" in str(fault.why)
    assert f"mis-shaped: {second}" in str(fault.why)


def test_nan_in_the_weights_names_the_tensor(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, folder / SHARD)
    assert name in failed(folder)["tensors"].text


@pytest.mark.parametrize("header", [b"\xff" * 8, (10**12).to_bytes(8, "little"), (4).to_bytes(8, "little") + b"[[[["])
def test_a_broken_header_is_named(folder: Path, header: bytes) -> None:
    (folder / SHARD).write_bytes(header + b"\0" * 64)
    faults = failed(folder)
    assert set(faults) == {"weight files", "tensors"}
    assert SHARD in faults["weight files"].text


def test_pickles_are_refused_and_not_opened(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    payload = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(payload).encode())
    assert "pytorch_model.bin" in failed(folder)["weight files"].text
    assert not payload.exists()


def test_another_template_is_a_warning_that_shows_both(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].role }}!")
    fault = failed(folder)["chat template"]
    assert fault.warning
    assert "user!" in str(fault.why)
    assert "<|im_user|>" in str(fault.why)
    assert check(folder).ok


def test_contradicting_files_are_named(folder: Path) -> None:
    edit_json(folder / "config.json", lambda values: values.update(media_placeholder_token_id=7))
    assert "media_placeholder_token_id" in failed(folder)["processor"].text


def test_an_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        check(tmp_path / "nowhere")


def test_an_architecture_that_nobody_runs_is_named_and_the_rest_is_looked_at(folder: Path) -> None:
    edit_json(folder / "config.json", lambda values: values.update(model_type="llava"))
    faults = failed(folder)
    assert list(faults) == ["config"]
    assert "kimi_vl, qwen2_5_vl" in str(faults["config"].why)
    assert "weight files" in [finding.check for finding in check(folder).findings]
