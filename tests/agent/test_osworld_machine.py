"""The sandbox of task osworld-local: its command line, its bridges and its end; a stand-in takes bubblewrap's place."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kvl_eval.agent import osworld_machine
from kvl_eval.agent.bubblewrap import ACCOUNTS
from kvl_eval.agent.desk import SetupFailed
from kvl_eval.agent.osworld_machine import FILES, PROGRAMS, GuestFiles, LocalMachine, machine_command

SERVER = """#!{python}
import http.server, os, socketserver, sys, threading
bridge = sys.argv[sys.argv.index("/bridge") - 1]
if os.path.exists(bridge + "/../../dead"):
    sys.exit(1)
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(b"\\x89PNG")
    def do_POST(self):
        self.reply(b"Name: Openbox " + self.rfile.read(int(self.headers["Content-Length"])))
    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "desk"
    def log_message(self, *arguments):
        pass
servers = [Server(f"{{bridge}}/{{port}}.sock", Answer) for port in (5000, 9222, 8080)]
for server in servers:
    threading.Thread(target=server.serve_forever, kwargs={{"poll_interval": 0.02}}).start()
"""


@pytest.fixture
def files(tmp_path: Path) -> GuestFiles:
    return GuestFiles(home=tmp_path / "env", server=tmp_path / "server")


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files; short, as that of a socket must be."""
    with TemporaryDirectory(prefix="d") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


@pytest.fixture
def programs(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that do nothing, but `bwrap`, which answers as a desktop does; run by a plain user."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(SERVER.format(python=sys.executable) if name == "bwrap" else "")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return folder


def test_the_sandbox_sees_no_network_and_nothing_of_the_home(files: GuestFiles, tmp_path: Path) -> None:
    command = machine_command(files, (1920, 1080), tmp_path / "bridge")
    assert command[:5] == ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    writable = [command[place + 1] for place, word in enumerate(command) if word == "--bind"]
    assert writable == [str(tmp_path / "bridge")]
    shown = {command[place + 1] for place, word in enumerate(command) if word.startswith("--ro-bind")}
    ours = {str(files.home), str(files.server), str(FILES)} | {str(path) for path in ACCOUNTS.iterdir()}
    assert {path for path in shown - ours if not path.startswith("/etc/")} == {"/usr", "/var/lib"}
    assert not {"/etc", "/etc/shadow", "/etc/hosts", "/etc/machine-id"} & shown
    places = [place for place, word in enumerate(command) if word == "--tmpfs"]
    assert all(command[place - 2] == "--size" for place in places) and len(places) == 6
    assert "--nproc=512" in command


def test_a_desktop_is_reached_through_ports_and_gone_after_it_is_closed(
    files: GuestFiles, programs: Path, short: Path
) -> None:
    machine = LocalMachine(files, (64, 40))
    host, *ports = machine.start().split(":")
    assert host == "127.0.0.1" and len(ports) == 4
    for port in (ports[0], ports[1], ports[3]):
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        connection.request("POST", "/", b"x" * 200_000)
        assert len(connection.getresponse().read()) == 200_014
        connection.close()
    assert list(short.glob("kvl-desk-*"))
    machine.close()
    machine.close()
    assert not list(short.glob("kvl-desk-*"))
    with pytest.raises(OSError):
        http.client.HTTPConnection(host, int(ports[0]), timeout=5).request("GET", "/")


def test_a_sandbox_that_ends_at_once_is_a_failed_setup(files: GuestFiles, programs: Path, short: Path) -> None:
    (short / "dead").touch()
    with pytest.raises(SetupFailed, match="ended at once"):
        LocalMachine(files, (64, 40)).start()
    assert not list(short.glob("kvl-desk-*"))


def test_a_folder_too_long_for_a_socket_is_named(
    files: GuestFiles, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("n" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(SetupFailed, match="set TMPDIR to a shorter folder"):
        LocalMachine(files, (64, 40)).start()
    assert not list(long.iterdir())


def test_missing_programs_are_named(files: GuestFiles, programs: Path) -> None:
    (programs / "socat").unlink()
    with pytest.raises(SetupFailed, match="programs are missing: socat"):
        LocalMachine(files, (64, 40)).start()


def test_a8_a_desktop_is_not_started_as_root(
    files: GuestFiles, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SetupFailed, match="as root"):
        LocalMachine(files, (64, 40)).start()


def test_the_files_of_the_session_are_there() -> None:
    assert osworld_machine.FILES.is_dir()
    assert {path.name for path in (FILES / "shims").iterdir()} >= {"google-chrome", "gnome-terminal", "sudo"}
    assert all(os.access(path, os.X_OK) for path in (FILES / "shims").iterdir())


# -- the real sandbox -----------------------------------------------------------------------------------------------

IN_GUEST = """
import http.server, json, subprocess
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(b"a screen")
    def do_POST(self):
        command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["command"]
        self.reply(subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout)
    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Answer).serve_forever()
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A desktop whose in-guest server runs commands; its interpreter is the system's."""
    folder = tmp_path_factory.mktemp("osworld")
    for name in ("env/bin", "server"):
        (folder / name).mkdir(parents=True)
    (folder / "env/bin/python").symlink_to("/usr/bin/python3")
    (folder / "server/main.py").write_text(IN_GUEST)
    machine = LocalMachine(GuestFiles(home=folder / "env", server=folder / "server"), (640, 400))
    yield int(machine.start().split(":")[1])
    machine.close()


def output(port: int, command: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/execute", json.dumps({"command": command}))
    return connection.getresponse().read().decode()


@pytest.mark.desktop
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("id -u", "1000"),
        ("ls /home", "user"),
        ("cat /etc/shadow", "No such file"),
        ("touch /x", "Read-only"),
        ("touch /usr/x", "Read-only"),
        ("ls /sys/class/net 2>/dev/null || cat /proc/net/dev", "lo"),
        ("/usr/bin/python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 3)'", "unreachable"),
        ("bash -c 'ulimit -u'", "512"),
        ("xdpyinfo | grep dimensions", "640x400"),
    ],
)
def test_the_sandbox_of_osworld_holds(port: int, command: str, words: str) -> None:
    assert words in output(port, command)


@pytest.mark.desktop
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_chromium_starts_in_it(port: int) -> None:
    output(port, "google-chrome about:blank >/tmp/chrome.log 2>&1 &")
    end = time.monotonic() + 60
    while "hrom" not in (windows := output(port, "wmctrl -l")) and time.monotonic() < end:
        time.sleep(0.5)
    assert "hrom" in windows, output(port, "cat /tmp/chrome.log")
