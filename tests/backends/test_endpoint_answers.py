"""Tokens of servers: those that spell a text only together, and where a thought's markers stand among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.backends.endpoint_answers import Marks, marks_of, spelling

LOST = "\ufffd".encode()


def as_vllm_shows(pieces: list[bytes]) -> tuple[list[bytes], str]:
    """What vLLM shows of tokens that together spell a text: each character's bytes with the token that ends it."""
    shown, waiting = [], b""
    for piece in pieces:
        waiting += piece
        try:
            shown.append(waiting.decode().encode())
            waiting = b""
        except UnicodeDecodeError:
            shown.append(b"")
    return shown, b"".join(shown).decode()


@given(st.text("◁/think▷ aé猫", min_size=1), st.lists(st.integers(1, 3)))
def test_tokens_inside_a_character_are_kept_and_spell_the_text(text: str, sizes: list[int]) -> None:
    data, pieces = text.encode(), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    pieces = [piece for piece in [*pieces, data] if piece]
    shown, whole = as_vllm_shows(pieces)
    found = spelling([*shown, b"<|im_end|>"], whole.encode())
    assert found is not None
    assert len(found) == len(pieces)
    assert b"".join(found).decode() == whole


@pytest.mark.parametrize(
    ("tokens", "text", "found"),
    [
        pytest.param([b"a", b"", b"b"], b"a" + LOST + b"b", [b"a", LOST, b"b"], id="bytes-that-make-no-character"),
        pytest.param([b"", b"", b"b"], 2 * LOST + b"b", [2 * LOST, b"", b"b"], id="two-of-them"),
        pytest.param([b"a", b""], b"a" + LOST, [b"a", LOST], id="at-the-end"),
        pytest.param([b"a", b""], b"a", [b"a", b""], id="cut-off-inside-a-character"),
        pytest.param([b"a", b"", "◁".encode()], "a◁".encode(), [b"a", b"\xe2", b"\x97\x81"], id="shared-bytes"),
        pytest.param([b"a", b"<|im_end|>"], b"a", [b"a"], id="stop-token"),
        pytest.param([b"a", b"c"], b"ab", None, id="another-text"),
        pytest.param([b"a"], b"ab", None, id="too-few"),
        pytest.param([], b"", [], id="nothing"),
    ],
)
def test_spelling(tokens: list[bytes], text: bytes, found: list[bytes] | None) -> None:
    assert spelling(tokens, text) == found


@pytest.mark.parametrize(
    ("tokens", "marks"),
    [
        (["◁", "think▷", "a", "◁", "/think▷", "B"], Marks(2, 3, 5)),
        (["◁think▷a", "b◁/think▷B"], Marks(1, 1, 2)),
        (["\n", "◁think▷", "a"], Marks(2, None, None)),
        (["<think>", "a", "</think>", "B"], Marks(1, 2, 3)),
        (["a", "</think>", "B"], Marks(0, 1, 2)),
        (["B"], None),
        ([], None),
    ],
)
def test_where_the_markers_stand(tokens: list[str], marks: Marks | None) -> None:
    assert marks_of([token.encode() for token in tokens]) == marks
