"""Ids and texts, exactly as the reference tokenizer gives them."""

import codecs
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.errors import CheckpointError, PromptError
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer, _parts, read_ranks, special_tokens


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> KimiTokenizer:
    return KimiTokenizer.from_folder(tiny)


@pytest.fixture(scope="module")
def golden_cases(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "tokenizer_cases.json").read_text("utf-8"))


def test_encoding_with_and_without_special_tokens(tokenizer: KimiTokenizer, golden_cases: dict[str, Any]) -> None:
    assert len(golden_cases["encode_cases"]) > 10
    for case in golden_cases["encode_cases"]:
        assert tokenizer.encode(case["text"], allow_special=True) == case["ids"], case["text"]
        assert tokenizer.encode(case["text"]) == case["ids_no_special"], case["text"]


def test_decoding(tokenizer: KimiTokenizer, golden_cases: dict[str, Any]) -> None:
    for case in golden_cases["decode_cases"]:
        assert tokenizer.decode_bytes(case["ids"]).hex() == case["bytes_hex"]
        assert tokenizer.decode(case["ids"]) == case["text_with_replace"]


def test_long_runs_are_cut_like_the_reference(tokenizer: KimiTokenizer, golden_cases: dict[str, Any]) -> None:
    for case in golden_cases["long_cases"]:
        ids = tokenizer.encode(case["unit"] * case["times"])
        compact = json.dumps(ids, separators=(",", ":")).encode()
        assert len(ids) == case["n_ids"]
        assert hashlib.sha256(compact).hexdigest() == case["sha256_of_compact_json"]


def test_special_tokens_stand_at_their_ids(tokenizer: KimiTokenizer, golden_cases: dict[str, Any]) -> None:
    named = golden_cases["special_tokens"]
    assert {name: tokenizer.special_tokens[name] for name in named} == named
    assert special_tokens(tokenizer.num_base) == named
    assert tokenizer.special_tokens["<|reserved_token_517|>"] == 517
    assert tokenizer.num_base + len(tokenizer.special_tokens) == golden_cases["n_vocab_tokenizer"]
    assert tokenizer.stop_ids == (513, 514)


@pytest.mark.shared
def test_real_vocabulary(shared: Path, data: Path) -> None:
    ranks = read_ranks(shared / "tokenizer" / "tiktoken.model")
    tokenizer = KimiTokenizer(ranks, special_tokens(len(ranks)))
    assert tokenizer.media_pad_id == 163605
    lines = (data / "tokenizer" / "plain_text.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 28
    for row in rows:
        assert tokenizer.encode(row["text"]) == row["ids"], row["id"]
        assert tokenizer.decode(row["ids"]) == row["text"], row["id"]
    assert len(tokenizer.encode("◁think▷")), len(tokenizer.encode("◁/think▷")) == (5, 6)


@settings(deadline=None)
@given(text=st.text(max_size=80))
def test_plain_text_survives_the_round_trip(tokenizer: KimiTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not any(tokenizer.is_special(token) for token in ids)


@pytest.mark.parametrize("text", ["<|im_end|>", "a [BOS] b", "<|media_pad|>", "<|reserved_token_517|>"])
def test_spelled_out_special_tokens_are_text_unless_allowed(tokenizer: KimiTokenizer, text: str) -> None:
    assert not any(tokenizer.is_special(token) for token in tokenizer.encode(text))
    special = tokenizer.encode(text, allow_special=True)
    assert sum(tokenizer.is_special(token) for token in special) == 1
    assert tokenizer.decode(special) == text


def test_special_tokens_can_be_left_out_of_the_text(tokenizer: KimiTokenizer) -> None:
    ids = [*tokenizer.encode("yes"), tokenizer.special_tokens["<|im_end|>"]]
    assert tokenizer.decode(ids) == "yes<|im_end|>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "yes"


def test_bytes_of_single_tokens_feed_a_growing_text(tokenizer: KimiTokenizer) -> None:
    decoder, text = codecs.getincrementaldecoder("utf-8")("replace"), ""
    for token in tokenizer.encode("三角形 🙂"):
        text += decoder.decode(tokenizer.token_bytes(token))
        assert "\ufffd" not in text, "an incomplete character is held back"
    assert text == "三角形 🙂"


def test_ids_outside_the_vocabulary_are_refused(tokenizer: KimiTokenizer) -> None:
    assert tokenizer.decode([769]) == "<|reserved_token_769|>"
    for token in (770, 10**9, -1):
        with pytest.raises(PromptError, match=f"unknown token id {token}"):
            tokenizer.decode([token])


@settings(deadline=None)
@given(runs=st.lists(st.tuples(st.sampled_from(["a", " ", "\n", "三"]), st.integers(1, 60_000)), max_size=12))
def test_no_part_holds_a_longer_run_than_allowed(runs: list[tuple[str, int]]) -> None:
    text = "".join(letter * count for letter, count in runs)
    parts = list(_parts(text))
    assert "".join(parts) == text
    for part in parts:
        assert len(part) <= 400_000
        assert longest_run(part) <= 25_000


def longest_run(text: str) -> int:
    longest = length = 0
    previous = None
    for letter in text:
        length = length + 1 if letter.isspace() == previous else 1
        previous = letter.isspace()
        longest = max(longest, length)
    return longest


def test_a_saved_tokenizer_is_read_back_the_same(tokenizer: KimiTokenizer, tiny: Path, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert (tmp_path / "tiktoken.model").read_bytes().split() == (tiny / "tiktoken.model").read_bytes().split()
    again = KimiTokenizer.from_folder(tmp_path)
    assert (again.ranks, again.special_tokens) == (tokenizer.ranks, tokenizer.special_tokens)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not every single byte"),
        (b"IQ== 0\n!!! 1\n", "line 2"),
        (b"IQ== 0\nIg==\n", "line 2"),
        (b"IQ== 0\nIg== x\n", "line 2"),
        (b"IQ== 0\nIg== 7\n", "without gaps"),
        (b"IQ== 0\nIQ== 1\n", "without gaps"),
        (b"IQ== 0\n", "not every single byte"),
        (b"\xff\xfe\x00 0\n", "line 1"),
    ],
)
def test_broken_vocabularies_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "tiktoken.model"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_ranks(path)
    assert message in caught.value.render()


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tiktoken\.model is missing"):
        read_ranks(tmp_path / "tiktoken.model")


def test_missing_special_tokens_are_named(tokenizer: KimiTokenizer) -> None:
    names = special_tokens(tokenizer.num_base)
    del names["<|media_pad|>"], names["<|im_middle|>"]
    with pytest.raises(CheckpointError, match=r"<\|im_middle\|>, <\|media_pad\|>"):
        KimiTokenizer(tokenizer.ranks, names)


def test_special_tokens_inside_the_vocabulary_are_refused(tokenizer: KimiTokenizer) -> None:
    with pytest.raises(CheckpointError, match=r"\[UNK\] = 3"):
        KimiTokenizer(tokenizer.ranks, {**special_tokens(tokenizer.num_base), "[UNK]": 3})
