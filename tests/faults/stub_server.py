"""An OpenAI-compatible server on 127.0.0.1 that answers as a test says: well, badly, late, or not at all.

with serving(lambda asked: chat("B")) as stub: ...        one function decides every answer
with serving(in_turn(failing(503), chat("B"))) as stub:   or one answer after the other, the last one for ever
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "stub-vl"


@dataclass(frozen=True)
class Answer:
    """What the server sends: `delay` seconds before the headers, `drip` seconds before each byte of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    hang_up: int | None = None  # close the connection after so many bytes of the body; -1: before the headers


@dataclass(frozen=True)
class Asked:
    """One request: its number from 0, its headers in lower case, and its body."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def texts(self) -> str:
        """Everything in it that is text."""
        parts = [message["content"] for message in self.body["messages"]]
        texts = [[part] if isinstance(part, str) else [one.get("text", "") for one in part] for part in parts]
        return "\n".join(text for one in texts for text in one)

    @property
    def pictures(self) -> list[str]:
        """Its data URIs."""
        parts = [message["content"] for message in self.body["messages"] if isinstance(message["content"], list)]
        return [one["image_url"]["url"] for content in parts for one in content if one["type"] == "image_url"]


Script = Callable[[Asked], Answer]


@dataclass
class Stub:
    """The server's address, and what was asked of it."""

    url: str
    script: Script
    models: Answer
    key: str | None = None  # that everything but /health wants; None wants none
    asked: list[Asked] = field(default_factory=list)
    probe: Script | None = None  # answers the question before a run; None says hello
    probes: list[Asked] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)


def chat(content: str | None, **fields: Any) -> Answer:
    """A good answer. `finish`, `model`, `usage`, `message` and `logprobs` may be said otherwise."""
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": fields.pop("finish", "stop")}
    if "logprobs" in fields:
        tokens = fields.pop("logprobs")
        pairs = [(token, list(token.encode("utf-8", "surrogatepass"))) for token in tokens]
        choice["logprobs"] = {"content": [{"token": token, "bytes": data} for token, data in pairs]}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": fields.pop("model", MODEL),
        "choices": fields.pop("choices", [choice]),
        "usage": fields.pop("usage", {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}),
    }
    return Answer(body=json.dumps(body).encode(), **fields)


def failing(status: int, text: str = "", **headers: str) -> Answer:
    """An error, as OpenAI-compatible servers put it."""
    body = json.dumps({"error": {"message": text or f"status {status}", "code": status}}).encode()
    return Answer(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def models(*names: str, **more: Any) -> Answer:
    """What `GET /models` answers."""
    data = [{"id": name, "object": "model", "created": int(time.time()), **more} for name in names]
    return Answer(body=json.dumps({"object": "list", "data": data}).encode())


def in_turn(*answers: Answer) -> Script:
    """One answer after the other, the last one for ever."""
    return lambda asked: answers[min(asked.number, len(answers) - 1)]


@contextmanager
def serving(script: Script, listed: Answer | None = None, *, port: int = 0, key: str | None = None) -> Iterator[Stub]:
    """A server until the block ends; what hangs then is cut off."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    server.block_on_close = False
    stub = Stub(f"http://127.0.0.1:{server.server_address[1]}/v1", script, listed or models(MODEL), key)
    server.stub = stub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def unused_address() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def _is_probe(body: Mapping[str, Any]) -> bool:
    from kvl_eval.backends.endpoint_requests import PROBE

    return bool(body["messages"] == [{"role": "user", "content": PROBE}])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        stub: Stub = self.server.stub
        stub.paths.append(self.path)
        if self.path == "/health":
            self._send(Answer())
        elif self._may_ask(stub):
            self._send(stub.models if self.path.endswith("/models") else failing(404))

    def _may_ask(self, stub: Stub) -> bool:
        if stub.key is None or self.headers.get("authorization") == f"Bearer {stub.key}":
            return True
        self._send(failing(401))
        return False

    def do_POST(self) -> None:
        stub: Stub = self.server.stub
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not self._may_ask(stub):
            return
        if stub.key is None and _is_probe(body):  # a server of kvl-eval's own has a key, and is asked no such question
            stub.probes.append(Asked(len(stub.probes), self.path, headers, body))
            self._send(stub.probe(stub.probes[-1]) if stub.probe else chat("hello"))
            return
        with stub.lock:
            asked = Asked(len(stub.asked), self.path, headers, body)
            stub.asked.append(asked)
            stub.paths.append(self.path)
            stub.under_way += 1
            stub.most_under_way = max(stub.most_under_way, stub.under_way)
        try:
            self._send(stub.script(asked))
        finally:
            with stub.lock:
                stub.under_way -= 1

    def _send(self, answer: Answer) -> None:
        wait = self.server.stub.closing.wait
        if wait(answer.delay):
            return
        if answer.hang_up == -1:
            self.close_connection = True
            return
        try:
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            if answer.drip:
                for number in range(len(answer.body)):
                    if wait(answer.drip):
                        return
                    self.wfile.write(answer.body[number : number + 1])
                    self.wfile.flush()
            self.wfile.write(answer.body[: answer.hang_up] if not answer.drip else b"")
            self.close_connection = self.close_connection or answer.hang_up is not None
        except OSError:  # the client went away
            self.close_connection = True
