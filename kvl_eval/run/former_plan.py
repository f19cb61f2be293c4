"""The hash that a plan had before `messages_sha256` was called so, for runs that were begun then."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kvl_eval.decode import Json
from kvl_eval.store.journal import decode_line, encode_line
from kvl_eval.store.plan_file import lines_of

FORMER, TODAY = "prompt_sha256", "messages_sha256"


def former_sha256(chunks: Iterable[bytes]) -> str:
    """The hash of plan.jsonl as version 0.1 wrote it, of the bytes that are written today."""
    digest = hashlib.sha256()
    for line in lines_of(chunks):
        digest.update(_respelled(line))
    return digest.hexdigest()


def todays_fields(line: bytes) -> dict[str, Json]:
    """What a line of a plan of any version says, under today's names."""
    return {TODAY if name == FORMER else name: value for name, value in decode_line(line).items()}


def _respelled(line: bytes) -> bytes:
    stored = decode_line(line)
    if TODAY not in stored:
        return line
    return encode_line({FORMER if name == TODAY else name: stored[name] for name in stored})
