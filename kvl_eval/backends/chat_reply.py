"""What a chat completion holds: a reply's fields and tokens, and the errors for a body that is none.

The shapes below are what servers may send; `read_reply` decodes them and nothing else looks into a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from kvl_eval.backends.chat_errors import ErrorInside, habit_of_body, inner_status
from kvl_eval.decode import Between, Count, Json, Length, ReadLimits, decode, read_json, shown
from kvl_eval.errors import DecodeError, SampleError
from kvl_eval.printable import LONGEST, printable

MAX_BODY = 32 * 2**20  # bytes of one reply; 16,384 tokens with their log-probabilities take about 3 MiB
LIMITS = ReadLimits(size=MAX_BODY, keeps_large=True)
MOST_VALUES = 2**20  # in one body; a token with its log-probability has about ten
QUOTED_BYTES = 4 * LONGEST
TEXT_PARTS = ("text", "output_text")
THOUGHT_PARTS = ("thinking", "reasoning")
FAILED = ("error", "abort")  # words for an answer that the server gave up

Byte = Annotated[int, Between(0, 255)]
ModelName = Annotated[str, Length(0, 512)]


# -- what servers send


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentPart:
    """One part of a content list; a thought is a text or a list of parts."""

    type: str
    text: str | None = None
    thinking: str | list[_SentPart] | None = None
    reasoning: str | list[_SentPart] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentMessage:
    content: str | Annotated[list[_SentPart], Length(1, 2**16)] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentChoice:
    message: _SentMessage
    finish_reason: str | None = None
    logprobs: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _CountDetails:
    reasoning_tokens: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _CountField:
    value: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentUsage:
    prompt_tokens: object = None
    completion_tokens: object = None
    completion_tokens_details: _CountDetails | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentReply:
    choices: Annotated[list[object], Length(1, 2**16)]
    model: ModelName | None = None
    usage: _SentUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FailedChoice:
    error: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FailedBody:
    error: object = None
    choices: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentToken:
    token: str
    bytes: Annotated[tuple[Byte, ...], Length(0, 4096)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentLogprobs:
    content: list[_SentToken] | None = None


# -- what is made of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCounts:
    """A server's token counts; None where it sends none, or none that can be used.

    Attributes:
        prompt:     of the prompt.
        completion: of all that was written.
        thinking:   of the thought.
        unusable:   whether one of them was sent but is not an integer from 0 to 2^53.
    """

    prompt: int | None = None
    completion: int | None = None
    thinking: int | None = None
    unusable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered.

    Attributes:
        content:   the answer; None where the server sent none.
        reasoning: the thought, where the server splits it off, and by which field.
        finish:    why it ended, in the server's word; None where it does not say.
        model:     which model answered, as the server says; may be empty.
        usage:     its token counts.
        tokens:    bytes of the tokens written, where log-probabilities were asked for and came.
        limit:     most new tokens that were asked for; None where no limit was sent.
        attempts:  how many were made, the last one included.
        waited:    seconds spent in pauses and in calls that failed.
    """

    content: str | None
    reasoning: str | None
    reasoning_field: str | None
    finish: str | None
    model: str
    usage: ServerCounts = field(default_factory=ServerCounts)
    tokens: tuple[bytes, ...] | None = None
    refusal: str | None = None
    limit: int | None = None
    attempts: int = 1
    waited: float = 0.0


def read_reply(data: bytes, quote: Callable[[bytes], str], *, with_tokens: bool = False) -> Reply:
    """A chat completion's first choice.

    Args:
        quote:       the beginning of a body, as errors show it.
        with_tokens: whether its log-probabilities are needed; else they are not looked at.
    Raises: ErrorInside for an error where an answer should be; SampleError `bad_response`, which names the first wrong
    field and quotes the first 200 characters.
    """
    try:
        value = read_body(data)
    except DecodeError as error:
        raise bad_response(habit_of_body(data) or f"the body {error.message}", quote(data)) from None
    try:
        _check_failure(value)
        completion = decode(_SentReply, value)
        _check_choice(completion.choices[0])
        return _reply(completion, decode(_SentChoice, completion.choices[0], "choices[0]"), with_tokens=with_tokens)
    except DecodeError as error:
        raise bad_response(habit_of_body(data) or error.message, quote(data)) from None


def read_body(data: bytes) -> Json:
    """What a server sent, numbers beyond the limits left to the types. Raises DecodeError."""
    if data.count(b",") > MOST_VALUES:
        raise DecodeError("input.form", f"contains more than {MOST_VALUES:,} values")
    return read_json(data, LIMITS)


def _check_failure(value: object) -> None:
    """Raises ErrorInside for a body with an error and no choice."""
    body = decode(_FailedBody, value)
    if body.error is not None and not (isinstance(body.choices, list) and body.choices):
        raise ErrorInside(inner_status(body.error))


def _check_choice(value: object) -> None:
    """Raises ErrorInside for a choice with an error of its own."""
    error = decode(_FailedChoice, value, "choices[0]").error
    if error is not None:
        raise ErrorInside(inner_status(error))


def _reply(completion: _SentReply, choice: _SentChoice, *, with_tokens: bool) -> Reply:
    message = choice.message
    content, thought = _texts(message)
    if choice.finish_reason in FAILED:
        raise ErrorInside(500)
    names: Mapping[str, str | None] = {
        "reasoning_content": message.reasoning_content,
        "reasoning": message.reasoning,
        "content": thought,
    }
    name = next((name for name, text in names.items() if text is not None), None)
    reasoning = None if name is None else names[name]
    if content is None and not reasoning and not message.refusal:
        raise DecodeError("input.form", "choices[0].message.content: null, expected text")
    tokens = _tokens(choice.logprobs) if with_tokens else None
    return Reply(
        content=content,
        reasoning=reasoning,
        reasoning_field=name,
        finish=choice.finish_reason,
        model=completion.model or "",
        usage=_usage(completion.usage or _SentUsage()),
        tokens=tokens,
        refusal=message.refusal,
    )


def _texts(message: _SentMessage) -> tuple[str | None, str | None]:
    """The answer, and the thought among the parts of a content list."""
    if not isinstance(message.content, list):
        return message.content, None
    answer, thought = list[str](), list[str]()
    for number, part in enumerate(message.content):
        path = f"choices[0].message.content[{number}]"
        if part.type in TEXT_PARTS:
            answer.append(_text(part, path))
        elif part.type in THOUGHT_PARTS:
            thought.append(_thought(part, path))
        else:
            raise _odd_part(part, path)
    return "".join(answer) if answer else None, "".join(thought) if thought else None


def _text(part: _SentPart, path: str) -> str:
    return decode(str, part.text, f"{path}.text")


def _thought(part: _SentPart, path: str) -> str:
    inner = next((value for value in (part.thinking, part.reasoning, part.text) if value is not None), None)
    if not isinstance(inner, list):
        return decode(str, inner, f"{path}.{part.type}")
    texts = list[str]()
    for number, piece in enumerate(inner):
        place = f"{path}.{part.type}[{number}]"
        if piece.type not in TEXT_PARTS:  # a thought holds no thought
            raise _odd_part(piece, place)
        texts.append(_text(piece, place))
    return "".join(texts)


def _odd_part(part: _SentPart, path: str) -> DecodeError:
    wanted = ", ".join([*TEXT_PARTS, *THOUGHT_PARTS])
    return DecodeError("input.form", f"{path}.type: {shown(part.type)}, expected one of {wanted}")


def _usage(usage: _SentUsage) -> ServerCounts:
    details = usage.completion_tokens_details or _CountDetails()
    sent = (usage.prompt_tokens, usage.completion_tokens, details.reasoning_tokens)
    counts = [usable_count(value) for value in sent]
    unusable = any(count is None and value is not None for count, value in zip(counts, sent, strict=True))
    return ServerCounts(prompt=counts[0], completion=counts[1], thinking=counts[2], unusable=unusable)


def usable_count(value: object) -> int | None:
    """A foreign count, if it is an integer from 0 to 2^53; else None."""
    try:
        return None if value is None else decode(_CountField, {"value": value}).value
    except DecodeError:
        return None


def _tokens(logprobs: object) -> tuple[bytes, ...] | None:
    content = None if logprobs is None else decode(_SentLogprobs, logprobs, "choices[0].logprobs").content
    if not content:
        return None
    return tuple(
        token.token.encode("utf-8", "surrogatepass") if token.bytes is None else bytes(token.bytes) for token in content
    )


def bad_response(what: str, beginning: str) -> SampleError:
    """The error for a body that is not a chat completion, with its beginning."""
    return SampleError("bad_response", f"not a chat completion: {what}; it begins {beginning!r}")


def quoted(data: bytes | bytearray, key: str) -> str:
    """The first 200 characters of a body on one printable line, without the key; how many bytes more is said."""
    text = printable(without_key(bytes(data[: QUOTED_BYTES + len(key)]), key), keep="")
    rest = len(text) > LONGEST or len(data) > QUOTED_BYTES + len(key)
    return f"{text[:LONGEST]}... ({len(data):,} bytes in total)" if rest else text


def without_key(text: str | bytes, key: str) -> str:
    """The text as one line, with the key replaced by `***`."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join((shown.replace(key, "***") if key else shown).split())
