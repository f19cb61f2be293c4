"""What a chat completion holds: a reply's fields, its tokens, and the error for a body that is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kvl_eval.decode import Json
from kvl_eval.errors import SampleError
from kvl_eval.printable import LONGEST, printable

QUOTED_BYTES = 4 * LONGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered.

    Attributes:
        content:   the answer; None where the server sent none.
        reasoning: the thought, where the server splits it off, and by which field.
        finish:    why it ended, in the server's word.
        model:     which model answered, as the server says.
        usage:     its token counts.
        tokens:    bytes of the tokens written, where log-probabilities were asked for and came.
        tries:     calls made, the last one included.
        waited:    seconds spent in pauses and in calls that failed.
    """

    content: str | None
    reasoning: str | None
    reasoning_field: str | None
    finish: str
    model: str
    usage: Mapping[str, Json]
    tokens: tuple[bytes, ...] | None
    refusal: str | None = None
    tries: int = 1
    waited: float = 0.0

    def count(self, name: str) -> int:
        """A token count of `usage`; 0 where it has none."""
        value = self.usage.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def parse_reply(data: bytes, quote: Callable[[bytes], str], tries: int = 1, waited: float = 0.0) -> Reply:
    """A chat completion's first choice. Raises SampleError `bad_response`, quoting the first 200 characters."""
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message = choice["message"]
        content, finish, usage = message.get("content"), choice.get("finish_reason"), body.get("usage") or {}
        names = [name for name in ("reasoning_content", "reasoning") if isinstance(message.get(name), str)]
        reasoning = message[names[0]] if names else None
        if not isinstance(content, str | None) or not isinstance(usage, dict):
            raise TypeError("content is neither text nor null")
        if content is None and not reasoning and not message.get("refusal"):
            raise TypeError("content is null")
        return Reply(
            content=content,
            reasoning=reasoning,
            reasoning_field=names[0] if names else None,
            finish=str(finish),
            model=str(body.get("model") or ""),
            usage=usage,
            tokens=_tokens(choice.get("logprobs")),
            refusal=message.get("refusal"),
            tries=tries,
            waited=waited,
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise bad_response(_fault(error), quote(data)) from None


def _tokens(logprobs: Any) -> tuple[bytes, ...] | None:
    if not logprobs or not logprobs.get("content"):
        return None
    return tuple(
        bytes(token["bytes"]) if token.get("bytes") is not None else token["token"].encode()
        for token in logprobs["content"]
    )


def _fault(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return "`choices` is empty" if isinstance(error, IndexError) else f"{type(error).__name__}: {error}"


def bad_response(what: str, beginning: str) -> SampleError:
    """The error for what is no chat completion, with the beginning of what came."""
    return SampleError("bad_response", f"no chat completion: {what}; it begins {beginning!r}")


def quoted(data: bytes | bytearray, key: str) -> str:
    """The first 200 characters of a body on one printable line, without the key; how many bytes more is said."""
    text = printable(without_key(bytes(data[: QUOTED_BYTES + len(key)]), key), keep="")
    rest = len(text) > LONGEST or len(data) > QUOTED_BYTES + len(key)
    return f"{text[:LONGEST]}... ({len(data):,} bytes in all)" if rest else text


def without_key(text: str | bytes, key: str) -> str:
    """The text as one line, with the key replaced by `***`."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join((shown.replace(key, "***") if key else shown).split())
