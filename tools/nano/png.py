"""PNG bytes and digests of drawings."""

import hashlib
import io

from PIL import Image


def png_bytes(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def digest(image: Image.Image) -> str:
    """SHA-256 over size and RGB pixels: equal for equal pictures, however they were stored."""
    rgb = image.convert("RGB")
    return hashlib.sha256(repr(rgb.size).encode() + rgb.tobytes()).hexdigest()
