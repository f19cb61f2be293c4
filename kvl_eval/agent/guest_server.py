"""The server inside a sandboxed desktop: screenshots, typed actions, files, programs. Runs on Debian's Python alone.

    GET  /screenshot    the screen as PNG; header X-State: what the task's program says of itself
    POST /act           a stored action and how to wait for it -> the screen as GET /screenshot
    POST /upload?name=  bytes -> a file in the home folder
    GET  /file?name=    a file of the home folder
    POST /launch        {"command": [...]} -> {"pid": N}
    POST /run           {"command": [...]} -> {"code": N, "output": TEXT}, once it has ended
    GET  /probe         what the sandbox lets through
    GET  /about         {"versions": {name: version}, "requests": N, "programs": N}

It listens on a UNIX socket in a folder that the host bound; the sandbox has no network.
"""

from __future__ import annotations

import errno
import glob
import json
import mmap
import os
import platform
import resource
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TypedDict
from urllib.parse import parse_qs, urlsplit

from kvl_eval.agent.guest_display import LOOK, Display, GuestAction, png, replay

HOME = Path("/home/user")
STATE = HOME / ".state"  # what a task's program says of itself
MOST_STATE = 2_000  # bytes
MOST_BODY = 64 << 20  # bytes
MOST_OUTPUT = 1 << 20  # bytes of what a program prints
RUN_LIMIT = 60  # seconds until a program must have ended
LARGE = 3 << 30  # bytes that a process must not get
FORKS = 600  # processes that must not all start


class ActRequest(TypedDict):
    """The body of POST /act: the action, and when the screen counts as settled."""

    action: GuestAction
    quiet: float
    least: int
    limit: float


# -- files ----------------------------------------------------------------------------------------------------------


def inside_home(name: str) -> Path:
    """The path of a file in the home folder. Raises: ValueError for one that leaves it, by its name or by a link."""
    path = HOME / name
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"not a file of the home folder: {name!r}")
    if path.resolve() != HOME.resolve() / name:
        raise ValueError(f"a link: {name!r}")
    return path


def state() -> str:
    """What the task's program says of itself."""
    with suppress(OSError), STATE.open("rb") as file:
        return file.read(MOST_STATE).decode("ascii", "replace").strip()
    return ""


def presses() -> int:
    """How many presses of a button the task's program has seen: its state is a list of them; -1 without a state."""
    try:
        return len(json.loads(state()))
    except (ValueError, TypeError):
        return -1


# -- the probe ------------------------------------------------------------------------------------------------------


def probe() -> dict[str, object]:
    """What the sandbox lets through; the host compares it with what it should be."""
    return {
        "uid": os.getuid(),
        "root": sorted(os.listdir("/")),
        "homes": sorted(os.listdir("/home")),
        "network": _network(),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "writable": [folder for folder in ("/", "/usr", "/etc", "/desk") if os.access(folder, os.W_OK)],
        "large": _gets_large(),
        "forks": _forks(),
        "limits": {"processes": _soft(resource.RLIMIT_NPROC), "data": _soft(resource.RLIMIT_DATA)},
    }


def _soft(kind: int) -> int:
    return resource.getrlimit(kind)[0]


def _network() -> str:
    """Why a public address cannot be reached; empty where it can."""
    with socket.socket() as connection:
        connection.settimeout(3)
        try:
            connection.connect(("192.0.2.1", 80))
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
    return ""


def _gets_large() -> bool:
    """Whether a process gets more memory than any should."""
    try:
        mmap.mmap(-1, LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def _forks() -> int:
    """How many processes could be started before one was refused, at most `FORKS`."""
    children = []
    try:
        for _ in range(FORKS):
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(children)


def is_busy() -> bool:
    """Whether any thread of this desktop is running, waits for the CPU or reads a file; server and X are left out."""
    for path in glob.iglob("/proc/[0-9]*/task/[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = Path(path).read_text(errors="replace").rpartition(") ")
            if tail[:1] in ("R", "D") and int(head.split(" ", 1)[0]) != os.getpid() and "(Xvfb" not in head:
                return True
    return False


# -- requests -------------------------------------------------------------------------------------------------------


class GuestHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    display: Display
    requests = 0
    programs = 0

    def do_GET(self) -> None:
        """Screens, files and facts."""
        GuestHandler.requests += 1
        route, name = self._route()
        if route == "/screenshot":
            self._screen(self.display.pixels())
        elif route == "/file":
            self._answer(lambda: inside_home(name).read_bytes())
        elif route == "/probe":
            self._json(probe())
        elif route == "/about":
            versions = {"x_server": self.display.release, "guest_python": platform.python_version()}
            self._json({"versions": versions, "requests": GuestHandler.requests, "programs": GuestHandler.programs})
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Actions, uploads and programs."""
        GuestHandler.requests += 1
        route, name = self._route()
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MOST_BODY:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        if route == "/act":
            self._act(json.loads(body))
        elif route == "/upload":
            self._answer(lambda: _upload(name, body))
        elif route == "/launch":
            self._answer(lambda: _launch(json.loads(body)["command"]))
        elif route == "/run":
            self._answer(lambda: _run(json.loads(body)["command"]))
        else:
            self.send_error(404)

    def _act(self, body: ActRequest) -> None:
        try:
            replay(self.display, body["action"])
        except (ValueError, KeyError, TypeError) as error:
            self._reply(422, str(error).encode(), "text/plain")
            return
        self._screen(self._settled(body))

    def _settled(self, body: ActRequest) -> bytes:
        """The screen once it stays as it is for `quiet` seconds in which no program works, and the state has `least`
        presses; at most `limit`.

        A program that waits for the CPU may have drawn nothing yet.
        """
        end = time.monotonic() + body["limit"]
        while presses() < body["least"] and time.monotonic() < end:
            time.sleep(LOOK)
        pixels, since = self.display.pixels(), time.monotonic()
        while time.monotonic() < min(end, since + body["quiet"]):
            time.sleep(LOOK)
            now = self.display.pixels()
            if now != pixels or is_busy():
                pixels, since = now, time.monotonic()
        return pixels

    def _route(self) -> tuple[str, str]:
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query).get("name", [""])[0]

    def _answer(self, make: Callable[[], bytes]) -> None:
        """What a call gives, or why not."""
        try:
            self._reply(200, make(), "application/octet-stream")
        except FileNotFoundError:
            self._reply(404, b"no such file", "text/plain")
        except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
            self._reply(422, str(error).encode(), "text/plain")

    def _json(self, value: object) -> None:
        self._reply(200, json.dumps(value).encode(), "application/json")

    def _screen(self, pixels: bytes) -> None:
        self._reply(200, png(pixels, *self.display.size), "image/png")

    def _reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-State", "".join(char for char in state() if char.isprintable()))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def address_string(self) -> str:
        """A socket of this kind has no address."""
        return "host"


def _upload(name: str, body: bytes) -> bytes:
    path = inside_home(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return b""


def _environment() -> dict[str, str]:
    """Variables of programs: those of the session, but not the server's own."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(command: list[str]) -> bytes:
    GuestHandler.programs += 1
    ended = subprocess.run(
        list(map(str, command)), cwd=HOME, env=_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_LIMIT, check=False,
    )  # fmt: skip
    output = ended.stdout[:MOST_OUTPUT].decode("utf-8", "replace")
    return json.dumps({"code": ended.returncode, "output": output}).encode()


def _launch(command: list[str]) -> bytes:
    GuestHandler.programs += 1
    process = subprocess.Popen(
        list(map(str, command)), cwd=HOME, env=_environment(), stdin=subprocess.DEVNULL, start_new_session=True
    )
    return json.dumps({"pid": process.pid}).encode()


if __name__ == "__main__":
    GuestHandler.display = Display()
    with socketserver.UnixStreamServer(sys.argv[1], GuestHandler) as server:
        server.serve_forever()
