"""Open pictures safely and prepare them for the model: bytes in, uint8 patches out. numpy and Pillow only.

Rules, recorded in `MediaInfo.note` where they applied, and in its `flags` where they may change an answer:

- nothing is decoded before the header's size was checked, and a file is decoded whole or not at all;
- `reference` hands the picture, turned upright, to the checkpoint's own processor: alpha dropped, resizing before
  conversion to RGB (`kvl_eval.pictures.PictureRule`);
- `vlmevalkit` turns nothing, puts pictures with alpha on white and converts to RGB first, as that harness does;
- of an animation or a multi-page file the first frame counts;
- orientation and grey of more than 8 bits by the rules of `pixels` (Pillow alone would turn everything above 255
  white); CMYK, LAB and YCbCr are converted by Pillow after resizing, without colour profiles;
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar, get_args

from PIL import Image, UnidentifiedImageError

from kvl_eval import flags
from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media.drawn import drawn_ppm
from kvl_eval.media.formats import NOT_IMAGES, picture_format, picture_formats
from kvl_eval.media.large import own_limit, too_many_pixels, turn_for
from kvl_eval.media.library_lines import heard, library_lines, library_note
from kvl_eval.media.pixels import (
    WIDE_GREY,
    hides_something,
    is_uniform,
    narrow_grey,
    orientation_of,
    upright,
    upright_size,
)
from kvl_eval.media.regular import open_regular
from kvl_eval.media.settings import MAX_IMAGE_PIXELS
from kvl_eval.pictures import PictureRule
from kvl_eval.types import ImageRef, ImageStyle, MediaInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

MAX_BYTES = 256 * 2**20
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a picture's file is opened: `vlmevalkit` turns nothing, more pixels than `most` are refused."""

    style: ImageStyle = "reference"
    most: int = MAX_IMAGE_PIXELS


AS_REFERENCE = Opening()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrep:
    """How pictures become patches; goes into the run's fingerprint, and travels to worker processes.

    Attributes:
        config: the checkpoint's rule.
        style:  `reference` or `vlmevalkit`.
        blind:  every pixel becomes (128, 128, 128), sizes and token counts stay.
        most:   pixels of a file; above it is refused.
    """

    config: PictureRule
    style: ImageStyle = "reference"
    blind: bool = False
    most: int = MAX_IMAGE_PIXELS

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError("config.image_prep", f"unknown image preparation {self.style!r}", fix=" or ".join(STYLES))

    @property
    def opening(self) -> Opening:
        """How files are opened for it."""
        return Opening(style=self.style, most=self.most)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedImage:
    """A decoded first frame in a mode Pillow can resize and convert, and what was done to it.

    Attributes:
        image: of 8 bits a channel, upright unless the style turns nothing; on white under `vlmevalkit`, grey if blind.
        size:  (width, height).
        notes: on the rules that applied.
        flags: of these what may change an answer; none if blind.
    """

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """The notes in one line, or None."""
        return "; ".join(self.notes) or None


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
    with in_turn(data, ref.name, prep.opening):
        return _prepared(data, ref.name, prep)


def _prepared(data: bytes, name: str, prep: ImagePrep) -> PreparedImage:
    opened = open_image(data, name, prep.opening, blind=prep.blind)
    image, pre_shrunk = _pre_shrink(opened.image, prep.config)
    patches, grid = _guarded(name, lambda: prep.config.patches(image))
    shrunk = (flags.PRE_SHRUNK,) if pre_shrunk and not prep.blind else ()
    info = MediaInfo(
        sha256=hashlib.sha256(data).hexdigest(),
        kind="image",
        w=opened.size[0],
        h=opened.size[1],
        resized_to=prep.config.size(*image.size).resized,
        tokens=grid[0] * grid[1] // prep.config.patches_per_token,
        pre_shrunk=pre_shrunk,
        note=opened.note,
        flags=flags.in_order((*opened.flags, *shrunk)),
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
        raise MediaError("media.missing", f"{ref.name}: the row has no image")
    return _checked(_file_bytes(safe_path(ref.path, ref.root, ref.name), ref.name), ref.name)


def header_size(ref: ImageRef, opening: Opening = AS_REFERENCE) -> tuple[int, int]:
    """(width, height) of a picture as it will be shown; nothing is drawn. Raises: MediaError."""
    if ref.drawn is not None:
        return ref.drawn.width, ref.drawn.height
    return size_in_header(read_bytes(ref), ref.name, opening)


def size_in_header(data: bytes, name: str, opening: Opening = AS_REFERENCE) -> tuple[int, int]:
    """(width, height) of a picture file as it will be shown. Raises: MediaError."""
    image = _begun(data, name, opening)
    if opening.style == "vlmevalkit":
        return image.size
    return upright_size(image, _guarded(name, lambda: orientation_of(image, data)))


def safe_path(path: str, root: str | None, name: str) -> Path:
    """The real path of `path` inside `root`; nothing is opened.

    Links may lead within `root` only, or from a hub client's `snapshots` folder to its own `blobs`.
    Raises: MediaError `media.path_outside`, for absolute paths, addresses, `..` and links that leave, or no root.
    """
    text = path.replace("\\", "/")
    outside = MediaError(
        "media.path_outside",
        f"{name}: the path {path!r} points outside the data folder",
        where=root,
        why="images are opened only by a relative path inside the data folder, and never downloaded",
        fix="put the files in the data folder and use paths relative to it",
    )
    if root is None or "\0" in path or text.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        raise outside
    try:  # `realpath` stops at a link that leads to itself; `Path.resolve` raises
        folder = Path(os.path.realpath(root))
        real = Path(os.path.realpath(folder / PurePosixPath(text)))
    except ValueError:  # a name that no file can have
        raise MediaError("media.missing", f"no such file: {name}", where=root) from None
    if not any(real.is_relative_to(home) for home in (folder, *_hub_blobs(Path(root)))):
        raise outside
    return real


@contextmanager
def in_turn(data: bytes, name: str, opening: Opening) -> Iterator[None]:
    """A time in which no other large picture is decoded, where this is one. Raises: MediaError."""
    width, height = _begun(data, name, opening).size
    with turn_for(width * height):
        yield


def open_image(data: bytes, name: str, opening: Opening = AS_REFERENCE, *, blind: bool = False) -> OpenedImage:
    """The picture of a file.

    Raises: MediaError `media.corrupt`; `media.unsupported` for values no rule reads; `media.too_large` from the header
        alone.
    """
    library_lines()  # of what was opened before
    image, style = _begun(data, name, opening), opening.style
    notes, marks = [], []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"first of {image.n_frames} frames")  # type: ignore[attr-defined]
        marks.append(flags.FIRST_FRAME_ONLY)
    orientation = _guarded(name, lambda: orientation_of(image, data))
    _guarded(name, image.load)
    if said := library_note():
        notes.append(said)
    if orientation != 1:
        turned = orientation is not None and (style == "reference" or image.format == "TIFF")
        number = "(unreadable)" if orientation is None else orientation
        notes.append(f"EXIF orientation {number} {'' if turned else 'not '}applied")
        marks.append(flags.EXIF_APPLIED if turned else flags.EXIF_IGNORED)
    if style == "reference":
        image = upright(image, orientation)
    if image.mode not in ("1", "L", "P", "RGB"):
        notes.append(f"{image.mode} to 8-bit gray" if image.mode in WIDE_GREY else f"mode {image.mode}")
    if blind:
        return OpenedImage(image=Image.new("RGB", image.size, BLIND), size=image.size, notes=(*notes, "blind"))
    if image.mode in WIDE_GREY:
        image, narrowed = _guarded(name, lambda: narrow_grey(image, data, name))
        marks += narrowed
    if style == "vlmevalkit":
        image = on_white(image)
    elif _guarded(name, lambda: hides_something(image)):
        marks.append(flags.ALPHA_DROPPED)
    image.info.pop("transparency", None)  # which Pillow would carry into modes that it does not fit
    if _guarded(name, lambda: is_uniform(image)):
        marks.append(flags.UNIFORM)
    return OpenedImage(image=image, size=image.size, notes=tuple(notes), flags=flags.in_order(marks))


def _begun(data: bytes, name: str, opening: Opening) -> Image.Image:
    """A picture of which no more than the header is read.

    Raises: MediaError `media.corrupt`, naming the format of one that is not read; `media.too_large`.
    """

    def begin() -> Image.Image:
        try:
            return Image.open(BytesIO(data), formats=picture_formats())
        except UnidentifiedImageError:
            raise _unread(data, name) from None

    image = _guarded(name, begin)
    if image.width * image.height > opening.most:
        raise too_many_pixels(name, image.size, opening.most)
    return image


def _unread(data: bytes, name: str) -> MediaError:
    form = picture_format(data)
    if form is None or form in picture_formats():
        known = f"not an image in a known format ({', '.join(picture_formats())})"
        return MediaError(
            "media.corrupt", f"{name} cannot be decoded", why=known if form is None else f"a damaged {form}"
        )
    converted = (f"{form} images are not supported; convert to PNG or JPEG", "convert it to PNG or JPEG")
    why, fix = NOT_IMAGES.get(form, converted)
    return MediaError("media.corrupt", f"{name} cannot be decoded", why=why, fix=fix)


def _guarded(name: str, action: Callable[[], T]) -> T:
    """Run a step of decoding; whatever a broken file makes Pillow raise becomes a MediaError."""
    try:
        with own_limit(), heard(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged metadata beside sound pixels
            return action()
    except _DECODE_ERRORS as error:
        raise MediaError("media.corrupt", f"{name} cannot be decoded", why=str(error) or type(error).__name__) from None


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
            raise MediaError("media.missing", f"cannot read {name}", where=str(path), why=error.strerror) from None


def _member_bytes(ref: ImageRef) -> bytes:
    """A member of a zip archive; its name is only looked up, never made into a path."""
    archive = Path(ref.root or ".") / (ref.archive or "")
    where = f"{archive} member {ref.member}"
    try:
        with open_regular(Path(os.path.realpath(archive)), ref.name) as packed, zipfile.ZipFile(packed) as opened:
            member = opened.getinfo(ref.member or "")
            if member.file_size > MAX_BYTES:
                raise _too_large(ref.name, f"{member.file_size} bytes", f"{MAX_BYTES} bytes")
            with opened.open(member) as file:
                return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, KeyError):
        raise MediaError("media.missing", f"{ref.name} is missing", where=where) from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:
        raise MediaError("media.corrupt", f"cannot read {ref.name}", where=where, why=str(error)) from None


def _too_large(name: str, size: str, limit: str) -> MediaError:
    return MediaError("media.too_large", f"{name} is too large: {size}; the limit is {limit}")


def _hub_blobs(root: Path) -> list[Path]:
    """The hub client keeps a snapshot's files as links to `blobs` beside `snapshots`."""
    homes = [folder.parent for folder in (root, *root.parents) if folder.name == "snapshots"]
    return [(home / "blobs").resolve() for home in homes[:1]]


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
