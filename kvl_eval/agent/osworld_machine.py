"""A desktop in a sandbox of this machine for OSWorld's own environment: bubblewrap, Xvfb and the in-guest server.

The sandbox has no network, sees of the host what programs need to start, and is thrown away after its episode. The
environment speaks TCP, so each of its ports is a port on 127.0.0.1 here; others on this machine can reach it.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.agent.bubblewrap import Inside, sandbox_command
from kvl_eval.agent.desk import setup_failed

FILES = Path(__file__).resolve().parent.parent / "data" / "osworld"
PORTS = (5000, 9222, 8080)  # in-guest server, Chromium, VLC
PROGRAMS = ("bwrap", "prlimit", "Xvfb", "openbox", "wmctrl", "socat", "xauth", "xdpyinfo", "xsetroot", "dbus-daemon")
LONGEST_FOLDER = 107 - len("/5000.sock")  # bytes: what the address of a Unix socket may have
START_SECONDS = 120.0
LOOK_SECONDS = 0.25
REPLY_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """What the sandbox needs besides the system's programs.

    Attributes:
        home:   the virtual environment of the interpreter that runs the in-guest server.
        server: the folder of the server's source, `desktop_env/server` of a clone of OSWorld.
    """

    home: Path
    server: Path


class LocalMachine:
    """One desktop. Start it from a thread that lives as long as it should: the sandbox ends with that thread."""

    def __init__(self, files: GuestFiles, screen: tuple[int, int]) -> None:
        self._files = files
        self._screen = screen
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners: list[socket.socket] = []
        self._is_closed = False

    def start(self) -> str:
        """Start it, and return `HOST:SERVER:CHROMIUM:VNC:VLC` once it has a window manager. Raises SetupFailed."""
        _require_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="kvl-desk-"))
        bridge = self._folder / "bridge"
        if len(os.fsencode(bridge)) > LONGEST_FOLDER:
            self.close()
            raise setup_failed(f"{bridge} is too long for the socket of a desktop; set TMPDIR to a shorter folder")
        bridge.mkdir()
        command = machine_command(self._files, self._screen, bridge)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        server, chromium, vlc = (self._forwarded(bridge / f"{port}.sock") for port in PORTS)
        self._wait(server)
        return f"127.0.0.1:{server}:{chromium}:0:{vlc}"  # no VNC

    def close(self) -> None:
        """Kill it and all that runs in it."""
        self._is_closed = True
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, port: int) -> None:
        """Until the window manager is there and the server shows a screen. Raises SetupFailed."""
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None and not self._is_closed:
            with suppress(OSError, http.client.HTTPException):
                if _is_managed(port) and _asked(port, "GET", "/screenshot"):
                    return
            time.sleep(LOOK_SECONDS)
        ended = self._process.poll() is not None
        self.close()
        raise setup_failed("the sandbox ended at once" if ended else "the desktop did not answer in time")

    def _forwarded(self, path: Path) -> int:
        """A local port that leads to a UNIX socket."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listeners.append(listener)
        threading.Thread(target=_serve, args=(listener, path), name="kvl-eval bridge", daemon=True).start()
        return int(listener.getsockname()[1])


def machine_command(files: GuestFiles, screen: tuple[int, int], bridge: Path) -> list[str]:
    """The command line that starts a desktop with OSWorld's in-guest server."""
    shown = {
        "/var/lib": Path("/var/lib"),  # fonts and dconf
        "/desk": FILES,
        "/server": files.server,
        str(files.home): files.home,
    }
    variables = {"PYTHON_HOME": str(files.home)}
    return sandbox_command(Inside(screen=screen, bridge=bridge, shown=shown, variables=variables))


def _require_programs() -> None:
    """Raises SetupFailed for root, and where programs are missing."""
    if os.geteuid() == 0:
        raise setup_failed("desktops are not started as root: the kernel does not limit its processes")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise setup_failed(f"programs are missing: {', '.join(missing)} (docs/agents.md names the packages)")


def _is_managed(port: int) -> bool:
    """Whether the window manager is there: before that, its shortcuts would be lost."""
    body = b'{"command": "wmctrl -m", "shell": true}'
    return b"Name: Openbox" in _asked(port, "POST", "/execute", body)


def _asked(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    """The beginning of the server's reply; empty unless it is one. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REPLY_SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.read(10_000) if reply.status == 200 else b""
    finally:
        connection.close()


def _serve(listener: socket.socket, path: Path) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.connect(str(path))
        except OSError:  # nothing listens there yet
            client.close()
            inner.close()
            continue
        threading.Thread(target=_bridge, args=(client, inner), name="kvl-eval bridge", daemon=True).start()


def _bridge(client: socket.socket, inner: socket.socket) -> None:
    """Hand on bytes both ways until either end closes, then close both."""
    with client, inner:
        back = threading.Thread(target=_pump, args=(inner, client), name="kvl-eval bridge", daemon=True)
        back.start()
        _pump(client, inner)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on bytes until either end closes."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
