"""One process at a time writes to a run folder: the file `lock` names it while it runs."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from kvl_eval.decode import decode, encode, read_json
from kvl_eval.errors import DataError, DecodeError, StorageError, UsageError
from kvl_eval.store.journal import Disk, is_running, storing
from kvl_eval.store.records import LockHolder
from kvl_eval.store.run_files import read_run_file

LARGEST = 1 << 16  # bytes of a lock file
GUARD = "lock.guard"

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
PATIENCE = 5.0  # seconds


class RunLock:
    """The lock of one folder. A lock whose process is gone is taken over.

    Attributes:
        taken_over: what is known of the process that left its lock behind, or None.
        is_by_file: whether the file system cannot lock files, so that a file of its own guards the lock.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._path = folder / "lock"
        self._disk = disk
        self.taken_over: LockHolder | None = None
        self.is_by_file = False

    def acquire(self) -> None:
        """Take the lock. Raises UsageError `run.busy`, naming the holder, if another process has it."""
        with _guard(self._folder) as can_lock:
            self.is_by_file = not can_lock
            holder = read_lock(self._folder)
            if holder is not None and not _is_gone(holder):
                raise _busy(self._folder, holder, self._path)
            self.taken_over = holder
            self._disk.replace(self._path, [json.dumps(encode(_identity())).encode() + b"\n"])

    def break_foreign(self) -> LockHolder | None:
        """Remove a lock that a process of another host left; who that was, None where there is no such lock.

        A lock of this host stays: whether its process runs is known here. Raises UsageError `run.busy`.
        """
        _remove_foreign(self._folder / GUARD)
        with _guard(self._folder):
            return _remove_foreign(self._path)

    def release(self) -> None:
        """Let the folder go; a lock that is not ours stays."""
        with _guard(self._folder):
            holder = read_lock(self._folder)
            if holder is not None and (holder.pid, holder.host) == (os.getpid(), socket.gethostname()):
                self._path.unlink(missing_ok=True)


def read_lock(folder: Path) -> LockHolder | None:
    """The holder of a folder, by its lock file; None where there is none, an empty one where it cannot be read."""
    return _holder(folder / "lock")


def _holder(path: Path) -> LockHolder | None:
    try:
        return decode(LockHolder, read_json(read_run_file(path, LARGEST)))
    except FileNotFoundError:
        return None
    except (OSError, DataError, DecodeError):
        return LockHolder()


def is_held(folder: Path) -> bool:
    """Whether a process that may still run holds the folder."""
    holder = read_lock(folder)
    return holder is not None and not _is_gone(holder)


def _remove_foreign(path: Path) -> LockHolder | None:
    holder = _holder(path)
    if holder is None or not _is_elsewhere(holder):
        return None
    with storing(path):
        path.unlink(missing_ok=True)
    return holder


@contextmanager
def _guard(folder: Path) -> Iterator[bool]:
    """A short critical section between processes; whether the file system can lock files.

    Where it cannot (network file systems), a file that only one process can make stands for that lock.
    """
    with storing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                fix = "use a folder on a local disk"
                raise StorageError("storage.lock", f"cannot lock {folder}", why=error.strerror, fix=fix) from error
            with _guard_file(folder / GUARD):
                yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextmanager
def _guard_file(path: Path) -> Iterator[None]:
    """As `_guard`, by a file; one whose process is gone is removed. Raises UsageError `run.busy` after 5 seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            holder = _holder(path)
            if holder is not None and _is_gone(holder) and holder.pid is not None:
                path.unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise _busy(path.parent, holder or LockHolder(), path) from None
            else:
                time.sleep(0.02)
    try:
        os.write(descriptor, json.dumps(encode(_identity())).encode() + b"\n")
        os.close(descriptor)
        yield
    finally:
        path.unlink(missing_ok=True)


def _busy(folder: Path, holder: LockHolder, path: Path) -> UsageError:
    return UsageError(
        "run.busy",
        "this run is in use by another process",
        where=f"{folder}: pid {holder.pid} on {holder.host}, since {holder.start}",
        fix=f"wait for it or stop it; if it no longer runs, {_way_out(holder, path)}",
    )


def _way_out(holder: LockHolder, path: Path) -> str:
    return "add --break-lock" if _is_elsewhere(holder) else f"delete {path}"


def _identity() -> LockHolder:
    return LockHolder(
        pid=os.getpid(),
        host=socket.gethostname(),
        start=datetime.now().astimezone().isoformat(timespec="seconds"),
        ticks=_start_ticks(os.getpid()),
    )


def _is_elsewhere(holder: LockHolder) -> bool:
    """Whether a process of another host is the holder, so that this host cannot know whether it still runs."""
    return holder.pid is not None and holder.pid >= 1 and holder.host != socket.gethostname()


def _is_gone(holder: LockHolder) -> bool:
    """Whether the holder certainly no longer runs: known only for this host; a reused pid has another start."""
    if holder.pid is None or holder.pid < 1:
        return True
    if _is_elsewhere(holder):
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
