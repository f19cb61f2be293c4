"""A process between kvl-eval and its server, so that the server ends whatever becomes of kvl-eval.

    python -I vllm_watch.py GRACE PROGRAM ARGUMENT...

It stands in a session of its own, and the server in another. The server ends (SIGTERM to its process group, SIGKILL to
what is left of it later) when standard input ends, which it does with the process at the pipe's other end, also when
that is killed; when this process gets a signal; and when the server's first process has ended. GRACE is the time
between the two signals in seconds. The exit code is the server's. Run as a file: it imports nothing of the package.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

TICK = 0.05  # seconds between looks at the group
SUBREAPER = 36  # of prctl: orphans of the server become children of this process, which can reap them


def watch(command: list[str], grace: float) -> int:
    """Run a command until it ends or its parent is gone; return its exit code."""
    with suppress(OSError, AttributeError):  # not on Linux: somebody else reaps
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    told = _wake_on_signals()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while server.poll() is None:
            ready = select.select([0, told], [], [], None)[0]
            if told in ready:
                signals = os.read(told, 64)
                if set(signals) != {signal.SIGCHLD}:
                    break
            elif not os.read(0, 1):
                break
    finally:
        _end(server, grace)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _wake_on_signals() -> int:
    """A pipe that becomes readable when the server ends or this process is to end; its bytes are signals' numbers."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reading


def _end(server: "subprocess.Popen[bytes]", grace: float) -> None:
    """End the server's whole group, and wait for it."""
    _signal(server.pid, signal.SIGTERM)
    until = time.monotonic() + grace
    while _is_there(server) and time.monotonic() < until:
        time.sleep(TICK)
    _signal(server.pid, signal.SIGKILL)
    server.wait()


def _is_there(server: "subprocess.Popen[bytes]") -> bool:
    """Whether a process of the group is left; those that ended are reaped."""
    if server.poll() is not None:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return _signal(server.pid, 0)


def _signal(group: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    sys.exit(watch(sys.argv[2:], float(sys.argv[1])))
