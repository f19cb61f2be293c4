"""Open pictures safely and prepare them for the model: bytes in, uint8 patches out. numpy and Pillow only.

Rules, each recorded in `MediaInfo.note` where it applied:

- nothing is decoded before the header's size was checked, and a file is decoded whole or not at all;
- `reference` hands the picture to the checkpoint's own processor as it is: no EXIF rotation, alpha dropped, resizing
  before conversion to RGB (`kvl_eval.pictures.PictureRule`);
- `vlmevalkit` puts pictures with alpha on white and converts to RGB first, as that harness does;
- of an animation or a multi-page file the first frame counts;
- 16-bit and 32-bit integer grey keeps its upper 8 of 16 bits, float grey is cut to 0..255 (Pillow alone would turn
  everything above 255 white); CMYK, LAB and YCbCr are converted by Pillow after resizing, without colour profiles;
- a picture that the processor refuses for its length is shrunk to the longest legal side first (`pre_shrunk`).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar, get_args

from PIL import Image, UnidentifiedImageError

from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media.drawn import drawn_ppm
from kvl_eval.media.regular import open_regular
from kvl_eval.pictures import PictureRule
from kvl_eval.types import ImageRef, ImageStyle, MediaInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

MAX_PIXELS = 89_478_485  # Pillow's own threshold: 256 MiB as RGB
MAX_BYTES = 256 * 2**20
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # raster formats; none runs code
BLIND = (128, 128, 128)
STYLES = get_args(ImageStyle)

# What Pillow's decoders raise on broken files; a bare Exception is caught nowhere.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    EOFError,
    struct.error,
    zlib.error,
)
_WIDE_GREY = {"I", "I;16", "I;16B", "I;16L", "I;16N"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrep:
    """How pictures become patches; goes into the run's fingerprint, and travels to worker processes.

    Attributes:
        config: the checkpoint's rule.
        style:  `reference` or `vlmevalkit`.
        blind:  every pixel becomes (128, 128, 128), sizes and token counts stay.
    """

    config: PictureRule
    style: ImageStyle = "reference"
    blind: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError("config.image_prep", f"no image preparation {self.style!r}", fix=" or ".join(STYLES))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedImage:
    """A picture as the model takes it.

    Attributes:
        patches: (N, 3, 14, 14) uint8 in raster order.
        grid:    (rows, columns) in patches.
        info:    what the record says about it.
    """

    patches: NDArray[np.uint8]
    grid: tuple[int, int]
    info: MediaInfo


def prepare_image(ref: ImageRef, prep: ImagePrep) -> PreparedImage:
    """One picture as patches.

    Raises: MediaError `media.missing`, `media.corrupt`, `media.too_large` or `media.path_outside`.
    """
    data = read_bytes(ref)
    image, notes = open_image(data, ref.name)
    size = image.size
    if prep.blind:
        image, notes = Image.new("RGB", size, BLIND), [*notes, "blind"]
    elif prep.style == "vlmevalkit":
        image = on_white(image)
    image, pre_shrunk = _pre_shrink(image, prep.config)
    patches, grid = _guarded(ref.name, lambda: prep.config.patches(image))
    info = MediaInfo(
        sha256=hashlib.sha256(data).hexdigest(),
        kind="image",
        w=size[0],
        h=size[1],
        resized_to=prep.config.size(*image.size).resized,
        tokens=grid[0] * grid[1] // prep.config.patches_per_token,
        pre_shrunk=pre_shrunk,
        note="; ".join(notes) or None,
    )
    return PreparedImage(patches=patches, grid=grid, info=info)


def read_bytes(ref: ImageRef) -> bytes:
    """The file's bytes, wherever the reference says they are. Raises: MediaError."""
    if ref.data is not None:
        return _checked(ref.data, ref.name)
    if ref.drawn is not None:
        return drawn_ppm(ref.drawn)
    if ref.archive is not None:
        return _checked(_member_bytes(ref), ref.name)
    if ref.path is None:
        raise MediaError("media.missing", f"{ref.name}: the row holds no picture")
    return _checked(_file_bytes(safe_path(ref.path, ref.root, ref.name), ref.name), ref.name)


def header_size(ref: ImageRef) -> tuple[int, int]:
    """(width, height) of a picture as its header says; nothing is decoded or drawn. Raises: MediaError."""
    if ref.drawn is not None:
        return ref.drawn.width, ref.drawn.height
    return size_in_header(read_bytes(ref), ref.name)


def size_in_header(data: bytes, name: str) -> tuple[int, int]:
    """(width, height) as the header of a picture file says. Raises: MediaError."""
    return _guarded(name, lambda: _open_header(data).size)


def safe_path(path: str, root: str | None, name: str) -> Path:
    """The real path of `path` inside `root`; nothing is opened.

    Links may lead within `root` only, or from a hub client's `snapshots` folder to its own `blobs`.
    Raises: MediaError `media.path_outside`, for absolute paths, addresses, `..` and links that leave, or no root.
    """
    text = path.replace("\\", "/")
    outside = MediaError(
        "media.path_outside",
        f"{name}: {path!r} does not lie in the data folder",
        where=root,
        why="pictures are opened only by a relative path inside their data folder, and never fetched",
        fix="put the files below the data folder and name them relative to it",
    )
    if root is None or "\0" in path or text.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        raise outside
    try:  # `realpath` stops at a link that leads to itself; `Path.resolve` raises
        folder = Path(os.path.realpath(root))
        real = Path(os.path.realpath(folder / PurePosixPath(text)))
    except ValueError:  # a name that no file can have
        raise MediaError("media.missing", f"{name} does not exist", where=root) from None
    if not any(real.is_relative_to(home) for home in (folder, *_hub_blobs(Path(root)))):
        raise outside
    return real


def open_image(data: bytes, name: str) -> tuple[Image.Image, list[str]]:
    """The decoded first frame in a mode Pillow can resize and convert, and notes on the rules that applied.

    Raises: MediaError `media.corrupt`, or `media.too_large` from the header alone.
    """
    image = _guarded(name, lambda: _open_header(data))
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height} pixels", f"{MAX_PIXELS} pixels")
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"first of {image.n_frames} frames")  # type: ignore[attr-defined]
    _guarded(name, image.load)
    orientation = _guarded(name, image.getexif).get(0x0112, 1)
    if orientation not in (0, 1):
        notes.append(f"EXIF orientation {orientation} not applied")
    if image.mode in _WIDE_GREY or image.mode == "F":
        notes.append(f"{image.mode} to 8-bit grey")
        image = _narrow_grey(image)
    elif image.mode not in ("1", "L", "P", "RGB"):
        notes.append(f"mode {image.mode}")
    return image, notes


def _open_header(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data), formats=FORMATS)


def _guarded(name: str, action: Callable[[], T]) -> T:
    """Run a step of decoding; whatever a broken file makes Pillow raise becomes a MediaError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged metadata beside sound pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return action()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\d+", str(error))
        raise _too_large(name, f"{found[0] if found else 'too many'} pixels", f"{MAX_PIXELS} pixels") from None
    except _DECODE_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)
        why = f"no picture in a known format ({', '.join(FORMATS)})" if unknown else str(error) or type(error).__name__
        raise MediaError("media.corrupt", f"{name} cannot be decoded", why=why) from None


def _checked(data: bytes, name: str) -> bytes:
    if not data:
        raise MediaError("media.corrupt", f"{name} is empty", why="0 bytes")
    if len(data) > MAX_BYTES:
        raise _too_large(name, f"{len(data)} bytes", f"{MAX_BYTES} bytes")
    return data


def _file_bytes(path: Path, name: str) -> bytes:
    with open_regular(path, name) as file:
        try:
            return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise MediaError("media.missing", f"{name} cannot be read", where=str(path), why=error.strerror) from None


def _member_bytes(ref: ImageRef) -> bytes:
    """A member of a zip archive; its name is only looked up, never made into a path."""
    archive = Path(ref.root or ".") / (ref.archive or "")
    where = f"{archive} member {ref.member}"
    try:
        with open_regular(archive, ref.name) as packed, zipfile.ZipFile(packed) as opened:
            member = opened.getinfo(ref.member or "")
            if member.file_size > MAX_BYTES:
                raise _too_large(ref.name, f"{member.file_size} bytes", f"{MAX_BYTES} bytes")
            with opened.open(member) as file:
                return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, KeyError):
        raise MediaError("media.missing", f"{ref.name} is not there", where=where) from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:
        raise MediaError("media.corrupt", f"{ref.name} cannot be read", where=where, why=str(error)) from None


def _too_large(name: str, size: str, limit: str) -> MediaError:
    return MediaError("media.too_large", f"{name} is too large: {size}, the limit is {limit}")


def _hub_blobs(root: Path) -> list[Path]:
    """The hub client keeps a snapshot's files as links to `blobs` beside `snapshots`."""
    homes = [folder.parent for folder in (root, *root.parents) if folder.name == "snapshots"]
    return [(home / "blobs").resolve() for home in homes[:1]]


def _narrow_grey(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(np.nan_to_num(values).clip(0, 255).astype(np.uint8))
    return Image.fromarray((values.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))


def on_white(image: Image.Image) -> Image.Image:
    """The picture as RGB, what is transparent in it over white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")


def _pre_shrink(image: Image.Image, config: PictureRule) -> tuple[Image.Image, tuple[int, int] | None]:
    """The picture at a size the processor accepts, and that size if it had to be shrunk."""
    size = config.accepted(*image.size)
    if size == image.size:
        return image, None
    return image.resize(size, Image.Resampling.BICUBIC), size
