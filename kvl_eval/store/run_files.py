"""The files of a run folder are opened here: regular ones inside it, wherever the folder comes from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from kvl_eval.errors import DataError

FOLDERS = ("samples", "scores", "judge", "trajectories", "media", "evidence")  # inside a run folder
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def open_run_file(path: Path) -> BinaryIO:
    """A file of a run folder, open for reading; never waits.

    Raises: FileNotFoundError; DataError `run.file` for anything but a regular file, or a link out of the folder.
    """
    check_inside(path)
    try:
        descriptor = os.open(os.path.realpath(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise _odd(path, "it is a broken link") from None
        raise
    except OSError as error:
        raise _odd(path, error.strerror or str(error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _odd(path, f"it is {KINDS.get(stat.S_IFMT(mode), 'a device')}")
    return os.fdopen(descriptor, "rb")


def read_run_file(path: Path, limit: int) -> bytes:
    """The bytes of a small file. Raises as `open_run_file`; DataError also where there are more than `limit`."""
    with open_run_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _odd(path, f"it has more than {limit:,} bytes")
    return data


def check_inside(path: Path) -> None:
    """Raises DataError `run.file` for a file or folder of a run that leads out of it by links."""
    root = path.parent.parent if path.parent.name in FOLDERS else path.parent
    real, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, home]) != home:
        raise _odd(path, "it is a link to a place outside the run folder")


def _odd(path: Path, why: str) -> DataError:
    return DataError(
        "run.file",
        f"{path} is not a file of the run: {why}",
        where=str(path),
        fix="restore the original file, or remove this one",
    )
