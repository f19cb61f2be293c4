"""JSON lines in a gzip file of many members, each at most 256 KiB of text and cut at line ends.

`zcat`, pandas and every reader of gzip see the whole. Each member's header holds how long the member is and a checksum
of its compressed bytes (an extra field, RFC 1952 2.3.1.1), so that a reader seeks to one member, notices any flipped
bit, and loses the lines of the damaged member alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kvl_eval.store.run_files import open_run_file

MEMBER = 256 << 10  # bytes of text in a member at most; a longer line is a member by itself
_HEADER = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x0c\0KV\x08\0"  # gzip, extra field KV of 8 bytes: length, checksum
_START = len(_HEADER) + 8  # of the compressed bytes in a member
_LARGEST = 512 << 20  # bytes of a member's text; more is damage


class Member(NamedTuple):
    """A member: its number from 1, where it starts, its text, or why it cannot be read."""

    number: int
    offset: int
    text: bytes
    damage: str = ""


def pack(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The members of a file that holds `lines`, each with its line break."""
    text: list[bytes] = []
    size = 0
    for line in lines:
        if text and size + len(line) > MEMBER:
            yield _packed(b"".join(text))
            text, size = [], 0
        text.append(line)
        size += len(line)
    if text:
        yield _packed(b"".join(text))


def _packed(text: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(text) + deflate.flush() + struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)
    return _HEADER + struct.pack("<II", _START + len(body), zlib.crc32(body)) + body


def members(path: Path) -> Iterator[Member]:
    """The members of a file in order, damaged ones included; none if there is no file."""
    if not os.path.lexists(path):
        return
    with open_run_file(path) as file:
        offset, size = 0, os.fstat(file.fileno()).st_size
    number = 0
    while offset < size:
        number += 1
        member, length = _read(path, number, offset)
        yield member
        offset = offset + length if not member.damage else _next_header(path, offset + 1)


def member_at(path: Path, offset: int) -> Member:
    """The member that starts at `offset`; its number is 0."""
    return _read(path, 0, offset)[0]


def _read(path: Path, number: int, offset: int) -> tuple[Member, int]:
    """A member and its length in bytes."""
    with open_run_file(path) as file:
        file.seek(offset)
        head = file.read(_START)
        if not head.startswith(_HEADER) or len(head) < _START:
            return Member(number, offset, b"", "it does not begin like a member written by kvl-eval"), 0
        length, checksum = struct.unpack("<II", head[len(_HEADER) :])
        body = file.read(max(0, length - _START)) if length <= path.stat().st_size - offset else b""
    if not body or zlib.crc32(body) != checksum:
        return Member(number, offset, b"", "its checksum does not match"), 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = inflate.decompress(body, _LARGEST)
    except zlib.error as error:
        return Member(number, offset, b"", str(error)), 0
    if struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF) != inflate.unused_data:
        return Member(number, offset, b"", "its text differs from what was written"), 0
    return Member(number, offset, text), length


def _next_header(path: Path, offset: int) -> int:
    """Where the next member begins, from `offset` on; the end of the file where there is none."""
    step = 1 << 20
    with open_run_file(path) as file:
        while True:
            file.seek(offset)
            window = file.read(step + len(_HEADER))
            place = window.find(_HEADER)
            if place >= 0:
                return offset + place
            if len(window) < step + len(_HEADER):
                return offset + len(window)
            offset += step
