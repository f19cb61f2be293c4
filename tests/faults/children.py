"""Processes that end badly: an action in a child of its own, and a disk that kills in the middle of a file."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kvl_eval.errors import KvlEvalError
from kvl_eval.store.journal import Disk


def start(action: Callable[[], object]) -> int:
    """Fork a process that carries out `action`; its pid. Its exit code is that of the command line."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        action()
        code = 0
    except KvlEvalError as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """How a process ended: its exit code, or minus the number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(action: Callable[[], object]) -> int:
    """`action` in a process of its own, to its end."""
    return ended(start(action))


class DeadlyReplace(Disk):
    """Kills this process when a file called `name` is written, but not yet in its place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        super().replace(path, deadly(chunks) if path.name == self.name else chunks)


def deadly(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    os.kill(os.getpid(), signal.SIGKILL)
