"""Pictures from anywhere, sound or broken, and what the model gets of them."""

from __future__ import annotations

import hashlib
import os
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media import images
from kvl_eval.media.images import ImagePrep, PreparedImage, prepare_image
from kvl_eval.media.settings import MAX_IMAGE_PIXELS
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import preprocess_image
from kvl_eval.types import ImageRef

ROOT = Path(__file__).resolve().parents[2]
CONFIG = PreprocessorConfig()
PREP = ImagePrep(config=CONFIG)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (90, 61)) -> Image.Image:
    values = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def prepared(data: bytes, prep: ImagePrep = PREP) -> PreparedImage:
    return prepare_image(ImageRef(name="x.png", data=data), prep)


def reason(ref: ImageRef, prep: ImagePrep = PREP) -> str:
    with pytest.raises(MediaError) as caught:
        prepare_image(ref, prep)
    assert caught.value.message
    return caught.value.reason


def reason_of(data: bytes) -> str:
    return reason(ImageRef(name="x.png", data=data))


def pixels(result: PreparedImage) -> np.ndarray:
    rows, cols = result.grid
    return result.patches.reshape(rows, cols, 3, 14, 14).transpose(0, 3, 1, 4, 2).reshape(rows * 14, cols * 14, 3)


def test_a_plain_picture_is_what_the_processor_makes_of_it_with_its_facts() -> None:
    data = encoded(gradient())
    result = prepared(data)
    expected, grid = preprocess_image(gradient(), CONFIG)
    assert np.array_equal(result.patches, expected)
    assert result.patches.dtype == np.uint8
    assert result.grid == grid
    info = result.info
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    assert (info.kind, info.w, info.h, info.resized_to) == ("image", 90, 61, (90, 61))
    assert (info.tokens, info.pre_shrunk, info.note) == (grid[0] * grid[1] // 4, None, None)


def test_a_large_picture_reports_its_size_after_resizing() -> None:
    info = prepared(encoded(Image.new("RGB", (1024, 1024)))).info
    assert (info.w, info.h, info.resized_to, info.tokens) == (1024, 1024, (897, 897), 1089)


# Sources of bytes


def test_a_file_and_a_zip_member_give_the_same_picture(tmp_path: Path) -> None:
    data = encoded(gradient())
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/1.png", data)
    refs = (
        ImageRef(name="a", path="images/1.png", root=str(tmp_path)),
        ImageRef(name="b", archive="all.zip", member="images/1.png", root=str(tmp_path)),
        ImageRef(name="c", data=data),
    )
    assert {result.info.sha256 for result in (prepare_image(ref, PREP) for ref in refs)} == {
        hashlib.sha256(data).hexdigest()
    }


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "images/../../secret.png",
        "{outside}/secret.png",
        "link.png",
        "linked/secret.png",
        "file://{outside}/secret.png",
        "http://127.0.0.1:9/secret.png",
        "https://example.com/secret.png",
        "data:image/png;base64,AAAA",
        "//server/share/secret.png",
        "\\\\server\\share\\secret.png",
        "..\\secret.png",
        "C:\\secret.png",
        "images/x.png\0",
    ],
)
def test_paths_that_leave_the_data_folder_are_never_opened(tmp_path: Path, path: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "data"
    (root / "images").mkdir(parents=True)
    outside.mkdir()
    for folder in (outside, tmp_path):
        (folder / "secret.png").write_bytes(encoded(gradient()))
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "linked").symlink_to(outside)
    assert reason(ImageRef(name="x", path=path.format(outside=outside), root=str(root))) == "media_path_outside"


def test_a_path_without_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encoded(gradient()))
    monkeypatch.chdir(tmp_path)
    assert reason(ImageRef(name="x", path="x.png")) == "media_path_outside"


def test_links_inside_the_folder_and_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--o--n" / "snapshots" / "abc"
    blobs = tmp_path / "datasets--o--n" / "blobs"
    (snapshot / "images").mkdir(parents=True)
    blobs.mkdir()
    (blobs / "0123").write_bytes(encoded(gradient()))
    (snapshot / "images" / "1.png").symlink_to("../../../blobs/0123")
    (snapshot / "2.png").symlink_to("images/1.png")
    for root, path in ((snapshot, "images/1.png"), (snapshot / "images", "1.png"), (snapshot, "2.png")):
        assert prepare_image(ImageRef(name="x", path=path, root=str(root)), PREP).info.w == 90


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("1.png", b"")
    root = str(tmp_path)
    assert reason(ImageRef(name="x", path="no.png", root=root)) == "media_missing"
    assert reason(ImageRef(name="x", path="all.zip/no.png", root=root)) == "media_missing"
    assert reason(ImageRef(name="x", archive="all.zip", member="2.png", root=root)) == "media_missing"
    assert reason(ImageRef(name="x", archive="no.zip", member="2.png", root=root)) == "media_missing"
    assert reason(ImageRef(name="x")) == "media_missing"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert reason(ImageRef(name="x", path="pipe.png", root=str(tmp_path))) == "media_missing"
    assert reason(ImageRef(name="x", path="folder.png", root=str(tmp_path))) == "media_missing"


def test_broken_archives_are_corrupt(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 nothing")
    assert reason(ImageRef(name="x", archive="a.zip", member="1.png", root=str(tmp_path))) == "media_corrupt"


def test_a_zip_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", b"\0" * 2_000_000)
    monkeypatch.setattr(images, "MAX_BYTES", 1_000_000)
    assert reason(ImageRef(name="x", archive="a.zip", member="1.png", root=str(tmp_path))) == "media_too_large"


# Broken pictures


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="0-bytes"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"<html></html>", id="html"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="postscript-is-not-run"),
        pytest.param(b"\x80\x04N.", id="pickle"),
        pytest.param(encoded(gradient())[:-200], id="png-truncated"),
        pytest.param(encoded(gradient())[:30], id="png-header-only"),
        pytest.param(encoded(gradient(), "JPEG")[:-900], id="jpeg-truncated"),
        pytest.param(encoded(gradient(), "GIF")[:200], id="gif-truncated"),
        pytest.param(encoded(gradient(), "WEBP")[:300], id="webp-truncated"),
        pytest.param(encoded(gradient(), "TIFF")[:300], id="tiff-truncated"),
        pytest.param(encoded(gradient(), "BMP")[:300], id="bmp-truncated"),
        pytest.param(encoded(gradient()).replace(b"IDAT", b"IDAX", 1), id="png-without-data"),
    ],
)
def test_broken_pictures_are_corrupt_and_never_decoded_as_far_as_they_go(data: bytes) -> None:
    assert reason_of(data) == "media_corrupt"


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"]),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
def test_damage_anywhere_gives_a_picture_or_a_media_error(form: str, place: float, value: int, cut: bool) -> None:
    data = bytearray(encoded(gradient(size=(40, 30)), form))
    index = int(place * len(data))
    data[index] = value
    damaged = bytes(data[:index] if cut else data)
    try:
        result = prepared(damaged)
    except MediaError as error:
        assert error.reason in {"media_corrupt", "media_too_large"}
    else:
        assert result.patches.shape[0] == result.grid[0] * result.grid[1]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = zlib.compress(b"\0" * 1000)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (14_000, 14_000), (13_378, 13_378)])
def test_a_decompression_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaError, match=str(width * height)) as caught:
        prepared(png_header(width, height))
    assert caught.value.reason == "media_too_large"
    assert str(MAX_IMAGE_PIXELS) in str(caught.value.why)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


# Exotic but valid pictures


@pytest.mark.parametrize(
    ("mode", "size", "form"),
    [
        ("RGB", (1, 1), "PNG"),
        ("RGB", (1, 5000), "PNG"),
        ("RGB", (5000, 1), "JPEG"),
        ("CMYK", (50, 40), "JPEG"),
        ("CMYK", (50, 40), "TIFF"),
        ("L", (50, 40), "PNG"),
        ("LA", (50, 40), "PNG"),
        ("1", (50, 40), "PNG"),
        ("P", (50, 40), "GIF"),
        ("RGBA", (50, 40), "WEBP"),
        ("LAB", (50, 40), "TIFF"),
        ("RGB", (50, 40), "JPEG2000"),
    ],
)
def test_exotic_modes_follow_the_processor_in_their_own_mode(mode: str, size: tuple[int, int], form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    source = gradient("RGB" if mode == "LAB" else mode, size)
    image = Image.new("LAB", size, (120, 30, 200)) if mode == "LAB" else source
    data = encoded(image, form, **options)
    with Image.open(BytesIO(data)) as opened:
        expected, grid = preprocess_image(opened, CONFIG)
        found_mode = opened.mode
    result = prepared(data)
    assert result.grid == grid
    assert np.array_equal(result.patches, expected)
    assert result.info.note == (None if found_mode in ("1", "L", "P", "RGB") else f"mode {found_mode}")


def test_16_bit_grey_keeps_its_upper_eight_bits() -> None:
    values = (np.arange(28 * 28, dtype=np.uint16) * 83).reshape(28, 28)
    result = prepared(encoded(Image.fromarray(values)))
    assert np.array_equal(pixels(result), np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert result.info.note == "I;16 to 8-bit gray"


def test_float_grey_keeps_the_range_of_a_byte_and_nothing_beyond_it_is_read() -> None:
    values = np.array([[0.0, 12.7, 254.0, 255.0]], dtype=np.float32)
    row = pixels(prepared(encoded(Image.fromarray(values), "TIFF")))[0, :4, 0]
    assert row.tolist() == [0, 12, 254, 255]
    for odd in (-5.0, 1e9, np.nan):
        values[0, 0] = odd
        ref = ImageRef(name="x", data=encoded(Image.fromarray(values), "TIFF"))
        assert reason(ref) == "media_unsupported"


def test_alpha_is_dropped_by_the_reference_and_put_on_white_by_vlmevalkit() -> None:
    image = Image.new("RGBA", (28, 28), (10, 20, 30, 0))
    data = encoded(image)
    assert (pixels(prepared(data)) == (10, 20, 30)).all()
    white = prepared(data, ImagePrep(config=CONFIG, style="vlmevalkit"))
    assert (pixels(white) == 255).all()


def test_transparent_palette_on_white_under_vlmevalkit() -> None:
    image = Image.new("P", (28, 28), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    data = encoded(image, transparency=1)
    assert (pixels(prepared(data)) == (200, 0, 0)).all()
    assert (pixels(prepared(data, ImagePrep(config=CONFIG, style="vlmevalkit"))) == 255).all()


def test_exif_orientation_is_applied_and_noted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    result = prepared(encoded(gradient(size=(56, 28)), "JPEG", exif=exif))
    assert (result.info.w, result.info.h, result.grid) == (28, 56, (4, 2))
    assert result.info.note == "EXIF orientation 6 applied"


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (28, 28), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)
    result = prepared(data)
    assert (pixels(result) == (255, 0, 0)).all()
    assert result.info.note == "first of 3 frames"


def test_a_strip_the_processor_refuses_is_shrunk_first_and_says_so() -> None:
    result = prepared(encoded(Image.new("L", (100_000, 20), 255)))
    assert result.info.pre_shrunk == (7140, 1)
    assert (result.info.w, result.info.h, result.grid) == (100_000, 20, (2, 510))


def test_a_long_picture_the_processor_accepts_is_left_alone() -> None:
    """20,000 x 1,000 is too long at 16,384 patches and fine at 4,096, where the limit shrinks it below 7,140 pixels."""
    data = encoded(Image.new("1", (20_000, 1_000)))
    assert prepared(data).info.pre_shrunk is None
    roomy = prepared(data, ImagePrep(config=PreprocessorConfig(in_token_limit=16_384)))
    assert roomy.info.pre_shrunk == (7140, 357)


def test_preparing_pictures_needs_no_torch() -> None:
    code = (
        "import sys, kvl_eval.media.pool, kvl_eval.media.images;"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# Blind


def test_blind_keeps_size_and_tokens_and_shows_nothing() -> None:
    data = encoded(gradient("RGBA", (600, 500)))
    seeing, blind = prepared(data), prepared(data, ImagePrep(config=CONFIG, blind=True))
    assert (blind.grid, blind.info.tokens, blind.info.sha256) == (seeing.grid, seeing.info.tokens, seeing.info.sha256)
    assert (pixels(blind)[:500, :600] == 128).all()
    assert blind.info.note == "mode RGBA; blind"


def test_blind_does_not_hide_a_broken_picture() -> None:
    broken = ImageRef(name="x", data=encoded(gradient())[:-200])
    assert reason(broken, ImagePrep(config=CONFIG, blind=True)) == "media_corrupt"


def test_an_unknown_preparation_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        ImagePrep(config=CONFIG, style="fancy")
