"""Tokenizer and chat template equal the checkpoint's own, as transformers reads them."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from kvl_eval.errors import CheckpointError, PromptError
from kvl_eval.model.qwen2_5_vl import chat
from kvl_eval.model.qwen2_5_vl.processor import QwenProcessor
from kvl_eval.model.qwen2_5_vl.tokenizer import QwenTokenizer, byte_letters
from tests.model.qwen2_5_vl.tiny import LETTERS, SPECIAL, TEMPLATE, make_tokenizer

IMAGE = {"type": "image"}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "text": [{"role": "user", "content": "What is it?"}],
    "image": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "What is it?"}]}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe? 图"}],
    "turns": [
        {"role": "user", "content": [{"type": "text", "text": "One?\n"}, IMAGE, IMAGE]},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": " Two?"}, IMAGE, {"type": "text", "text": "\n\nEnd."}]},
    ],
}


TOKENIZER = QwenTokenizer(make_tokenizer())


@pytest.fixture
def tokenizer() -> QwenTokenizer:
    return TOKENIZER


def rendered(turns: list[dict[str, Any]]) -> str:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    return template.render(messages=turns, add_generation_prompt=True)


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_reads_as_the_checkpoints_template_prints_it(turns: list[dict[str, Any]]) -> None:
    assert chat.render(turns) == rendered(turns)


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_ids_equal_those_of_transformers(tokenizer: QwenTokenizer, turns: list[dict[str, Any]]) -> None:
    own = PreTrainedTokenizerFast(tokenizer_object=make_tokenizer(), chat_template=TEMPLATE)
    count = rendered(turns).count("<|image_pad|>")
    prompt = chat.encode_turns(tokenizer, turns, [1] * count)
    assert prompt.ids == own.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    pad = tokenizer.special_tokens["<|image_pad|>"]
    assert prompt.places == [place for place, token in enumerate(prompt.ids) if token == pad]


def test_a_picture_takes_as_many_placeholders_as_it_has_tokens(tokenizer: QwenTokenizer) -> None:
    prompt = chat.encode_turns(tokenizer, CONVERSATIONS["turns"], [3, 1, 12])
    pad = tokenizer.special_tokens["<|image_pad|>"]
    assert prompt.ids.count(pad) == len(prompt.places) == 16
    assert {prompt.ids[place] for place in prompt.places} == {pad}


@pytest.mark.parametrize("images", [0, 2])
def test_pictures_and_places_must_agree(tokenizer: QwenTokenizer, images: int) -> None:
    with pytest.raises(PromptError) as caught:
        chat.encode_turns(tokenizer, CONVERSATIONS["image"], [4] * images)
    assert caught.value.code == "prompt.images"


def test_special_tokens_in_a_text_are_text(tokenizer: QwenTokenizer) -> None:
    text = "".join(SPECIAL)
    assert all(token < LETTERS for token in tokenizer.encode(text))
    prompt = chat.encode_turns(tokenizer, [{"role": "user", "content": f"a {text}"}], [])
    assert prompt.places == []
    assert tokenizer.decode(prompt.ids) == chat.render([{"role": "user", "content": f"a {text}"}])


def test_the_record_shows_where_pictures_stand(tokenizer: QwenTokenizer) -> None:
    text = QwenProcessor(tokenizer).rendered(CONVERSATIONS["turns"])
    assert text.replace("<image:1>", "|").count("<image:") == 2
    assert "One?\n<|vision_start|><image:1><|vision_end|><|vision_start|><image:2><|vision_end|><|im_end|>\n" in text


@given(st.text(max_size=40))
def test_a_text_survives(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == unicodedata.normalize("NFC", text)


def test_the_letters_of_bytes_are_the_vocabularys() -> None:
    vocabulary = make_tokenizer().get_vocab()
    assert len(set(byte_letters())) == 256
    assert all(letter in vocabulary for letter in byte_letters())


def test_ids_beyond_the_vocabulary_write_nothing(tokenizer: QwenTokenizer) -> None:
    assert tokenizer.token_bytes(tokenizer.size - 1) == b"<tool_call>"
    assert tokenizer.token_bytes(tokenizer.size) == b""


def test_an_added_token_is_spelled_as_its_name() -> None:
    own = make_tokenizer()
    own.add_special_tokens([AddedToken("◁a b▷", special=True)])
    tokenizer = QwenTokenizer(own)
    assert tokenizer.token_bytes(tokenizer.special_tokens["◁a b▷"]) == "◁a b▷".encode()


def test_both_ends_of_a_reply_are_known(tokenizer: QwenTokenizer) -> None:
    assert [tokenizer.token_bytes(token) for token in tokenizer.stop_ids] == [b"<|endoftext|>", b"<|im_end|>"]


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", "\x00"], ids=["missing", "empty", "object", "list", "zero"])
def test_a_broken_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError) as caught:
        QwenTokenizer.from_folder(tmp_path)
    assert caught.value.code == ("model.file" if content is None else "model.tokenizer")


def test_missing_special_tokens_are_named(tmp_path: Path) -> None:
    bare = Tokenizer.from_str(make_tokenizer().to_str().replace("<|im_end|>", "<|im_over|>"))
    bare.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"<\|im_end\|>"):
        QwenTokenizer.from_folder(tmp_path)
