"""The hash that a plan had before `messages_sha256` was called so, for runs that were begun then."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kvl_eval.store.journal import decode_line, encode_line


def former_sha256(chunks: Iterable[bytes]) -> str:
    """The hash of plan.jsonl as version 0.1 wrote it, of the bytes that are written today."""
    digest = hashlib.sha256()
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            digest.update(_respelled(line + b"\n"))
    return digest.hexdigest()


def _respelled(line: bytes) -> bytes:
    stored = decode_line(line)
    if "messages_sha256" not in stored:
        return line
    return encode_line({"prompt_sha256" if name == "messages_sha256" else name: stored[name] for name in stored})
