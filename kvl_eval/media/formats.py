"""What a file is, by its first bytes, whatever its name says: the formats that are read, and those that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

PICTURES = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # raster formats; none runs code
HEAD = 512  # bytes that tell a format

Signature = tuple[int, bytes, str]
"""Offset, bytes there, name of the format."""

_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_OTHERS: Sequence[Signature] = (
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"8BPS", "PSD"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "EMF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "HDR"),
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"version https://git-lfs", "git-lfs pointer"),
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (8, b"WEBP", "WEBP"),
)
_MARKUP = ((b"<svg", "SVG"), (b"<html", "HTML"), (b"<!doctype html", "HTML"))
NOT_IMAGES: Mapping[str, tuple[str, str]] = {
    "HTML": ("a web page, not an image", "download it again"),
    "git-lfs pointer": ("a git-lfs pointer, not the image", "run `git lfs pull` where it was cloned"),
    "zip archive": ("a zip archive, not an image", "unpack it"),
}
"""What stands in an image's place: what it is, and what to do."""

CONTAINERS: Sequence[Signature] = (
    (0, b"FLV\x01", "FLV"),
    (0, b"\x00\x00\x01\xba", "MPEG program stream"),
    (0, b"\x00\x00\x01\xb3", "raw MPEG video"),
    (0, b"OggS", "Ogg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMV"),
    (0, b"\x00\x00\x00\x01\x67", "raw H.264"),
    (0, b"\x00\x00\x01\x67", "raw H.264"),
    (0, b"\x00\x00\x00\x01\x09", "raw H.264"),
    (0, b"\x00\x00\x00\x01\x40", "raw H.265"),
    (0, b"DKIF", "IVF"),
    (0, b".RMF", "RealMedia"),
    (8, b"WAVE", "WAV"),
    (0, b"ID3", "MP3"),
)


@cache
def picture_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read; AVIF where the installed Pillow has it."""
    from PIL import features

    return (*PICTURES, "AVIF") if features.check("avif") else PICTURES


def picture_format(data: bytes) -> str | None:
    """`HEIC`, `SVG`, ...: the format of an unreadable image; None where it is unknown."""
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    name = _signed(data, _OTHERS) or _markup(data)
    return name or ("TGA" if _is_targa(data) else None)


def container_format(head: bytes) -> str | None:
    """The same of a video that is in no container that is read, by its first `HEAD` bytes."""
    return _signed(head, CONTAINERS) or picture_format(head)


def _signed(data: bytes, signatures: Sequence[Signature]) -> str | None:
    return next((name for offset, mark, name in signatures if data.startswith(mark, offset)), None)


def _markup(data: bytes) -> str | None:
    start = data[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start.startswith(b"<"):
        return None
    return next((name for mark, name in _MARKUP if mark in start), "XML" if start.startswith(b"<?xml") else None)


def _is_targa(data: bytes) -> bool:
    """Whether it ends as TGA does, or begins with a header that only TGA allows."""
    if data.endswith(b"TRUEVISION-XFILE.\x00"):
        return True
    kinds = data[1:2] in (b"\x00", b"\x01") and len(data) > 18 and data[2] in (1, 2, 3, 9, 10, 11)
    return kinds and data[16] in (8, 15, 16, 24, 32) and data[17] & 0xC0 == 0 and any(data[12:14]) and any(data[14:16])
