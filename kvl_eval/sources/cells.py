"""What stands in a table's cells: pictures nobody has opened, and lists written as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvl_eval.errors import DataError, MediaError
from kvl_eval.types import ImageRef

MAX_LITERAL = 100_000  # characters of a list written as text
MAX_INLINE_PATH = 1024  # longer text without a suffix is taken for base64


def image_ref(value: Any, *, name: str, root: Path | None, where: str) -> ImageRef:
    """A picture as a table holds it, unopened.

    Args:
        value: bytes, a {"bytes", "path"} dict of the hub, a path relative to `root`, base64 text or a data URI.
        name:  what messages call the picture.
        root:  the folder that paths may not leave; None where the table has no folder.
        where: file and row, for messages.
    Raises: MediaError (one sample fails, not the run): `media.missing` where the cell is empty, `media.corrupt` where
            base64 is broken, `media.path_outside` for absolute paths, `..`, URLs and UNC paths.
    """
    if isinstance(value, Mapping):
        held = value.get("bytes")
        return image_ref(held if held else value.get("path"), name=name, root=root, where=where)
    if isinstance(value, bytes | bytearray | memoryview) and len(value):
        return ImageRef(name=name, data=bytes(value))
    if not isinstance(value, str) or not value.strip():
        raise MediaError("media.missing", f"{name} is missing", where=where, why="the cell is empty")
    text = value.strip()
    if text.startswith("data:"):
        return ImageRef(name=name, data=_decode_base64(text.partition(",")[2], name, where))
    if _looks_like_base64(text):
        return ImageRef(name=name, data=_decode_base64(text, name, where))
    return ImageRef(name=name, path=_inside(text, root, name, where), root=None if root is None else str(root))


def literal_list(text: str, *, where: str) -> list[str]:
    """A list written as JSON or Python literal text, its items as text; never evaluated.

    Raises: DataError `data.field` where it is no list, longer than 100,000 characters, or nested too deeply.
    """
    if len(text) <= MAX_LITERAL and text.lstrip().startswith(("[", "(")):
        for parse in (json.loads, ast.literal_eval):
            try:
                value = parse(text.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
            if isinstance(value, list | tuple):
                return [item if isinstance(item, str) else str(item) for item in value]
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise DataError("data.field", f"not a list: {shown!r}", where=where, why="expected a list as JSON or Python text")


def _looks_like_base64(text: str) -> bool:
    if len(text) > MAX_INLINE_PATH:
        return True
    # Short base64 has no suffix; a relative path of a picture has one.
    return len(text) > 64 and "." not in text and "\\" not in text and ":" not in text


def _decode_base64(text: str, name: str, where: str) -> bytes:
    import base64
    import binascii

    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError("media.corrupt", f"{name} is not valid base64", where=where, why=str(error)) from None


def _inside(text: str, root: Path | None, name: str, where: str) -> str:
    flat = text.replace("\\", "/")
    is_absolute = flat.startswith(("/", "~")) or flat[1:2] == ":" or "://" in flat or flat.startswith("file:")
    if is_absolute or ".." in flat.split("/") or "\0" in flat or root is None:
        raise MediaError(
            "media.path_outside",
            f"{name}: {text[:200]!r} is not a path inside the data folder",
            where=where,
            why=f"pictures are read only from {root}" if root else "this table has no folder of pictures",
        )
    return str(root / flat)
