"""A desktop in namespaces of its own: bubblewrap, Xvfb, a window manager and our server. Nothing of the host but /usr.

A sandbox is started from the thread that uses it: it dies with that thread, not with the process.
"""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.agent import guest_server
from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.bubblewrap import Inside, sandbox_command
from kvl_eval.agent.desk import setup_failed
from kvl_eval.agent.guest import Guest, GuestError
from kvl_eval.decode import Json
from kvl_eval.errors import InputError, SampleError

HERE = Path(__file__).resolve().parent
SESSION = HERE.parent / "data" / "desktop"
MODULES = ("guest_server.py", "guest_display.py", "guest_boards.py")  # that run inside
HOME_FILES = ("session.sh", "openbox.xml", "libreoffice.xcu")
PREFIX = "kvl-eval-desktop-"  # of folders with the socket, then the process id
START = 60.0  # seconds until a desktop must answer
FOLDERS = (
    *("bin", "bridge", "desk", "dev", "etc", "home", "lib", "lib64", "proc", "run", "sbin", "tmp", "usr", "var"),
)
PROGRAMS = {
    "bwrap": "bubblewrap",
    "Xvfb": "xvfb",
    "openbox": "openbox",
    "wmctrl": "wmctrl",
    "xauth": "xauth",
    "prlimit": "util-linux",
}
FILES = {
    "/usr/lib/python3*/tkinter/__init__.py": "python3-tk",
    "/usr/lib/*/libXtst.so.6": "libxtst6",
    "/usr/bin/python3": "python3",
}
APPLICATIONS = {
    "xfce4-terminal": "xfce4-terminal",
    "mousepad": "mousepad",
    "soffice": "libreoffice-calc",
    "dbus-daemon": "dbus",
    "gsettings": "libglib2.0-bin",
    "dconf": "dconf-cli",
}
"""{program of task desktop-apps: its package}."""
PROBE_SCREEN = ScreenSize(64, 64)


class Sandbox:
    """One desktop; after `stop` nothing of it is left.

    Attributes:
        guest: its server.
    """

    def __init__(self, size: ScreenSize) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._log = self._folder / "log"
        bridge = self._folder / "bridge"
        bridge.mkdir()
        self.guest = Guest(bridge / "desk.sock", size)
        with self._log.open("wb") as log:
            command = _command(bridge, size)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it with everything inside; may be called twice, and from any thread."""
        self._process.kill()
        self._process.wait()
        self.guest.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise setup_failed(f"the sandbox did not start: {self._said()}")
            try:
                self.guest.screenshot()
                return
            except SampleError:
                time.sleep(0.05)
        raise setup_failed(f"the desktop did not answer within {START:.0f} s: {self._said()}")

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "it said nothing"


def _command(bridge: Path, size: ScreenSize) -> list[str]:
    shown = {f"/desk/kvl_eval/agent/{name}": HERE / name for name in MODULES}
    shown |= {f"/desk/{name}": SESSION / name for name in HOME_FILES}
    return sandbox_command(Inside(screen=(size.width, size.height), bridge=bridge, shown=shown))


# -- whether a desktop may start here -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DesktopReport:
    """Whether desktops start on this machine. `asdict` gives what `check desktop --json` prints.

    Attributes:
        packages:     of Debian that are missing.
        applications: packages that are missing of what task desktop-apps starts.
        problems: what keeps a desktop from starting, or from being safe; empty where all is well.
        limits:   what limits processes and memory; empty where no desktop was started.
    """

    ok: bool
    packages: tuple[str, ...]
    applications: tuple[str, ...]
    problems: tuple[str, ...]
    limits: str


def missing_packages() -> tuple[str, ...]:
    """Packages of Debian that a desktop needs and that are not installed."""
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return (*packages, *(package for pattern, package in FILES.items() if not glob.glob(pattern)))


def check() -> DesktopReport:
    """Look for what a desktop needs, start one, and try to leave it."""
    packages = missing_packages()
    problems = [f"missing packages: apt install {' '.join(packages)}"] if packages else []
    if os.geteuid() == 0:
        problems.append("root starts no desktop: the kernel does not limit root's processes; use a plain account")
    if not problems:
        problems += _tried()
    limits = "" if problems else "prlimit, for each process: 512 processes, 2 GiB of data"
    applications = tuple(package for program, package in APPLICATIONS.items() if shutil.which(program) is None)
    return DesktopReport(
        ok=not problems, packages=packages, applications=applications, problems=tuple(problems), limits=limits
    )


def as_text(report: DesktopReport) -> str:
    """The report as `check desktop` prints it."""
    if report.ok:
        text = f"desktops start here and hold: no network, no file of this machine but /usr; {report.limits}"
        return "\n".join((text, *_applications(report)))
    return "\n".join(("no desktop can start here:", *(f"  {problem}" for problem in report.problems)))


def _applications(report: DesktopReport) -> list[str]:
    missing = " ".join(report.applications)
    return [f"desktop-apps also needs: apt install {missing}"] if missing else []


@functools.cache
def prove(*, with_programs: bool = False) -> None:
    """Do nothing where desktops can start and hold; asked once in a process. Raises: InputError `desktop.sandbox`.

    `with_programs` asks for the applications of task desktop-apps, too.
    """
    sweep()
    report = check()
    problems = [*report.problems, *(_applications(report) if with_programs else ())]
    if problems:
        raise InputError(
            "desktop.sandbox",
            "no desktop can start here",
            why="\n".join(problems),
            fix="run `kvl-eval check desktop`",
        )


def sweep() -> None:
    """Remove what killed processes left: the sandboxes died with them, their folders did not."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _tried() -> list[str]:
    """What is wrong with a desktop that was started for this."""
    try:
        sandbox = Sandbox(PROBE_SCREEN)
    except SampleError as error:
        return [error.message]
    try:
        return list(faults(sandbox.guest.facts("/probe")))
    except GuestError as error:
        return [f"the probe did not end: {error}"]
    finally:
        sandbox.stop()


RULES: Mapping[str, tuple[str, Callable[[Json], bool]]] = {
    "uid": ("its programs run as the account 1000", lambda value: value == 1000),
    "root": (
        "nothing but known folders in /",
        lambda value: isinstance(value, list) and set(map(str, value)) <= {*FOLDERS},
    ),
    "homes": ("one home folder", lambda value: value == ["user"]),
    "network": ("no way to a public address", lambda value: isinstance(value, str) and value != ""),
    "interfaces": ("no network device but its own loopback", lambda value: value == ["lo"]),
    "writable": ("read-only /, /usr, /etc and /desk", lambda value: value == []),
    "large": ("no process gets 3 GiB", lambda value: value is False),
    "forks": (
        "a limit of processes that holds",
        lambda value: isinstance(value, int) and 0 < value < guest_server.FORKS,
    ),
}
"""{fact of the probe: (what it must show, whether it does)}."""


def faults(probe: Mapping[str, Json]) -> Iterator[str]:
    """What a probe shows that must not be."""
    for name, (rule, holds) in RULES.items():
        if not holds(probe.get(name)):
            yield f"the sandbox does not hold: {rule}, but {name} is {str(probe.get(name))[:200]}"
