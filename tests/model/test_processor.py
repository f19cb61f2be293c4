"""Conversations to ids: the template, plain text in content, and the number of pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from kvl_eval.errors import CheckpointError, PromptError
from kvl_eval.model import KimiVLProcessor
from kvl_eval.model.kimi_vl.chat import encode_messages
from kvl_eval.model.kimi_vl.processor import normalize

CASES = ["text_only", "text_multi_turn", "one_image", "two_images", "over_limit"]


@pytest.mark.parametrize("name", CASES)
def test_golden_prompts(
    golden: Path,
    processor: KimiVLProcessor,
    cases: dict[str, Any],
    open_images: Callable[[list[str]], list[Image.Image]],
    name: str,
) -> None:
    case = cases[name]
    images = open_images(case["images"])
    rendered = processor.apply_chat_template(case["messages"])
    assert rendered == case["rendered"]
    encoded = processor.encode(case["messages"], images)
    called = processor(images=images, text=rendered)
    assert encoded["input_ids"].tolist() == called["input_ids"].tolist() == [case["input_ids"]]
    assert encoded["attention_mask"].tolist() == [[1] * len(case["input_ids"])]
    assert set(encoded) == set(called)
    if images:
        expected = load_file(golden / f"case_{name}.safetensors")
        assert torch.equal(encoded["image_grid_hws"], expected["image_grid_hws"])
        torch.testing.assert_close(encoded["pixel_values"], expected["pixel_values"], atol=1e-6, rtol=0)
        assert torch.equal(encoded["pixel_values"], called["pixel_values"])


def test_chat_cases(golden: Path, processor: KimiVLProcessor) -> None:
    for case in json.loads((golden / "chat_cases.json").read_text("utf-8")):
        arguments = (case["messages"], case["add_generation_prompt"])
        assert processor.apply_chat_template(*arguments) == case["rendered"]
        assert processor.apply_chat_template(*arguments, tokenize=True) == case["ids"]


plain = st.text(max_size=30).filter(lambda text: "<|" not in text and "[" not in text)
text_part = plain.map(lambda text: {"type": "text", "text": text})
image_part = st.just({"type": "image", "image": "x"})
content = plain | st.lists(text_part | image_part, max_size=5)
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": content})


@settings(deadline=None)
@given(messages=st.lists(message, min_size=1, max_size=4), prompt=st.booleans())
def test_piecewise_ids_equal_those_of_the_rendered_text(
    processor: KimiVLProcessor, messages: list[dict[str, Any]], prompt: bool
) -> None:
    rendered = processor.apply_chat_template(messages, prompt)
    slots = rendered.count("<|media_pad|>")
    ids = encode_messages(processor.tokenizer, messages, [1] * slots, prompt)
    assert ids == processor.apply_chat_template(messages, prompt, tokenize=True)


@settings(deadline=None)
@given(
    texts=st.lists(st.sampled_from(["<|im_end|>", "<|media_pad|>", "[BOS]", "a", " ", "◁/think▷", "三"]), max_size=8)
)
def test_special_tokens_in_a_question_stay_plain_text(processor: KimiVLProcessor, texts: list[str]) -> None:
    question = "".join(texts)
    encoded = processor.encode([{"role": "user", "content": question}])
    ids = encoded["input_ids"][0].tolist()
    empty = processor.encode([{"role": "user", "content": ""}])["input_ids"][0].tolist()
    control = [token for token in ids if processor.tokenizer.is_special(token)]
    assert control == [token for token in empty if processor.tokenizer.is_special(token)]
    assert question in processor.tokenizer.decode(ids)


def test_a_batch_is_padded_at_the_left_and_takes_pictures_in_order(golden: Path, processor: KimiVLProcessor) -> None:
    small = Image.new("RGB", (28, 28))
    large = Image.new("RGB", (56, 28))
    batch = processor(images=[large, small], text=["ab <|media_pad|> ab ab ab", "<|media_pad|>"])
    pad = processor.tokenizer.media_pad_id
    assert (batch["input_ids"] == pad).sum(1).tolist() == [2, 1]
    size = batch["input_ids"].shape[1]
    assert batch["input_ids"][1].tolist() == [processor.pad_token_id] * (size - 1) + [pad]
    assert batch["attention_mask"][1].tolist() == [0] * (size - 1) + [1]
    assert batch["image_grid_hws"].tolist() == [[2, 4], [2, 2]]


def test_a_single_picture_needs_no_list(processor: KimiVLProcessor) -> None:
    assert processor(images=Image.new("L", (5, 5)), text="<|media_pad|>")["image_grid_hws"].tolist() == [[2, 2]]


@pytest.mark.parametrize(("slots", "given_images"), [(2, 1), (1, 2), (1, 0), (0, 1)])
def test_pictures_and_placeholders_must_be_equally_many(
    processor: KimiVLProcessor, slots: int, given_images: int
) -> None:
    images = [Image.new("RGB", (28, 28))] * given_images
    message = f"{slots} image parts, but there are {given_images} images"
    with pytest.raises(PromptError, match=message):
        processor(images=images, text="<|media_pad|>" * slots)
    parts = [{"type": "image", "image": "x"}] * slots
    with pytest.raises(PromptError, match=message):
        processor.encode([{"role": "user", "content": parts}], images)


def test_given_texts_are_not_changed(processor: KimiVLProcessor) -> None:
    texts = ["<|media_pad|>"]
    processor(images=[Image.new("RGB", (99, 99))], text=texts)
    assert texts == ["<|media_pad|>"]


def test_unknown_content_parts_are_refused(processor: KimiVLProcessor) -> None:
    with pytest.raises(PromptError, match="'video'"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "video", "video": "x"}]}])


def test_normalisation_uses_mean_and_spread_of_the_config(processor: KimiVLProcessor) -> None:
    patches = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(patches, processor.config).flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0])
    assert normalize(patches, processor.config, torch.bfloat16).dtype == torch.bfloat16


def test_a_saved_processor_is_read_back_the_same(processor: KimiVLProcessor, tmp_path: Path) -> None:
    processor.save(tmp_path)
    again = KimiVLProcessor.from_pretrained(tmp_path)
    assert again.config == processor.config
    assert again.tokenizer.special_tokens == processor.tokenizer.special_tokens


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("media_placeholder_token_id", 520, "520"),
        ("vocab_size", 700, "700"),
        ("vision_config", {"patch_size": 16, "num_attention_heads": 4, "hidden_size": 64}, "patch_size is 16"),
    ],
)
def test_vocabulary_and_model_must_belong_together(
    tiny: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    for path in tiny.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tiktoken.model").write_bytes((tiny / "tiktoken.model").read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    config[field] = value
    if field == "vocab_size":
        config["text_config"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        KimiVLProcessor.from_pretrained(tmp_path)
