"""The command line of every sandbox: its own namespaces, no network, of the host only what programs need to start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNTS = Path(__file__).resolve().parent.parent / "data" / "desktop"  # `passwd` and such, in place of the host's
TMPFS = 512 * 2**20  # bytes of each file system that can be written
WRITABLE = ("/dev/shm", "/tmp", "/run", "/home", "/var/tmp", "/var/cache")
# Of each process. No limit of the address space: browsers do not start under one. The kernel does not count the
# processes of root.
LIMITS = ("--nproc=512", f"--data={2 * 2**30}")
ETC = (
    *("alternatives", "chromium", "chromium.d", "dconf", "fonts", "gtk-3.0", "ld.so.cache", "ld.so.conf"),
    *("ld.so.conf.d", "libreoffice", "localtime", "mime.types", "nsswitch.conf", "python3", "ssl", "vlc", "xdg", "X11"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What differs between sandboxes.

    Attributes:
        screen:    width and height in pixels.
        bridge:    the folder of sockets, `/bridge` inside: the only one of the host that can be written.
        shown:     {place inside: file or folder of the host}, read-only; `/desk/session.sh` starts the desktop.
        variables: {name: value} of the environment.
    """

    screen: tuple[int, int]
    bridge: Path
    shown: Mapping[str, Path]
    variables: Mapping[str, str] = field(default_factory=dict)


def sandbox_command(inside: Inside) -> list[str]:
    """The command line that starts a desktop."""
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--uid", "1000", "--gid", "1000", "--hostname", "desk"),
        *_mounts(inside),
        *("--dir", "/run/user/1000", "--dir", "/home/user", "--bind", str(inside.bridge), "/bridge"),
        *("--remount-ro", "/", "--setenv", "SCREEN", "x".join(map(str, inside.screen))),
        *(word for name, value in inside.variables.items() for word in ("--setenv", name, value)),
        *("--chdir", "/home/user", "/usr/bin/prlimit", *LIMITS, "/bin/bash", "/desk/session.sh"),
    ]


def _mounts(inside: Inside) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "lib", "lib64", "sbin"):
        yield from ("--symlink", f"usr/{name}", f"/{name}")
    for name in ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name in ("passwd", "group", "machine-id"):
        yield from ("--ro-bind", str(ACCOUNTS / name), f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for place in WRITABLE:
        yield from ("--size", str(TMPFS), "--tmpfs", place)
    for place, source in inside.shown.items():
        yield from ("--ro-bind", str(source), place)
