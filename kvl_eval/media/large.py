"""Pictures of very many pixels: how many are allowed, and that a machine decodes one of them at a time."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from kvl_eval.errors import MediaError

LARGE = 89_478_485  # pixels, 256 MiB as RGB; above it one picture is decoded at a time
_PILLOW = threading.RLock()


def too_many_pixels(name: str, size: tuple[int, int], most: int) -> MediaError:
    """The error of a picture whose header names more pixels than are allowed."""
    return MediaError(
        "media.too_large",
        f"{name} is too large: {size[0]} x {size[1]} = {size[0] * size[1]} pixels",
        why=f"the limit is {most} pixels (--max-image-pixels)",
        fix=f"raise it with --max-image-pixels {size[0] * size[1]}",
    )


@contextmanager
def own_limit() -> Iterator[None]:
    """Pillow without its own limit while the block runs, since headers are compared with ours."""
    with _PILLOW:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def turn_for(pixels: int) -> Iterator[None]:
    """Wait until no other process of this user decodes a large picture; where files cannot be locked, do not wait."""
    if pixels <= LARGE:
        yield
        return
    handle = _locked(Path(tempfile.gettempdir()) / f"kvl-eval-large-image-{_user()}.lock")
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)  # which lets go of the lock


def _locked(path: Path) -> int | None:
    try:
        import fcntl

        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (ImportError, OSError):
        return None
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
