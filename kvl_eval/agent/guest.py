"""The host's side of the server in a sandboxed desktop. What it says is not trusted, and nothing is ever repeated."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote

from kvl_eval.agent.actions import AgentAction, ScreenSize
from kvl_eval.agent.base import Screenshot
from kvl_eval.agent.desk import desktop_died
from kvl_eval.agent.stored import stored_action
from kvl_eval.decode import Json, encode_object, read_json
from kvl_eval.errors import DecodeError, SampleError
from kvl_eval.media.images import open_image

MOST_BYTES = 16 << 20  # of a reply
ACT = 10.0  # seconds in which a screen may settle after an action
MOST_STATE = 2_000  # characters
TIMEOUT = 120.0  # seconds of one request; the desktop's thread has limits of its own


@dataclass(frozen=True, slots=True)
class GuestReply:
    """What the server said: a status of HTTP, the content, and the state of the task's program."""

    status: int
    content: bytes
    state: str


@dataclass(frozen=True, slots=True)
class GuestOutput:
    """How a program in the desktop ended, and what it printed."""

    code: int
    output: str


class GuestError(OSError):
    """The server does not answer, or answers nonsense."""


class _Connection(HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("desktop", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Guest:
    """A connection to the server of one desktop.

    Attributes:
        state: what the task's program said of itself in the last reply.
    """

    def __init__(self, path: Path, size: ScreenSize) -> None:
        self.state = ""
        self._size = size
        self._connection = _Connection(path)

    def ask(self, method: str, route: str, body: bytes | None = None) -> GuestReply:
        """One request, sent once. Raises: GuestError."""
        try:
            self._connection.request(method, route, body)
            response = self._connection.getresponse()
            content = response.read(MOST_BYTES + 1)
        except (OSError, HTTPException) as error:
            self.close()
            raise GuestError(f"{type(error).__name__}: {error}") from error
        if len(content) > MOST_BYTES:
            self.close()
            raise GuestError(f"a reply of more than {MOST_BYTES >> 20} MiB")
        self.state = (response.getheader("X-State") or "")[:MOST_STATE]
        return GuestReply(response.status, content, self.state)

    def screenshot(self) -> Screenshot:
        """What the desktop shows. Raises: DesktopDied."""
        try:
            return self._screen(self.ask("GET", "/screenshot"))
        except GuestError as error:
            raise desktop_died(f"the desktop does not answer: {error}") from error

    def act(self, action: AgentAction, *, quiet: float, least: int = -1, limit: float = ACT) -> Screenshot | str:
        """The screen after an action, settled; the server's words where it refused it.

        The screen is settled once it has not changed for `quiet` seconds in which no program worked, and the task's
        program has seen `least` presses, where there is one; or after `limit` seconds. Raises: DesktopDied.
        """
        stored = encode_object(stored_action(action))
        body = json.dumps({"action": stored, "quiet": quiet, "least": least, "limit": limit})
        try:
            reply = self.ask("POST", "/act", body.encode())
        except GuestError as error:
            raise desktop_died(f"the desktop does not answer: {error}") from error
        if reply.status != 200:
            return f"HTTP {reply.status}: {reply.content[:300].decode(errors='replace')}"
        return self._screen(reply)

    def upload(self, name: str, content: bytes) -> None:
        """Put a file into the home folder. Raises: GuestError, also for a name that leaves the folder."""
        self._done("POST", f"/upload?name={quote(name, safe='')}", content)

    def launch(self, command: Sequence[str]) -> None:
        """Start a program. Raises: GuestError."""
        self._done("POST", "/launch", json.dumps({"command": list(command)}).encode())

    def run(self, command: Sequence[str]) -> GuestOutput:
        """What a program prints until it ends. Raises: GuestError."""
        value = self._object("/run", self._done("POST", "/run", json.dumps({"command": list(command)}).encode()))
        code = value.get("code")
        return GuestOutput(code if isinstance(code, int) else -1, str(value.get("output")))

    def file(self, name: str) -> bytes | None:
        """The content of a file in the home folder; None where there is none. Raises: GuestError."""
        reply = self.ask("GET", f"/file?name={quote(name, safe='')}")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise GuestError(f"{name}: HTTP {reply.status}: {reply.content[:300].decode(errors='replace')}")
        return reply.content

    def versions(self) -> Mapping[str, str]:
        """{program: version}, as the server says. Raises: GuestError."""
        versions = self.facts("/about").get("versions")
        return {name: str(text)[:100] for name, text in versions.items()} if isinstance(versions, dict) else {}

    def facts(self, route: str) -> Mapping[str, Json]:
        """A JSON object. Raises: GuestError."""
        return self._object(route, self._done("GET", route))

    def _object(self, route: str, content: bytes) -> Mapping[str, Json]:
        try:
            value = read_json(content)
        except DecodeError as error:
            raise GuestError(f"{route}: {error.message}") from error
        if not isinstance(value, dict):
            raise GuestError(f"{route}: not an object")
        return value

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._connection.close()

    def _done(self, method: str, route: str, body: bytes | None = None) -> bytes:
        reply = self.ask(method, route, body)
        if reply.status != 200:
            raise GuestError(f"{route}: HTTP {reply.status}: {reply.content[:300].decode(errors='replace')}")
        return reply.content

    def _screen(self, reply: GuestReply) -> Screenshot:
        if reply.status != 200:
            raise desktop_died(f"/screenshot: HTTP {reply.status}")
        try:
            image = open_image(reply.content, "screen").image
            image.load()
        except (SampleError, OSError, ValueError) as error:
            raise desktop_died(f"the desktop's screen is not an image: {error}") from error
        if image.size != (self._size.width, self._size.height) or not reply.content.startswith(b"\x89PNG"):
            raise desktop_died(f"the desktop's screen is not a PNG of {self._size.width}x{self._size.height}")
        return Screenshot(reply.content, self._size)
