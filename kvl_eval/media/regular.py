"""Files that data sets name: only regular ones are opened, so that nothing ever waits."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from kvl_eval.errors import MediaError


def open_regular(path: Path, name: str) -> BinaryIO:
    """The file, opened for reading; a link in its last place is not followed, since paths are resolved before.

    Args:
        path: a real path.
        name: what messages call the file.
    Raises: MediaError `media.missing`, for what is absent, unreadable, or not a regular file: a folder, a pipe, a
            device, a socket, a link that leads to itself.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("media.missing", f"no such file: {name}", where=str(path)) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MediaError("media.missing", f"cannot read {name}", where=str(path), why=why) from None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise MediaError("media.missing", f"{name} is not a regular file", where=str(path))
