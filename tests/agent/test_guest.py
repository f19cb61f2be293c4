"""The host's side of a sandboxed desktop against servers that misbehave, and what the server itself refuses."""

from __future__ import annotations

import io
import os
import socketserver
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kvl_eval.agent import guest_display, guest_server, sandbox
from kvl_eval.agent.actions import Click, ScreenSize
from kvl_eval.agent.desk import DesktopDied
from kvl_eval.agent.guest import MOST_BYTES, Guest, GuestError
from kvl_eval.errors import InputError
from tests.refusals import refused

SIZE = ScreenSize(8, 4)
PIXELS = bytes(range(96))


def huge_png() -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + crc + b"\0\0\0\0IDAT" + b"\0" * 4


class Answers(BaseHTTPRequestHandler):
    """Gives one answer to everything."""

    protocol_version = "HTTP/1.1"
    status, body, asked = 200, b"", 0

    def do_GET(self) -> None:
        Answers.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...

    def address_string(self) -> str:
        return ""


class Quiet(socketserver.UnixStreamServer):
    def handle_error(self, request: Any, client_address: Any) -> None: ...


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    monkeypatch.setattr(Answers, "asked", 0)
    with Quiet(str(tmp_path / "s"), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        client = Guest(tmp_path / "s", SIZE)
        yield client
        client.close()
        server.shutdown()
        thread.join()


BAD_SCREENS = {
    "HTML": b"<html><h1>It works!</h1></html>",
    "half a PNG": guest_display.png(PIXELS, 8, 4)[:60],
    "a huge PNG": huge_png(),
    "another size": guest_display.png(PIXELS, 4, 8),
    "too many bytes": b"[" * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("name", BAD_SCREENS)
def test_A5_nonsense_in_place_of_a_screen_is_the_death_of_the_desktop(
    guest: Guest, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "body", BAD_SCREENS[name])
    with pytest.raises(DesktopDied):
        guest.screenshot()


def test_A5_a_large_or_wrong_reply_in_place_of_facts_is_an_error(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in (b"[" * (MOST_BYTES + 1), b"[1]", b"{"):
        monkeypatch.setattr(Answers, "body", body)
        with pytest.raises(GuestError):
            guest.facts("/probe")


def test_A6_an_action_that_the_server_refuses_is_sent_once(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "status", 500)
    monkeypatch.setattr(Answers, "body", b"broken")
    assert guest.act(Click((1, 1)), quiet=0) == "HTTP 500: broken"
    assert Answers.asked == 1


def test_a_screen_comes_through_as_it_is(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "body", guest_display.png(PIXELS, 8, 4))
    assert Image.open(io.BytesIO(guest.screenshot().png)).convert("RGB").tobytes() == PIXELS


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", "link", "link/x", "a\0b"])
def test_A7_a_file_outside_the_home_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to(tmp_path)
    monkeypatch.setattr(guest_server, "HOME", home)
    assert guest_server.inside_home("a/b.txt") == home / "a/b.txt"
    with pytest.raises(ValueError):
        guest_server.inside_home(name)


SOUND = {
    **{"uid": 1000, "root": ["usr", "etc"], "homes": ["user"], "network": "ENETUNREACH", "interfaces": ["lo"]},
    **{"writable": [], "large": False, "forks": 500},
}


def test_a_sound_probe_has_no_faults() -> None:
    assert list(sandbox.faults(SOUND)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("uid", 0), ("root", ["usr", "work"]), ("homes", ["root", "user"]), ("network", "")),
        *(("interfaces", ["eth0", "lo"]), ("writable", ["/usr"]), ("large", True), ("forks", guest_server.FORKS)),
    ],
)
def test_every_hole_in_the_sandbox_is_a_fault(name: str, value: object) -> None:
    (fault,) = sandbox.faults({**SOUND, name: value})  # type: ignore[dict-item]
    assert name in fault
    assert len(list(sandbox.faults({**SOUND, name: None}))) == 1  # type: ignore[dict-item]


def test_A8_root_starts_no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    sandbox.prove.cache_clear()
    with refused(InputError, "desktop.sandbox") as caught:
        sandbox.prove()
    assert caught.value.exit_code == 4 and "root" in str(caught.value.why)


def test_missing_packages_are_named_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    report = sandbox.check()
    assert "bubblewrap" in report.packages and not report.ok
    assert "apt install bubblewrap xvfb openbox wmctrl xauth" in sandbox.as_text(report)


def test_folders_of_dead_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for owner in ("999999999", str(os.getpid()), "x"):
        (tmp_path / f"{sandbox.PREFIX}{owner}-abc").mkdir()
    sandbox.sweep()
    assert len(list(tmp_path.iterdir())) == 2
