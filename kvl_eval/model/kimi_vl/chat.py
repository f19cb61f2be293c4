"""The chat template of Kimi-VL (the same for Instruct, Thinking and Thinking-2506), as pieces. Imports no torch.

A piece is a control token of the template or plain text, so that a conversation can be encoded without giving meaning
to special tokens that data happens to spell out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from kvl_eval.errors import PromptError
from kvl_eval.model.base import Turn
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer

DEFAULT_SYSTEM = "You are a helpful assistant"
MEDIA_PAD = "<|media_pad|>"
ROLE_MARKERS = {"system": "<|im_system|>", "user": "<|im_user|>", "assistant": "<|im_assistant|>"}


class Piece(NamedTuple):
    """A stretch of the rendered conversation."""

    text: str
    is_control: bool


def render(messages: Sequence[Turn], add_generation_prompt: bool = True) -> str:
    """The conversation as one string, as the published template prints it."""
    return "".join(piece.text for piece in pieces(messages, add_generation_prompt))


def encode_messages(
    tokenizer: KimiTokenizer,
    messages: Sequence[Turn],
    image_tokens: Sequence[int],
    add_generation_prompt: bool = True,
) -> list[int]:
    """Ids of a conversation in which the i-th picture takes `image_tokens[i]` placeholders.

    Content is plain text whatever it spells; only the template's own markers become control tokens.
    Raises: PromptError, if pictures and image parts differ in number.
    """
    counts = list(image_tokens)
    check_slots(num_images(messages), len(counts))
    ids: list[int] = []
    remaining = iter(counts)
    for is_control, group in groupby(pieces(messages, add_generation_prompt), key=lambda piece: piece.is_control):
        if not is_control:
            ids += tokenizer.encode("".join(piece.text for piece in group))
            continue
        for piece in group:
            repeats = next(remaining) if piece.text == MEDIA_PAD else 1
            ids += [tokenizer.special_tokens[piece.text]] * repeats
    return ids


def pieces(messages: Sequence[Turn], add_generation_prompt: bool = True) -> Iterator[Piece]:
    """The conversation in order; without a system message first, the default one opens it."""
    if messages and messages[0]["role"] != "system":
        yield from _turn("system", [Piece(DEFAULT_SYSTEM, False)])
    for message in messages:
        yield from _turn(str(message["role"]), _content(message["content"]))
    if add_generation_prompt:
        yield from _opening("assistant")


def _opening(role: str) -> Iterator[Piece]:
    if role in ROLE_MARKERS:
        yield Piece(ROLE_MARKERS[role], True)
    yield Piece(role, False)
    yield Piece("<|im_middle|>", True)


def _turn(role: str, content: Iterable[Piece]) -> Iterator[Piece]:
    yield from _opening(role)
    yield from content
    yield Piece("<|im_end|>", True)


def _content(content: object) -> Iterator[Piece]:
    if isinstance(content, str):
        yield Piece(content, False)
        return
    for part in _parts(content):
        if is_image(part):
            yield from (Piece("<|media_start|>", True), Piece("image", False), Piece("<|media_content|>", True))
            yield from (Piece(MEDIA_PAD, True), Piece("<|media_end|>", True))
        elif isinstance(text := part.get("text"), str):
            yield Piece(text, False)
        else:
            raise PromptError(
                "prompt.part",
                f"a content part of type {part.get('type')!r} has no image and no text",
                fix="use {'type': 'image', ...} or {'type': 'text', 'text': '...'}; a video is a list of images",
            )


def _parts(content: object) -> Sequence[Mapping[str, object]]:
    """The parts of content other than plain text. Raises: PromptError, for content that is not a list of parts."""
    if not isinstance(content, list | tuple):
        raise PromptError(
            "prompt.part",
            f"the content of a message is a {type(content).__name__}",
            fix="use text or a list of parts",
        )
    return content


def is_image(part: Mapping[str, object]) -> bool:
    return part.get("type") == "image" or "image" in part or "image_url" in part


def num_images(messages: Sequence[Turn]) -> int:
    """Image parts of a conversation."""
    contents = (message["content"] for message in messages)
    return sum(is_image(part) for content in contents if not isinstance(content, str) for part in _parts(content))


def check_slots(slots: int, images: int) -> None:
    """Raise PromptError unless there is one picture for each place that waits for one."""
    if slots != images:
        raise PromptError(
            "prompt.images",
            f"the prompt has {slots} image parts, but there are {images} images",
            fix="pass one image per image part of the messages",
        )
