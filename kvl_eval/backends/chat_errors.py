"""What the errors of servers say: longer prompts than they take, fields they refuse, and what to do about their habits.

Tables of what servers were seen to write; `read_error` decodes an error's body.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from kvl_eval.decode import ReadLimits, decode, read_json
from kvl_eval.errors import DecodeError, SampleError

LIMITS = ReadLimits(size=2**20, keeps_large=True)
SERVER_FAULT = 500  # of an error that names no status


class ErrorInside(Exception):
    """An error inside a success; `status` is the one it stands for, 400 to 599."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status} inside a successful response")
        self.status = status


class RefusedField(SampleError):
    """`rejected_request`: the server does not take a field of the request.

    Attributes:
        field: its name.
        text:  what the server says.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__("rejected_request", text, why=f"the server rejected the field {field}")
        self.field = field
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """What an error's body says.

    Attributes:
        message: in words; the whole body where it has no field for it.
        code:    such as `context_length_exceeded`; empty where none is given.
        param:   the field of the request that it is about; empty where none is named.
    """

    message: str
    code: str = ""
    param: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ErrorObject:
    """OpenAI's form; vLLM and others put the same fields, or `detail`, at the top."""

    message: object = None
    detail: object = None
    code: object = None
    type: object = None
    param: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ErrorBody:
    error: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OllamaReply:
    """Ollama's own form of a reply."""

    model: str
    done: bool


def read_error(data: bytes) -> ServerError:
    """What an error's body says, in whatever form; never raises."""
    text = data[:4096].decode("utf-8", "replace")
    try:
        value = read_json(data, LIMITS)
        error = decode(_ErrorBody, value).error
        if isinstance(error, str):
            return ServerError(message=error)
        fields = decode(_ErrorObject, value if error is None else error)
    except DecodeError:
        return ServerError(message=text)
    message = fields.message if isinstance(fields.message, str) else text
    words = [word for word in (fields.code, fields.type) if isinstance(word, str)]
    return ServerError(
        message=message[:4096], code=" ".join(words), param=fields.param if isinstance(fields.param, str) else ""
    )


def inner_status(error: object) -> int:
    """The status that an error inside a success stands for: its code, if it is 400 to 599, else 500."""
    try:
        code = decode(_ErrorObject, error).code
    except DecodeError:
        code = None
    text = str(code) if type(code) in (int, str) else ""
    status = int(text) if re.fullmatch(r"[45]\d\d", text, re.ASCII) else SERVER_FAULT
    return 404 if status == SERVER_FAULT and isinstance(error, str) and NO_SUCH_PATH.search(error) else status


# -- longer than the context

OVERFLOW = re.compile(
    "|".join(
        (
            r"context_length_exceeded",  # OpenAI and hosted ones
            r"exceed_context_size",  # llama.cpp, as a type
            r"maximum context length",  # OpenAI, vLLM, OpenRouter, Ollama
            r"(longer than|exceeds?) the (maximum )?(model('s)? )?(maximum )?(model|context) length",  # vLLM, SGLang
            r"longer than the model's context length",  # SGLang
            r"too long to fit into the model",  # vLLM
            r"exceeds? the available context size",  # llama.cpp
            r"max_tokens must be at least 1, got -",  # vLLM, of what the prompt leaves
            r"prompt is too long",  # hosted ones
            r"greater than the context length|context (the )?overflows",  # LM Studio
            r"exceeds the maximum number of tokens allowed",  # hosted ones
            r"too large for model with \d+ maximum context",  # hosted ones
            r"`inputs` tokens \+ `max_new_tokens` must be",  # TGI
        )
    ),
    re.IGNORECASE,
)


def is_overflow(error: ServerError) -> bool:
    """Whether a prompt was longer than the server's context."""
    return OVERFLOW.search(f"{error.code} {error.message}") is not None


# -- fields that are refused

FIELDS = ("seed", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "logprobs")
PLACE = re.compile(r"""\bloc\b['"]?\s*[:=]\s*[(\[]\s*['"]body['"],\s*['"](\w+)""")  # pydantic's: the text may echo all
REACHED = re.compile(r"reached|could not finish", re.IGNORECASE)  # a limit that did its work
TOO_MUCH = re.compile(r"too (large|high|big)|at most|must be (less|smaller)", re.IGNORECASE)
ONLY = re.compile(r"\bonly\b[^\d]{0,24}(\d+(\.\d+)?)", re.IGNORECASE)  # the one value that is taken


def refused_field(error: ServerError, sent: Collection[str]) -> str | None:
    """The field of those `sent` that an error of status 400 is about; None where it is about none of them."""
    place = PLACE.search(error.message)
    if place is not None:
        return place[1] if place[1] in FIELDS and place[1] in sent else None
    if REACHED.search(error.message):
        return None
    names = [name for name in FIELDS if name in sent]
    if error.param in names:
        return error.param
    return next((name for name in names if re.search(rf"(?<!\w){name}(?!\w)", error.message)), None)


def way_out(field: str, text: str, omitted: Collection[str] = ()) -> str:
    """The flag that gets along without a refused field; `omitted` are those that are left out already."""
    if field in ("max_tokens", "max_completion_tokens"):
        other = "max_completion_tokens" if field == "max_tokens" else "max_tokens"
        return "a smaller --max-new-tokens" if TOO_MUCH.search(text) else f"--model-args limit_field={other}"
    only = ONLY.search(text)
    if field == "temperature" and only is not None:
        return f"--temperature {only[1]}"
    return f"--model-args omit={'+'.join([*omitted, field])}"


# -- habits

NO_SUCH_PATH = re.compile(r"unexpected endpoint or method", re.IGNORECASE)
HABITS = (
    (
        re.compile(r"mmproj|image input is not supported", re.IGNORECASE),
        "the model has no image projector; start llama.cpp with --mmproj FILE",
    ),
    (
        re.compile(r"no endpoints found that support image", re.IGNORECASE),
        "OpenRouter has no provider that accepts images for this model; choose another one with --served-model",
    ),
    (
        re.compile(r"loading model", re.IGNORECASE),
        "the server is still loading its model; wait for it, or raise --max-retries",
    ),
    (
        re.compile(r"try pulling it", re.IGNORECASE),
        "Ollama does not have this model; run `ollama pull`, or choose another one with --served-model",
    ),
    (
        re.compile(r"model (is )?unloaded|no models? (is )?loaded", re.IGNORECASE),
        "LM Studio has no model loaded; load it first",
    ),
    (NO_SUCH_PATH, "LM Studio has no such path; the URL must end in /v1"),
)


def habit_of(error: ServerError) -> str | None:
    """What a known server means by an error, and what to do, in one sentence; None for any other."""
    return next((sentence for pattern, sentence in HABITS if pattern.search(error.message)), None)


def habit_of_body(data: bytes) -> str | None:
    """The same for a successful response that is not a chat completion."""
    if data.lstrip().startswith((b"data:", b"event:")):
        return "the server streams without being asked to; turn streaming off in its settings"
    try:
        decode(_OllamaReply, read_json(data, LIMITS))
    except DecodeError:
        return None
    return "this is Ollama's own format; the URL must end in /v1"
