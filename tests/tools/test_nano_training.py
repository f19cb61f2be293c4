"""The tokenizer's promises, exact prompts, and a training that learns."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kvl_eval.model.kimi_vl.processor import KimiVLProcessor
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from tools.nano.corpus import corpus
from tools.nano.encoding import IGNORED, collate, encode
from tools.nano.mathvista import HINTS
from tools.nano.mixture import example
from tools.nano.muon import orthogonalised
from tools.nano.network import PREPROCESSOR, model_config
from tools.nano.plan import WIDE
from tools.nano.tokenizer import build

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "kvl_eval" / "data"
SHIPPED = ("kimi-vl-nano", "kimi-vl-nano-thinking")


@pytest.fixture(scope="module")
def tokenizer() -> KimiTokenizer:
    return build(corpus(600))


def test_digits_stay_alone(tokenizer: KimiTokenizer) -> None:
    assert not [token for token in tokenizer.ranks if len(token) > 1 and any(chr(byte).isdigit() for byte in token)]
    assert len(tokenizer.encode("1234567890")) == 10


def test_thinking_markers_take_as_many_tokens_as_in_the_released_vocabulary(tokenizer: KimiTokenizer) -> None:
    assert [len(tokenizer.encode(marker)) for marker in ("◁think▷", "◁/think▷")] == [5, 6]


def test_fixed_instructions_are_short(tokenizer: KimiTokenizer) -> None:
    hint = HINTS["integer"]
    assert len(tokenizer.encode(hint)) <= 40
    assert tokenizer.decode(tokenizer.encode(hint)) == hint


def test_learning_a_tokenizer_is_deterministic() -> None:
    assert build(corpus(100)).ranks == build(corpus(100)).ranks


def test_training_prompts_are_the_processors(tokenizer: KimiTokenizer) -> None:
    processor = KimiVLProcessor(tokenizer, PREPROCESSOR)
    for n in range(60):
        drawn = example(f"test/{n}", WIDE, 1.0)
        drawn = replace(drawn, turns=drawn.turns[:1])
        encoded = encode(drawn, tokenizer, PREPROCESSOR)
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in drawn.turns[0].parts
        ]
        expected = processor.encode([{"role": "user", "content": content}], list(drawn.images))
        prompt = expected["input_ids"][0].tolist()
        assert encoded.ids[: len(prompt)] == prompt
        assert set(encoded.labels[: len(prompt)]) == {IGNORED}
        if not drawn.turns[0].learned:
            assert encoded.labels[len(prompt) :] == encoded.ids[len(prompt) :]
        if drawn.images:
            pixels = collate([encoded], tokenizer.pad_id).pixel_values
            assert pixels is not None
            torch.testing.assert_close(pixels, expected["pixel_values"], rtol=0, atol=1e-6)


def test_architecture_stays_within_its_limits(tokenizer: KimiTokenizer) -> None:
    from kvl_eval.model.kimi_vl.model import KimiVL

    with torch.device("meta"):
        model = KimiVL(model_config(tokenizer))
    text = model.config.text_config
    assert sum(parameter.numel() for parameter in model.parameters()) <= 8_000_000
    assert (text.kv_lora_rank, text.qk_rope_head_dim, text.max_position_embeddings) == (512, 64, 131072)
    assert text.hidden_size % 32 == 0 and text.hidden_size % text.num_attention_heads == 0
    assert text.rms_norm_eps == 1e-6 and PREPROCESSOR.in_token_limit == 1024


def test_orthogonalised_stacks_have_singular_values_near_one() -> None:
    stack = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for shaped in (stack, stack.mT.contiguous()):
        values = torch.linalg.svdvals(orthogonalised(shaped).float())
        assert values.min() > 0.5 and values.max() < 1.4


def test_shipped_sizes() -> None:
    for name in SHIPPED:
        assert sum(path.stat().st_size for path in (DATA / name).iterdir()) <= 16_000_000
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= 40_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoint_is_complete(name: str) -> None:
    folder = DATA / name
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "tiktoken.model",
        "model.safetensors",
        "README.md",
    } <= names
    shipped = KimiTokenizer.from_folder(folder)
    assert [len(shipped.encode(marker)) for marker in ("◁think▷", "◁/think▷")] == [5, 6]
    assert len(shipped.encode("0.42")) == 4
    assert "not Kimi-VL-A3B" in (folder / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_one_minute_of_training_learns() -> None:
    command = [sys.executable, "-m", "tools.train_nano", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loss" in done.stdout


def test_only_replies_are_learned_in_a_conversation_of_several_turns(tokenizer: KimiTokenizer) -> None:
    several = [drawn for n in range(40) if len((drawn := example(f"test/{n}", {"copy": 1.0}, 1.0)).turns) > 1]
    assert several
    for drawn in several:
        encoded = encode(drawn, tokenizer, PREPROCESSOR)
        learned = [token for token in encoded.labels if token != IGNORED]
        assert tokenizer.decode(learned) == "".join(f"{turn.reply}<|im_end|>" for turn in drawn.turns)
