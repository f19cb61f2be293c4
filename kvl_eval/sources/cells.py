"""The content of a table's cells: images that have not been opened."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from kvl_eval.types import ImageRef

LONGEST_PATH = 1024  # longer text is taken for base64
SHORTEST_BASE64 = 64  # the smallest picture file is longer than this as base64


def image_ref(value: object, *, name: str, root: Path | None, where: str) -> ImageRef:
    """A picture as a table holds it, unopened; never an error here, since a bad picture fails one sample only.

    An empty cell becomes a reference to nothing, broken base64 one to bytes that are not an image, and a path keeps its
    text beside `root`: opening it raises `media.missing`, `media.corrupt` or `media.path_outside`.

    Args:
        value: bytes, a {"bytes", "path"} dict of the hub, a path relative to `root`, base64 text or a data URI.
        name:  what messages call the picture.
        root:  the folder that paths may not leave; None where the table has no folder.
        where: file and row, for messages.
    """
    label = f"{name} ({where})" if where else name
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray | memoryview):
        return ImageRef(name=label, data=bytes(value))
    if not isinstance(value, str) or not value.strip():
        return ImageRef(name=label)
    text = value.strip()
    if text.startswith("data:") and "," in text:
        return ImageRef(name=label, data=_from_base64(text.partition(",")[2]))
    if _looks_like_base64(text):
        return ImageRef(name=label, data=_from_base64(text))
    return ImageRef(name=label, path=text, root=None if root is None else str(root))


def _looks_like_base64(text: str) -> bool:
    """Base64 of a picture is long, and has no suffix, drive or scheme."""
    return len(text) > LONGEST_PATH or (len(text) > SHORTEST_BASE64 and not set(text) & set(".\\: _-"))


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return text[:64].encode(errors="replace")  # no picture, and said so where it is opened
