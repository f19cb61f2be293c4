"""`--weights`: what a run with packed weights is called, what identifies it, and where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends import BUNDLED, make_backend
from kvl_eval.backends.base import MemoryNeed, Settings
from kvl_eval.backends.fingerprint import value_count
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.errors import CheckpointError, ConfigError, KvlEvalError, UsageError
from kvl_eval.model import memory
from kvl_eval.model.memory import GIB
from kvl_eval.model.weight_files import weight_files
from kvl_eval.run.plan_text import memory_notes, memory_text

NANO = "kimi-vl-nano"


def engine_of(**settings: Any) -> TorchEngine:
    backend = make_backend(NANO, Settings.of(**settings))
    assert isinstance(backend, TorchEngine)
    return backend


def test_packed_weights_are_in_name_and_identity_and_the_default_in_neither(tmp_path: Path) -> None:
    plain, same, four = engine_of(), engine_of(weights="bf16"), engine_of(weights="int4", cache_dir=str(tmp_path))
    assert plain.name == same.name == NANO
    assert plain.describe().identity == same.describe().identity
    assert "weights" not in plain.describe().identity
    assert four.name == f"{NANO}-int4"
    packed = four.describe()
    assert packed.identity == {**plain.describe().identity, "weights": "int4", "dtype": "bfloat16"}
    assert packed.memory is not None and packed.memory.kept_in is not None
    assert packed.memory.kept_in.parent == tmp_path / "packed"
    assert not (tmp_path / "packed").exists()  # describing makes nothing


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("endpoint", {"base_url": "http://127.0.0.1:9/v1"}, "runs on a server"),
        ("hf:somewhere", {}, "runs on transformers"),
        ("fake", {}, "runs on the fake backend"),
        (NANO, {"backend": "vllm"}, "runs on vllm"),
    ],
)
def test_other_engines_take_no_packed_weights(model: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make_backend(model, Settings.of(weights="int4", **settings))
    assert caught.value.code == "usage.weights"


def test_a_card_takes_no_packed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvl_eval.backends.checkpoint.Checkpoint.device", lambda self, small: "cuda:1")
    with pytest.raises(ConfigError, match="needs a CPU, but the model would run on cuda:1") as caught:
        engine_of(weights="int8")
    assert "--device cpu" in str(caught.value.fix)


def test_a_kind_that_nobody_packs_is_refused() -> None:
    with pytest.raises(ConfigError, match="int3") as caught:
        engine_of(weights="int3")
    assert caught.value.code == "config.weights"


def test_a_checkpoint_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "kimi_vl", "quantization_config": {"quant_method": "awq"}}')
    with pytest.raises(KvlEvalError, match=r"quantized \(AWQ\)"):
        make_backend(str(tmp_path), Settings.of(weights="int4"))


@pytest.mark.parametrize(
    ("free", "settings", "said", "unsaid"),
    [
        (3.0, {}, ["--dtype bfloat16", "--weights int8", "--weights int4"], []),
        (1.9, {}, ["--weights int8", "--weights int4"], ["--dtype"]),
        (0.1, {}, ["--weights int4 needs"], ["choose"]),
        (0.1, {"weights": "int4"}, ["free some memory"], ["--weights"]),
    ],
)
def test_what_would_fit_is_named_where_weights_do_not(
    monkeypatch: pytest.MonkeyPatch, free: float, settings: dict[str, Any], said: list[str], unsaid: list[str]
) -> None:
    parameters = value_count(weight_files(BUNDLED / NANO))
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(free * parameters))
    with pytest.raises(CheckpointError, match="not enough memory on cpu: the weights need") as caught:
        engine_of(**settings).describe()
    fix = str(caught.value.fix)
    assert caught.value.exit_code == 4
    assert all(words in fix for words in [*said, "--backend vllm", "a server"]), fix
    assert not any(words in fix for words in unsaid), fix


def test_the_plan_says_what_weights_and_cache_need() -> None:
    need = MemoryNeed(device="cpu", weights=10 * GIB, token=31_104, context=131_072, free=12 * GIB)
    (line,) = memory_text(need)
    assert "weights 10.0 GiB, 12.0 GiB free on cpu" in line
    assert "30 KiB per token, to 3.8 GiB for 131,072" in line
    (note,) = memory_notes(need)
    assert note == "not enough memory for a prompt of the whole context: samples with long prompts may fail"
    assert list(memory_notes(None)) == []
    assert memory_text(None) == []
    assert memory_text(MemoryNeed(device="cpu", weights=9, token=1, context=1, free=12 * GIB)) == []
