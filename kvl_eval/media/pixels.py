"""From what a file holds to pixels that a person would see: orientation, depth of grey, and signs that little is left.

Rules, of which `settings.MEDIA_RULES` counts the versions:

- an EXIF or XMP orientation is applied once, where the picture is opened, as viewers, `datasets` and transformers'
  `load_image` do; `--image-prep vlmevalkit` turns nothing, as that harness does not;
- 16-bit grey with a declared depth (PNG's sBIT) is scaled by it, unless its values were scaled already; values up to
  255 are taken as 8 bits; else the upper 8 of 16 bits count;
- float grey within 0..1 is scaled by 255, within 0..255 kept; anything else has no rule and is refused.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from PIL import Image

from kvl_eval import flags
from kvl_eval.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
WIDE_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
DARK = 4096  # of 65,536: a picture whose brightest value lies below holds less than 4 bits of its upper 8
_PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
# What Pillow raises on EXIF data that is none.
_EXIF_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    struct.error,
)


def orientation_of(image: Image.Image, data: bytes) -> int | None:
    """The orientation that an opened, not yet decoded picture names, 1 to 8; None where it is none of these.

    A PNG may name it behind its pixels; it is decoded for that only if it does.
    """
    if image.format == "TIFF":
        number = image.tag_v2.get(ORIENTATION, 1)  # type: ignore[attr-defined]
    elif image.format == "PNG" and not any(mark in data for mark in _PNG_ORIENTATION):
        return 1
    else:
        try:
            number = image.getexif().get(ORIENTATION, 1)
        except _EXIF_ERRORS:
            return None
    return number if isinstance(number, int) and 1 <= number <= 8 else None


def upright_size(image: Image.Image, orientation: int | None) -> tuple[int, int]:
    """(width, height) once the picture is upright; Pillow gives those of a TIFF already."""
    turned = orientation in SIDEWAYS and image.format != "TIFF"
    return image.size[::-1] if turned else image.size


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """A decoded picture turned as its orientation says; Pillow has turned a TIFF already."""
    turn = None if image.format == "TIFF" or orientation is None else TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def narrow_grey(image: Image.Image, data: bytes, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Grey of 16 or 32 bits, or floats, as 8 bits, with its flags.

    Raises: MediaError `media.unsupported`, for floats outside 0..255.
    """
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        return _float_grey(values, name)
    values = values.astype(np.int64).clip(0, 65535)
    brightest, depth = int(values.max(initial=0)), declared_depth(data)
    if depth is not None and depth < 16 and brightest < 1 << depth:
        top = (1 << depth) - 1
        return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8)), ()
    if depth is None and brightest <= 255:
        return Image.fromarray(values.astype(np.uint8)), (flags.NARROW_16BIT,)
    marks = (flags.DARK_16BIT,) if brightest < DARK else ()
    return Image.fromarray((values >> 8).astype(np.uint8)), marks


def _float_grey(values: NDArray[np.float32], name: str) -> tuple[Image.Image, tuple[str, ...]]:
    import numpy as np

    low, high = float(values.min()), float(values.max())  # NaN, if there is one
    if low >= 0 and high <= 1:
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)), (flags.FLOAT_SCALED,)
    if low >= 0 and high <= 255:
        return Image.fromarray(values.astype(np.uint8)), ()
    raise MediaError(
        "media.unsupported",
        f"{name}: unsupported range of floating-point gray, from {low:g} to {high:g}",
        why="supported ranges: 0 to 1, 0 to 255",
        fix="convert it to an 8-bit PNG",
    )


def declared_depth(data: bytes) -> int | None:
    """Bits that count, as the sBIT chunk of a PNG says; None where it has none."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    place = 8
    while place + 9 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"sBIT" and length:
            return max(1, min(data[place + 8], 16))
        if kind == b"IDAT":
            return None
        place += length + 12
    return None


def hides_something(image: Image.Image) -> bool:
    """Whether any pixel is less than opaque."""
    if not image.has_transparency_data:
        return False
    layer = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    lowest = layer.getchannel("A").getextrema()[0]
    return isinstance(lowest, int) and lowest < 255


def is_uniform(image: Image.Image) -> bool:
    """Whether all pixels have the same color, transparency apart."""
    few = image.resize((8, 8), Image.Resampling.NEAREST).convert("RGB")
    if few.getcolors(1) is None:  # as nearly always
        return False
    bands = image.convert("RGB").getextrema()
    return all(low == high for low, high in bands)  # type: ignore[misc]
