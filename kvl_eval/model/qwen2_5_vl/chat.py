"""The chat template of Qwen2.5-VL, as pieces. Imports no torch.

A piece is a control token of the template or plain text, so that a conversation can be encoded without giving meaning
to special tokens that data happens to spell out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from kvl_eval.errors import PromptError
from kvl_eval.model.base import EncodedPrompt, Turn
from kvl_eval.model.qwen2_5_vl.tokenizer import IM_END, IM_START, IMAGE_PAD, VISION_END, VISION_START, QwenTokenizer

DEFAULT_SYSTEM = "You are a helpful assistant."


class Piece(NamedTuple):
    """A stretch of the rendered conversation."""

    text: str
    is_control: bool = False


def render(turns: Sequence[Turn], number_images: bool = False) -> str:
    """The conversation as the published template prints it; with numbers, `<image:1>` is the first placeholder."""
    texts, number = [], 0
    for piece in pieces(turns):
        is_image = piece == Piece(IMAGE_PAD, True)
        number += is_image
        texts.append(f"<image:{number}>" if is_image and number_images else piece.text)
    return "".join(texts)


def encode_turns(tokenizer: QwenTokenizer, turns: Sequence[Turn], image_tokens: Sequence[int]) -> EncodedPrompt:
    """Ids of a conversation in which the i-th picture takes `image_tokens[i]` placeholders, and where these stand.

    Content is plain text whatever it spells; only the template's own markers become control tokens.
    Raises: PromptError, if pictures and image parts differ in number.
    """
    rendered = list(pieces(turns))
    _check_slots(rendered.count(Piece(IMAGE_PAD, True)), len(image_tokens))
    remaining = iter(image_tokens)
    ids: list[int] = []
    places: list[int] = []
    for is_control, group in groupby(rendered, key=lambda piece: piece.is_control):
        if not is_control:
            ids += tokenizer.encode("".join(piece.text for piece in group))
            continue
        for piece in group:
            count = next(remaining) if piece.text == IMAGE_PAD else 1
            if piece.text == IMAGE_PAD:
                places += range(len(ids), len(ids) + count)
            ids += [tokenizer.special_tokens[piece.text]] * count
    return EncodedPrompt(ids, places)


def pieces(turns: Sequence[Turn]) -> Iterator[Piece]:
    """The conversation in order, the answer's turn opened; without a system message first, the default one opens it."""
    if turns and turns[0]["role"] != "system":
        yield from _turn("system", [Piece(DEFAULT_SYSTEM)])
    for turn in turns:
        yield from _turn(str(turn["role"]), _content(turn["content"]))
    yield from _opening("assistant")


def _opening(role: str) -> Iterator[Piece]:
    yield Piece(IM_START, True)
    yield Piece(f"{role}\n")


def _turn(role: str, content: Iterable[Piece]) -> Iterator[Piece]:
    yield from _opening(role)
    yield from content
    yield Piece(IM_END, True)
    yield Piece("\n")


def _content(content: object) -> Iterator[Piece]:
    if isinstance(content, str):
        yield Piece(content)
        return
    assert isinstance(content, list | tuple)
    for part in content:
        if part.get("type") == "image":
            yield from (Piece(name, True) for name in (VISION_START, IMAGE_PAD, VISION_END))
        elif isinstance(part.get("text"), str):
            yield Piece(part["text"])
        else:
            raise PromptError(
                "prompt.part",
                f"a content part of type {part.get('type')!r} has no image and no text",
                fix="use {'type': 'image', ...} or {'type': 'text', 'text': '...'}; a video is a list of images",
            )


def _check_slots(slots: int, images: int) -> None:
    """Raise PromptError unless there is one picture for each place that waits for one."""
    if slots != images:
        raise PromptError(
            "prompt.images",
            f"the prompt has {slots} image parts, but there are {images} images",
            fix="pass one image per image part of the messages",
        )
