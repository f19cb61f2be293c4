"""Chat completions of an OpenAI-compatible server: one call, its retries, and how many may be under way at once.

Used by the `endpoint` backend and by judges. It speaks HTTP through httpx2, which huggingface_hub brings along, and
not through the `openai` package: that one reads keys, organisations and addresses from the environment, follows
redirects and proxy variables, retries by rules of its own (twice, no total time limit), reads bodies of any size,
and knows none of the fields that vLLM and SGLang add. tenacity makes the pauses between attempts.

The key of a server is read from the environment variable that the user named. It goes into one header, to one host,
and is taken out of every text a server sends back.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvl_eval import __version__
from kvl_eval.backends.chat_errors import ErrorInside, RefusedField, habit_of, is_overflow, read_error, refused_field
from kvl_eval.backends.chat_headers import retry_after
from kvl_eval.backends.chat_reply import MAX_BODY, Reply, bad_response, quoted, read_reply, without_key
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError, EndpointError, SampleError, UsageError
from kvl_eval.printable import one_line

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx2
    from tenacity import RetryCallState

CONNECTIONS = 8
REQUEST_SECONDS = 600.0
RETRIES = 5
LONGEST_PAUSE = 60.0  # seconds, also where a server asks for more
PROBE_SECONDS = 30.0
TOTAL = 3  # times the limit of one attempt: most seconds that all attempts of a request take before another begins
AGAIN = (408, 409, 425, 429)  # and everything from 500 on
OVERLOADED = (408, 429, 503, 504)
FOR_ALL = (401, 403, 404)  # nobody can use the server
FIELD_STATUS = (400, 422)  # of a field that the server does not take


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as the user named it; no secret in it.

    Attributes:
        base_url:        up to `/v1`.
        model:           the name it serves the model by; None takes the only one it lists.
        key_env:         the environment variable that holds the key; None sends none.
        max_connections: most requests under way.
        request_timeout: seconds per attempt, from connecting to the last byte.
        max_retries:     attempts after the first.
        pause:           seconds before the second attempt, doubled for each further one, plus up to as much at random.
    """

    base_url: str
    model: str | None = None
    key_env: str | None = None
    max_connections: int = CONNECTIONS
    request_timeout: int | float = REQUEST_SECONDS
    max_retries: int = RETRIES
    pause: int | float = 0.5

    def __post_init__(self) -> None:
        """Raises ConfigError for an invalid URL, or one with a secret, which the message then does not repeat."""
        try:
            parts = urlsplit(self.base_url)
            has_login = "@" in parts.netloc
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = has_login = False
            parts = urlsplit("")
        if has_login or parts.query or parts.fragment:
            raise ConfigError(
                "config.base_url",
                "a server URL must not contain a login, a query or a fragment",
                why="the URL is written to the run folder, and such parts can be secret",
                fix="put the key into an environment variable and pass its name with --api-key-env or --judge-key-env",
            )
        if not usable:
            raise ConfigError(
                "config.base_url",
                f"{self.base_url!r} is not a URL",
                fix="use a URL such as http://127.0.0.1:8000/v1",
            )
        if self.max_connections < 1 or self.request_timeout <= 0 or self.max_retries < 0:
            raise ConfigError(
                "config.endpoint",
                f"invalid connection settings: max_connections={self.max_connections} "
                f"request_timeout={self.request_timeout} max_retries={self.max_retries}",
                fix="use at least 1 connection, a positive timeout and at least 0 retries",
            )

    def url(self, path: str) -> str:
        """The address of `models` or `chat/completions`."""
        return f"{self.base_url.rstrip('/')}/{path}"

    def key(self) -> str:
        """The key, or nothing where none is named. Raises UsageError for a variable that is not set."""
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise UsageError(
                "usage.api_key",
                f"no API key in the environment variable {self.key_env}",
                why="it is not set or empty" if not key else "a key must be printable ASCII text",
                fix=f"export {self.key_env}=...",
            )
        return key


class _Retry(Exception):
    """An attempt that failed and is worth a retry.

    Attributes:
        after:      seconds to wait, as the server asks.
        overloaded: whether fewer requests at once may help.
    """

    def __init__(self, why: str, *, after: float | None = None, overloaded: bool = False) -> None:
        super().__init__(why)
        self.after = after
        self.overloaded = overloaded


class NoAnswer(SampleError):
    """`endpoint_error`: every attempt failed; `attempts` is their number."""

    def __init__(self, last: Exception, attempts: int, seconds: float) -> None:
        self.attempts = attempts
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__("endpoint_error", f"no reply after {times} in {seconds:.1f} s: {last}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentRequest:
    """A request as it is sent, the names of its fields, and whether its log-probabilities are needed."""

    content: bytes
    fields: frozenset[str]
    with_tokens: bool


class Gate:
    """How many requests may be under way: half as many after a sign of overload, one more after a round of successes.

    Requests that were under way together with the one that failed do not halve again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = 0
        self._room = float(most)
        self._epoch = 0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Most requests under way now."""
        return max(1, int(self._room))

    async def enter(self) -> int:
        """Wait for a place; the value belongs into `overloaded`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_flight < self.limit)
            self.in_flight += 1
            return self._epoch

    async def leave(self) -> None:
        """Give the place back."""
        async with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

    def overloaded(self, epoch: int) -> None:
        """The server could not keep up."""
        if epoch == self._epoch:
            self._epoch += 1
            self._room = max(1.0, self._room / 2)

    def succeeded(self) -> None:
        """The server answered."""
        self._room = min(float(self.most), self._room + 1 / self._room)


@dataclass(slots=True)
class ChatClient:
    """Asks one server; belongs to one event loop. `counts` holds calls, `limited` (429), timeouts and retries."""

    server: Server
    gate: Gate = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    _key: str = field(init=False, repr=False)
    _http: httpx2.AsyncClient | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.gate = Gate(self.server.max_connections)
        self._key = self.server.key()

    async def complete(self, body: Mapping[str, Json]) -> Reply:
        """The reply to one chat completion.

        Raises: EndpointError, if the server cannot be used by anybody (401, 403, 404, a redirect); SampleError
        `context_overflow`, `rejected_request` (other 4xx; a RefusedField where that is the cause), `bad_response` (no
        chat completion, or too large a body); NoAnswer.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_after_delay

        question = _SentRequest(
            content=json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace"),
            fields=frozenset(body),
            with_tokens="logprobs" in body,
        )
        begun, attempts, spent = time.monotonic(), 0, 0.0
        patience = stop_after_attempt(self.server.max_retries + 1) | stop_after_delay(
            TOTAL * self.server.request_timeout
        )
        retrying = AsyncRetrying(retry=retry_if_exception_type(_Retry), stop=patience, wait=self._pause, reraise=True)
        try:
            async for attempt in retrying:
                with attempt:
                    self.counts["retries"] += attempts > 0
                    attempts, spent = attempts + 1, time.monotonic() - begun
                    reply = await self._try(question)
        except _Retry as error:
            raise NoAnswer(error, attempts, time.monotonic() - begun) from None
        return replace(reply, attempts=attempts, waited=spent)

    async def _try(self, question: _SentRequest) -> Reply:
        """The reply of one successful call, made when there is room for it."""
        epoch = await self.gate.enter()
        try:
            self.counts["calls"] += 1
            reply = await self._post(question)
        except _Retry as error:
            if error.overloaded:
                self.gate.overloaded(epoch)
            raise
        finally:
            await self.gate.leave()
        self.gate.succeeded()
        return reply

    async def _post(self, question: _SentRequest) -> Reply:
        import httpx2

        self._http = self._http or new_client(self.server, self._key)
        try:
            async with (
                asyncio.timeout(self.server.request_timeout),
                self._http.stream("POST", self.server.url("chat/completions"), content=question.content) as response,
            ):
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_BODY:
                        raise bad_response(f"a response body of more than {MAX_BODY} bytes", self._quote(data))
        except TimeoutError:
            self.counts["timeouts"] += 1
            raise _Retry(f"no complete reply within {self.server.request_timeout:g} s", overloaded=True) from None
        except httpx2.TransportError as error:
            raise _Retry(f"{type(error).__name__}: {without_key(str(error), self._key)}") from None
        except httpx2.DecodingError as error:
            raise bad_response("a response body that cannot be decoded", without_key(str(error), self._key)) from None
        if not 200 <= response.status_code < 300:
            after = retry_after(response.headers.get("retry-after"))
            raise self._refusal(response.status_code, bytes(data), question, after)
        try:
            return read_reply(bytes(data), self._quote, with_tokens=question.with_tokens)
        except ErrorInside as error:
            raise self._refusal(error.status, bytes(data), question) from None

    def _refusal(self, status: int, data: bytes, question: _SentRequest, after: float | None = None) -> Exception:
        """The error that a status stands for, with what the server says."""
        text, error = self._quote(data), read_error(data)
        habit = habit_of(error)
        if status >= 400 and status not in (*FOR_ALL, 429) and is_overflow(error):
            said = one_line(without_key(error.message, self._key))
            message = f"the prompt is longer than the server's context: {said}"
            return SampleError("context_overflow", message, fix="lower --max-pixels or --frames, or skip the sample")
        if status in AGAIN or status >= 500:
            self.counts["limited"] += status == 429
            said = "; ".join(part for part in (text, habit) if part)
            return _Retry(f"HTTP {status}: {said}".rstrip(": "), after=after, overloaded=status in OVERLOADED)
        if status in FOR_ALL or status < 400:
            return refused(self.server, status, text, habit)
        field = refused_field(error, question.fields) if status in FIELD_STATUS else None
        if field is not None:
            return RefusedField(field, f"HTTP {status}: {text}")
        why = habit or "the server rejected the request"
        return SampleError("rejected_request", f"HTTP {status}: {text}", why=why)

    def _pause(self, state: RetryCallState) -> float:
        """Seconds to the next try: what the server asks for, else a growing time, both with a little chance in them."""
        from tenacity import wait_exponential, wait_random

        error = state.outcome.exception() if state.outcome is not None else None
        pause = self.server.pause
        seconds = wait_exponential(multiplier=pause, max=LONGEST_PAUSE)(state)
        if isinstance(error, _Retry) and error.after is not None:
            seconds = min(error.after, LONGEST_PAUSE)
        return float(seconds + wait_random(0, pause)(state))

    def _quote(self, data: bytes | bytearray) -> str:
        return quoted(data, self._key)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def new_client(server: Server, key: str) -> httpx2.AsyncClient:
    """A client that follows neither redirects nor proxy variables, and sends the key to this server alone."""
    import httpx2

    limits = httpx2.Limits(max_connections=server.max_connections, max_keepalive_connections=server.max_connections)
    timeout = httpx2.Timeout(None, connect=min(PROBE_SECONDS, server.request_timeout))
    return httpx2.AsyncClient(
        headers=headers_for(key),
        timeout=timeout,
        limits=limits,
        follow_redirects=False,
        trust_env=False,
        verify=certificates(),
    )


@cache
def certificates() -> SSLContext:
    """Certificate authorities; loaded once, since that takes longer than a request."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def headers_for(key: str) -> dict[str, str]:
    """What is sent with every call."""
    login = {"authorization": f"Bearer {key}"} if key else {}
    return {
        "accept": "application/json",
        "accept-encoding": "identity",  # a size limit is none where bodies may be packed
        "content-type": "application/json",
        "user-agent": f"kvl-eval/{__version__}",
        **login,
    }


def refused(server: Server, status: int, text: str, habit: str | None = None) -> EndpointError:
    """The error for a server that rejects every request; `habit` explains the reply of a known server."""
    if 300 <= status < 400:
        return EndpointError(
            "endpoint.redirect",
            f"{server.base_url} redirects to another address (HTTP {status})",
            why="redirects are not followed, so that the API key is not sent to another server",
            fix="use the final URL in its place",
        )
    key = f"the API key in {server.key_env}" if server.key_env else "whether the server needs an API key"
    hints = {
        401: f"check {key}",
        403: f"check {key}",
        404: "check the URL (ending in /v1) and the name of the model",
    }
    return EndpointError(
        "endpoint.refused",
        f"{server.base_url} returned HTTP {status}",
        why=text or None,
        fix=habit or hints.get(status, "check the server's log"),
    )
