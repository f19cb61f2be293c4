"""One process at a time writes to a run folder: the file `lock` names it while it runs."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from kvl_eval.decode import decode, encode, read_json
from kvl_eval.errors import DataError, DecodeError, UsageError
from kvl_eval.store.journal import Disk, is_running, storing
from kvl_eval.store.records import LockHolder
from kvl_eval.store.run_files import read_run_file

LARGEST = 1 << 16  # bytes of a lock file


class RunLock:
    """The lock of one folder. A lock whose process is gone is taken over.

    Attributes:
        taken_over: what is known of the process that left its lock behind, or None.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._path = folder / "lock"
        self._disk = disk
        self.taken_over: LockHolder | None = None

    def acquire(self) -> None:
        """Take the lock. Raises UsageError `run.busy`, naming the holder, if another process has it."""
        with _guard(self._folder):
            holder = read_lock(self._folder)
            if holder is not None and not _is_gone(holder):
                raise UsageError(
                    "run.busy",
                    f"another process works on {self._folder}",
                    where=f"pid {holder.pid} on {holder.host}, since {holder.start}",
                    fix=f"wait for it, or stop it; if that process is gone, delete {self._path}",
                )
            self.taken_over = holder
            self._disk.replace(self._path, [json.dumps(encode(_identity())).encode() + b"\n"])

    def release(self) -> None:
        """Let the folder go; a lock that is not ours stays."""
        with _guard(self._folder):
            holder = read_lock(self._folder)
            if holder is not None and (holder.pid, holder.host) == (os.getpid(), socket.gethostname()):
                self._path.unlink(missing_ok=True)


def read_lock(folder: Path) -> LockHolder | None:
    """Who holds a folder, by its lock file; None where there is none, nobody where it cannot be read."""
    try:
        return decode(LockHolder, read_json(read_run_file(folder / "lock", LARGEST)))
    except FileNotFoundError:
        return None
    except (OSError, DataError, DecodeError):
        return LockHolder()


def is_held(folder: Path) -> bool:
    """Whether a process that may still run holds the folder."""
    holder = read_lock(folder)
    return holder is not None and not _is_gone(holder)


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """A short critical section between processes on one host."""
    with storing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity() -> LockHolder:
    return LockHolder(
        pid=os.getpid(),
        host=socket.gethostname(),
        start=datetime.now().astimezone().isoformat(timespec="seconds"),
        ticks=_start_ticks(os.getpid()),
    )


def _is_gone(holder: LockHolder) -> bool:
    """Whether the holder certainly no longer runs: known only for this host; a reused pid has another start."""
    if holder.pid is None or holder.pid < 1:
        return True
    if holder.host != socket.gethostname():
        return False
    if not is_running(holder.pid):
        return True
    ticks = _start_ticks(holder.pid)
    return ticks is not None and holder.ticks is not None and ticks != holder.ticks


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where the system does not say, or it is a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if after_name[0] == "Z" else int(after_name[19])
