"""`--backend auto`: vLLM for checkpoints of the hub, where a card and vLLM are; everything else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends import chosen_backend
from kvl_eval.backends.base import ServerNeeds, Settings
from kvl_eval.backends.vllm_flags import ServedModel, server_options, vllm_args
from kvl_eval.backends.vllm_installation import VARIABLE, Installation
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.options.values import pairs
from kvl_eval.run.config import resolve, to_yaml
from tests.managed_vllm.conftest import environment
from tests.tiny_task import tiny

CPU = Installation(program=Path("/env/bin/vllm"), version="0.32.0+cpu")
CARD = Installation(program=Path("/env/bin/vllm"), version="0.32.0")
HUB = "moonshotai/Kimi-VL-A3B-Instruct"


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with CUDA and vLLM."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.version.cuda", "12.8")
    monkeypatch.setenv(VARIABLE, str(environment(tmp_path / "environment", "0.32.0")))
    return tmp_path


def chosen(model: str, **settings: Any) -> str:
    return chosen_backend(model, Settings.of(**{"backend": "auto", **settings})).name


@pytest.mark.parametrize(
    ("model", "settings", "backend"),
    [
        ("kimi-vl-instruct", {}, "vllm"),
        (HUB, {}, "vllm"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", {}, "vllm"),
        (HUB, {"device": "cuda:1"}, "vllm"),
        (HUB, {"backend": "local"}, "local"),
        (HUB, {"device": "cpu"}, "local"),
        (HUB, {"dtype": "float64"}, "local"),
        (HUB, {"model_args": {"page_size": 64}}, "local"),
        ("kimi-vl-nano", {}, "local"),
        ("kimi-vl-nano-thinking", {}, "local"),
        ("fake", {}, "local"),
        ("endpoint", {}, "local"),
        ("hf:Qwen/Qwen2.5-VL-7B-Instruct", {}, "local"),
        (".", {}, "local"),
        ("kimi-vl-nano", {"backend": "vllm"}, "vllm"),
        ("kimi-vl-nano", {"backend": "ray"}, "ray"),
    ],
    ids=str,
)
def test_auto_is_vllm_for_hub_checkpoints_alone(card: Path, model: str, settings: dict[str, Any], backend: str) -> None:
    assert chosen(model, **settings) == backend


def test_without_a_card_auto_is_the_bundled_engine(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert chosen(HUB) == "local"


def test_with_a_card_and_no_vllm_one_line_says_how_to_get_it(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("PATH", str(card))
    monkeypatch.setenv("XDG_CACHE_HOME", str(card))
    choice = chosen_backend(HUB, Settings.of(backend="auto"))
    assert choice.name == "local" and "install vllm==" in str(choice.notice)
    assert chosen_backend("kimi-vl-nano", Settings.of(backend="auto")).notice is None


def test_a_run_stores_what_auto_came_to(card: Path, tmp_path: Path) -> None:
    options = {"backend": "auto", "output_dir": tmp_path}
    assert resolve(HUB, "instruct", [tiny()], options).settings.cluster.backend == "vllm"
    local = resolve("kimi-vl-nano", "nano", [tiny()], options)
    assert local == resolve(
        "kimi-vl-nano", "nano", [tiny()], {"output_dir": tmp_path}
    )  # as it was before there was auto
    assert "backend: local" in to_yaml(local)
    with pytest.raises(UsageError, match="unknown backend 'sglang'"):
        resolve(HUB, "instruct", [tiny()], {"backend": "sglang"})


# -- options ----------------------------------------------------------------------------------------------------

KIMI = ServedModel(dtype="bfloat16", context=131072, image_tokens=1024, is_latent=True)


def options(installation: Installation, needs: ServerNeeds, **settings: Any) -> dict[str, str]:
    """{option: its value} of a server for Kimi-VL."""
    engine = Settings.of(**settings).engine
    found = server_options(installation, engine, vllm_args(engine.model_args), KIMI, needs).words
    return {name: value for name, value in zip(found, [*found[1:], ""], strict=True) if name.startswith("--")}


def test_the_context_and_the_images_are_those_of_the_plan() -> None:
    needs = ServerNeeds(images=3, text=1000, answer=512)
    found = options(CARD, needs)
    assert found["--limit-mm-per-prompt"] == '{"image": 3}'
    assert 1000 + 3 * 1024 + 512 < int(found["--max-model-len"]) < 6000
    unknown = options(CARD, ServerNeeds(images=None, text=1000, answer=512))
    assert (unknown["--max-model-len"], unknown["--limit-mm-per-prompt"]) == ("131072", '{"image": 256}')
    assert options(CARD, ServerNeeds(images=500, text=1, answer=1))["--max-model-len"] == "131072"


def test_dtype_rows_and_kernels_follow_the_installation_and_the_run() -> None:
    needs = ServerNeeds(images=1, text=1, answer=1)
    card, cpu = options(CARD, needs), options(CPU, needs, batch_size=4)
    assert (card["--dtype"], card["--max-num-seqs"]) == ("bfloat16", "256") and "--enforce-eager" not in card
    assert (cpu["--dtype"], cpu["--max-num-seqs"], cpu["--attention-backend"]) == ("float32", "4", "CPU_MLA")
    assert options(CARD, needs, dtype="float16")["--dtype"] == "float16"
    assert "◁think▷" in options(CARD, needs, model_args={"budget": "thinking_token_budget"})["--reasoning-config"]
    with pytest.raises(ConfigError, match="float64"):
        options(CARD, needs, dtype="float64")


def test_commas_in_vllm_args_are_no_further_pairs() -> None:
    texts = ('vllm_args=--hf-overrides {"a":1,"b":2}', "start_timeout=60,budget=tokens")
    assert pairs(texts, "-a") == {
        "vllm_args": '--hf-overrides {"a":1,"b":2}',
        "start_timeout": 60,
        "budget": "tokens",
    }
