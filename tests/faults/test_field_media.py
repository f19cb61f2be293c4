"""Pictures as other people's cameras and tools write them, through whole runs: what is sent, what is said of it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, PngImagePlugin

from kvl_eval import flags
from kvl_eval.audit.compare import compare
from kvl_eval.audit.compare_text import as_text
from kvl_eval.backends import make_backend
from kvl_eval.cli.main import main
from kvl_eval.errors import MediaError, UsageError
from kvl_eval.evaluation import EvaluationResult, evaluate
from kvl_eval.media.encoded import EncodedPicture, encode_prompt
from kvl_eval.media.images import ImagePrep, Opening, PreparedImage, header_size, prepare_image
from kvl_eval.media.layout import MediaPrep
from kvl_eval.media.settings import MEDIA_RULES
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.registry import served_rule
from kvl_eval.reports.image_work import CopyJob, small_copies
from kvl_eval.reports.table import find_flips
from kvl_eval.reports.warnings import run_warnings, warning_lines
from kvl_eval.reports.write import write_report
from kvl_eval.run.fingerprint import fingerprint_of
from kvl_eval.run.runner import resume_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import ImageRef, MediaInfo, Message
from tests.conftest import DATA
from tests.faults.stub_server import Stub, chat, serving
from tests.records import make_score

FIELD = DATA / "field"
ORIENTATION = 0x0112


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(lambda asked: chat("cat")) as server:
        yield server


def run_table(table: Path, stub: Stub, home: Path, **options: Any) -> EvaluationResult:
    """A run over an own table against a server."""
    return evaluate(
        "endpoint",
        [f"file:{table}"],
        base_url=stub.url,
        num_workers=0,
        output_dir=str(home / "results"),
        cache_dir=str(home / "cache"),
        **options,
    )


def sent(stub: Stub) -> dict[str, Image.Image]:
    """The picture that came with each question, by the word behind `KEY=`."""
    return {
        asked.texts.partition("KEY=")[2].split()[0]: Image.open(
            BytesIO(base64.b64decode(asked.pictures[0].partition(",")[2]))
        )
        for asked in stub.asked
        if asked.pictures
    }


def media_of(done: EvaluationResult) -> dict[str, MediaInfo]:
    (task,) = done.folder.manifest.data
    return {record.sample_id: record.media[0] for record in done.folder.records(task) if record.media}


def prep(**changes: Any) -> MediaPrep:
    return MediaPrep(images=ImagePrep(config=served_rule(), **changes))


def picture_sent(data: bytes, **changes: Any) -> EncodedPicture:
    """One picture as a server would get it."""
    turns = encode_prompt((Message.user(ImageRef(name="x", data=data)),), prep(**changes))
    (picture,) = (part for _, parts in turns.turns for part in parts if isinstance(part, EncodedPicture))
    return picture


def picture_seen(data: bytes, **changes: Any) -> PreparedImage:
    """One picture as the bundled engine prepares it."""
    return prepare_image(ImageRef(name="x", data=data), ImagePrep(config=PreprocessorConfig(), **changes))


def pixels_of(picture: EncodedPicture) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture.png)))


def chunks(png: bytes) -> list[bytes]:
    """Kinds of a PNG's chunks in order, repeats of IDAT left out."""
    kinds, place = [], 8
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        kinds += [] if kinds[-1:] == [kind] else [kind]
        place += length + 12
    return kinds


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# -- D28: orientation -------------------------------------------------------------------------------------------

DRAWN = Image.new("RGB", (40, 24), "white")
ImageDraw.Draw(DRAWN).rectangle((2, 2, 20, 9), fill="red")
ImageDraw.Draw(DRAWN).ellipse((24, 12, 38, 22), fill="blue")
# What a camera stores under an orientation, so that the picture is upright once it is applied.
STORED: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int, form: str) -> bytes:
    """The drawing stored under an orientation; without loss where the format can."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = DRAWN.transpose(STORED[orientation]) if orientation in STORED else DRAWN
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    return encoded(stored, form, exif=exif, **options.get(form, {}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_D28_all_orientations_give_the_same_picture_everywhere(orientation: int, form: str) -> None:
    data = turned(orientation, form)
    picture, seen = picture_sent(data), picture_seen(data)
    assert np.abs(pixels_of(picture).astype(int) - np.asarray(DRAWN)).max() <= (24 if form == "JPEG" else 0)
    assert (picture.info.w, picture.info.h) == (seen.info.w, seen.info.h) == DRAWN.size
    assert header_size(ImageRef(name="x", data=data)) == DRAWN.size
    marks = () if orientation == 1 else (flags.EXIF_APPLIED,)
    assert picture.info.flags == seen.info.flags == marks
    upright = picture_seen(turned(1, form))
    assert np.abs(seen.patches.astype(int) - upright.patches).max() <= (24 if form == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_D28_vlmevalkit_turns_nothing_and_the_record_says_so(orientation: int) -> None:
    data = turned(orientation, "JPEG")
    lying = Image.open(BytesIO(data)).size
    picture, seen = picture_sent(data, style="vlmevalkit"), picture_seen(data, style="vlmevalkit")
    assert (picture.info.w, picture.info.h) == (seen.info.w, seen.info.h) == lying
    assert header_size(ImageRef(name="x", data=data), Opening(style="vlmevalkit")) == lying
    assert picture.info.flags == seen.info.flags == (flags.EXIF_IGNORED,)


def test_D28_an_orientation_that_stands_behind_the_pixels_counts() -> None:
    """A PNG may hold its eXIf chunk after IDAT."""
    data = turned(6, "PNG")
    place = data.index(b"eXIf") - 4
    length = struct.unpack_from(">I", data, place)[0] + 12
    moved = data[:place] + data[place + length : -12] + data[place : place + length] + data[-12:]
    assert chunks(moved)[1:3] == [b"IDAT", b"eXIf"]
    assert header_size(ImageRef(name="x", data=moved)) == DRAWN.size
    assert np.array_equal(pixels_of(picture_sent(moved)), np.asarray(DRAWN))


def test_D28_exif_that_cannot_be_read_is_no_reason_to_refuse_a_sound_picture() -> None:
    for form in ("JPEG", "PNG"):
        picture = picture_sent(encoded(DRAWN, form, exif=b"Exif\0\0nonsense of some length"))
        assert (picture.info.w, picture.info.h) == DRAWN.size
    assert picture.info.flags == (flags.EXIF_IGNORED,)
    assert "(unreadable)" in str(picture.info.note)


def test_D28_thumbnails_are_upright() -> None:
    data = turned(6, "JPEG")
    info = picture_seen(data).info
    ref = ImageRef(name="x", data=data)
    (copy,) = small_copies(CopyJob(refs=(ref,), media=(info,), sides={info.sha256: 640}))
    with Image.open(BytesIO(copy.data)) as small:
        assert small.size == DRAWN.size


def test_D28_a_run_sends_the_picture_upright_and_counts_it(stub: Stub, tmp_path: Path) -> None:
    done = run_table(FIELD / "exif" / "t.jsonl", stub, tmp_path)
    assert sent(stub)["b"].size == (96, 128)
    (info,) = media_of(done).values()
    assert ((info.w, info.h), info.flags) == ((96, 128), (flags.EXIF_APPLIED,))


@pytest.mark.shared
def test_D28_the_pictures_of_the_field_stand_upright(stub: Stub, tmp_path: Path, shared: Path) -> None:
    run_table(shared / "field" / "exif" / "t.jsonl", stub, tmp_path)
    assert {key: picture.size for key, picture in sent(stub).items()} == {"a": (1, 2), "b": (96, 128)}


def test_D28_a_resume_across_the_rule_is_refused_by_name(stub: Stub, tmp_path: Path) -> None:
    done = run_table(FIELD / "exif" / "t.jsonl", stub, tmp_path)
    folder = done.folder
    before = {name: value for name, value in folder.manifest.identity.items() if name != "rules"}
    former = replace(folder.manifest, identity=before, config_fingerprint=fingerprint_of(before), status="interrupted")
    folder.save(former)
    for records in (done.path / "samples").iterdir():
        records.write_bytes(b"")
    with pytest.raises(UsageError) as refusal:
        resume_run(RunReader.open(done.path), lambda config: make_backend(config.model, config.settings))
    assert refusal.value.code == "run.mismatch"
    for rule, version in MEDIA_RULES.items():
        assert f"rules.{rule} null → {version}" in str(refusal.value.render())


# -- D29: depth, transparency, nothing to see -------------------------------------------------------------------


def drawn_grey(top: int = 200) -> np.ndarray:
    image = Image.new("L", (64, 48))
    ImageDraw.Draw(image).ellipse((10, 8, 50, 40), fill=200)
    return np.asarray(image).astype(np.int64) * top // 200


def declared(values: np.ndarray, depth: int) -> bytes:
    """A 16-bit PNG whose sBIT chunk names a depth."""
    info = PngImagePlugin.PngInfo()
    info.add(b"sBIT", bytes([depth]))
    return encoded(Image.fromarray(values.astype(np.uint16)), pnginfo=info)


def wide(values: np.ndarray, kind: Any = np.uint16, form: str = "PNG") -> bytes:
    return encoded(Image.fromarray(values.astype(kind)), form)


@pytest.mark.parametrize(
    ("data", "brightest", "marks"),
    [
        pytest.param(wide(drawn_grey(200)), 200, (flags.NARROW_16BIT,), id="8-bits-in-16"),
        pytest.param(declared(drawn_grey(4095), 12), 255, (), id="12-declared"),
        pytest.param(declared(drawn_grey(100), 12), 6, (), id="12-declared-and-dark"),
        pytest.param(declared(drawn_grey(4095 << 4), 12), 255, (), id="12-declared-scaled-already"),
        pytest.param(declared(drawn_grey(100), 16), 0, (flags.DARK_16BIT, flags.UNIFORM), id="16-declared-and-dark"),
        pytest.param(wide(drawn_grey(4095)), 15, (flags.DARK_16BIT,), id="12-not-declared"),
        pytest.param(wide(drawn_grey(65535)), 255, (), id="16"),
        pytest.param(wide(drawn_grey(200), np.int32, "TIFF"), 200, (flags.NARROW_16BIT,), id="8-bits-in-32"),
        pytest.param(wide(drawn_grey() / 200, np.float32, "TIFF"), 255, (flags.FLOAT_SCALED,), id="float-0-1"),
        pytest.param(wide(drawn_grey(250), np.float32, "TIFF"), 250, (), id="float-0-255"),
    ],
)
def test_D29_grey_of_any_depth_is_seen(data: bytes, brightest: int, marks: tuple[str, ...]) -> None:
    picture, seen = picture_sent(data), picture_seen(data)
    assert int(pixels_of(picture).max()) == int(seen.patches.max()) == brightest
    assert set(picture.info.flags) == set(seen.info.flags) == set(marks)


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-1.0, 5.0, "-1 to 5"), (0.0, 300.5, "0 to 300.5"), (0.0, np.nan, "nan")]
)
def test_D29_floats_that_no_rule_reads_are_refused_with_their_range(low: float, high: float, said: str) -> None:
    data = encoded(Image.fromarray(np.array([[low, high]], dtype=np.float32)), "TIFF")
    with pytest.raises(MediaError) as refusal:
        picture_sent(data)
    assert refusal.value.reason == "media_unsupported"
    assert said in refusal.value.message


def transparent(ink: int, opacity: int, mode: str = "RGBA") -> bytes:
    image = Image.new("RGBA", (30, 20), (ink, ink, ink, opacity))
    ImageDraw.Draw(image).ellipse((5, 5, 20, 15), fill=(ink, ink, ink, 255))
    return encoded(image if mode == "RGBA" else image.convert(mode))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_D29_transparency_is_named_only_where_something_is_transparent(mode: str) -> None:
    if mode == "PA":
        image = Image.new("P", (30, 20), 1)
        image.putpalette([0, 0, 0, 0, 0, 0])
        clear, opaque = encoded(image, transparency=1), encoded(image, transparency=9)
    else:
        clear, opaque = transparent(0, 0, mode), transparent(0, 255, mode)
    assert picture_sent(clear).info.flags == picture_seen(clear).info.flags == (flags.ALPHA_DROPPED, flags.UNIFORM)
    assert picture_sent(opaque).info.flags == picture_seen(opaque).info.flags == (flags.UNIFORM,)


def test_D29_a_drawing_on_transparency_is_seen_on_white_and_uniform_without() -> None:
    data = transparent(0, 0)
    assert picture_sent(data, style="vlmevalkit").info.flags == ()
    assert set(pixels_of(picture_sent(data, style="vlmevalkit")).flat) == {0, 255}
    assert picture_seen(data, style="vlmevalkit").info.flags == ()


@pytest.mark.parametrize("place", [(0, 0), (63, 47), (31, 20), (17, 33)])
def test_D29_one_other_pixel_is_something_to_see(place: tuple[int, int]) -> None:
    image = Image.new("RGB", (64, 48), "white")
    assert picture_sent(encoded(image)).info.flags == (flags.UNIFORM,)
    image.putpixel(place, (255, 255, 254))
    assert picture_sent(encoded(image)).info.flags == ()


def test_D29_blind_runs_raise_no_flag() -> None:
    for data in (transparent(0, 0), turned(6, "JPEG"), wide(drawn_grey(200)), encoded(Image.new("L", (9000, 2)))):
        assert picture_sent(data, blind=True).info.flags == picture_seen(data, blind=True).info.flags == ()


def test_D29_other_causes_are_named() -> None:
    frames = [Image.new("RGB", (28, 28), color) for color in ("red", "blue")]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert picture_seen(animation).info.flags == (flags.UNIFORM, flags.FIRST_FRAME_ONLY)
    strip = encoded(Image.new("L", (100_000, 20), 255))
    assert picture_seen(strip).info.flags == (flags.UNIFORM, flags.PRE_SHRUNK)


# -- E26: chunks ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA", "I;16"]),
    info=st.fixed_dictionaries(
        {},
        optional={
            "icc_profile": st.just(b"not a profile"),
            "transparency": st.sampled_from([0, 1, 200]),
            "dpi": st.just((72, 72)),
            "exif": st.sampled_from([b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", turned(3, "PNG")[:0]]),
            "pnginfo": st.just(None),
        },
    ),
)
def test_E26_whatever_a_picture_carries_three_kinds_of_chunks_are_sent(mode: str, info: dict[str, Any]) -> None:
    image = Image.linear_gradient("L").resize((16, 12)).convert("I;16" if mode == "I;16" else mode)
    extra = PngImagePlugin.PngInfo()
    extra.add(b"gAMA", struct.pack(">I", 45455))
    extra.add_text("Comment", "words")
    options: dict[str, Any] = {**info, "pnginfo": extra}
    if mode in ("RGB", "RGBA", "LA") and "transparency" in options:
        options["transparency"] = (1, 2, 3) if mode == "RGB" else None
    data = encoded(image, **{name: value for name, value in options.items() if value is not None})
    for style in ("reference", "vlmevalkit"):
        png = picture_sent(data, style=style).png
        assert chunks(png) == [b"IHDR", b"IDAT", b"IEND"]
        assert Image.open(BytesIO(png)).mode == "RGB"


def test_E26_a_bilevel_picture_with_a_transparent_color_is_asked(stub: Stub, tmp_path: Path) -> None:
    done = run_table(FIELD / "png" / "t.jsonl", stub, tmp_path)
    assert done.exit_code == 0
    (asked,) = stub.asked
    assert chunks(base64.b64decode(asked.pictures[0].partition(",")[2])) == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.shared
def test_E26_the_pictures_of_the_field_are_asked(stub: Stub, tmp_path: Path, shared: Path) -> None:
    done = run_table(shared / "field" / "png" / "t.jsonl", stub, tmp_path)
    assert done.exit_code == 0
    for asked in stub.asked:
        assert chunks(base64.b64decode(asked.pictures[0].partition(",")[2])) == [b"IHDR", b"IDAT", b"IEND"]


# -- H7: every view counts them ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `make_pictures.py`, the two large ones left small, and the table that asks about them."""
    spec = importlib.util.spec_from_file_location("make_pictures", FIELD / "make_pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawing = module.drawing
    module.drawing = lambda mode="L", size=(64, 48), *colors, **inks: drawing(
        mode, min(size, (64, 48)), *colors, **inks
    )
    folder = tmp_path_factory.mktemp("pictures")
    module.main(folder)
    return folder


SAID = {
    "float_unit": "float image in 0..1 scaled to 0..255",
    "eight_in_sixteen": "16-bit image has 8-bit values, and was read as such",
    "white_on_clear": "image decoded to a single color",
}


def table_of(drawn: Path, home: Path, *names: str) -> Path:
    """A table that asks about some of the pictures alone."""
    rows = [line for line in (drawn / "t.jsonl").read_text().splitlines() if json.loads(line)["id"] in names]
    (drawn / f"{home.name}.jsonl").write_text("\n".join(rows))
    return drawn / f"{home.name}.jsonl"


def test_H7_D29_terminal_results_and_pages_count_what_was_done(drawn: Path, stub: Stub, tmp_path: Path) -> None:
    done = run_table(table_of(drawn, tmp_path, *SAID), stub, tmp_path, max_pixels=200_000)
    assert done.exit_code == 0
    counts = {flags.ALPHA_DROPPED: 1, flags.UNIFORM: 1, flags.NARROW_16BIT: 1, flags.FLOAT_SCALED: 1}
    results = done.folder.results()
    assert [row.flags for row in results.rows] == [counts] * len(results.rows)
    write_report([done.path], tmp_path / "report")
    out = tmp_path / "report"
    texts = {
        "terminal": "\n".join(warning_lines(run_warnings(done.folder, results))),
        "index.html": (out / "index.html").read_text(),
    }
    for text in SAID.values():
        for view, page in texts.items():
            assert text in page, view
    assert "flag=image+decoded+to+a+single+color" in texts["index.html"]
    assert "image decoded to a single color" in (out / "data" / "index.js").read_text()
    seen = {key: len(picture.convert("L").getcolors()) for key, picture in sent(stub).items()}
    assert seen["white_on_clear"] == 1
    assert min(seen["float_unit"], seen["eight_in_sixteen"]) > 1


def test_H7_a_run_without_flags_and_a_blind_one_show_none(drawn: Path, stub: Stub, tmp_path: Path) -> None:
    for options in ({"blind": True}, {"limit": 0}):
        names = tuple(SAID) if options.pop("limit", 1) else ("avif",)
        done = run_table(table_of(drawn, tmp_path, *names), stub, tmp_path, max_pixels=200_000, **options)
        results = done.folder.results()
        assert all(row.flags == {} for row in results.rows)
        assert '"flags"' not in (done.path / "results.json").read_text()
        warnings = run_warnings(done.folder, results)
        assert not {"media", "server"} & {warning.code for warning in warnings}


def test_H7_compare_says_where_two_runs_differ(drawn: Path, stub: Stub, tmp_path: Path) -> None:
    table = table_of(drawn, tmp_path, *SAID)
    first = run_table(table, stub, tmp_path, max_pixels=200_000)
    second = run_table(table, stub, tmp_path, max_pixels=200_000, image_prep="vlmevalkit")
    comparison = compare(RunReader.open(first.path), RunReader.open(second.path))
    (task,) = comparison.comparisons
    assert [(found.flag, found.only_a, found.only_b) for found in task.flags] == [
        (flags.ALPHA_DROPPED, ("white_on_clear",), ())
    ]
    assert "transparency of an image dropped: 1 only in A (white_on_clear), 0 only in B" in as_text(comparison)
    same = compare(RunReader.open(first.path), RunReader.open(first.path), protocols=("reader", "official"))
    assert all(pair.flags == () for pair in same.comparisons)


# -- S12: a protocol that needs a judge -------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints."""
    with pytest.raises(SystemExit):
        main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "said"),
    [("constant:I really cannot say what moves here.", "needs a judge"), ("hash", "3 need a judge")],
)
def test_S12_answers_that_wait_for_a_judge_are_no_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answers: str, said: str
) -> None:
    options = {"limit": 6, "frames": 2, "num_workers": 0, "model_args": {"answers": answers}}
    done = evaluate("fake", ["tomato"], output_dir=str(tmp_path / "results"), **options)
    table = printed(capsys, "score", str(done.path), "--protocol", "all")
    waiting = 6 if said == "needs a judge" else 3
    assert f"needs a judge for {waiting} of 6 samples" in table
    assert "not_scored" not in table
    write_report([done.path], tmp_path / "report")
    assert said in (tmp_path / "report" / "task-tomato.html").read_text()


@given(
    pairs=st.lists(
        st.tuples(*[st.sampled_from([("correct", 1.0), ("wrong", 0.0), ("no_answer", 0.0), ("not_scored", None)])] * 2),
        max_size=8,
    )
)
def test_S12_only_scored_answers_differ(pairs: list[tuple[tuple[str, float | None], tuple[str, float | None]]]) -> None:
    sides = [
        [make_score(f"{place}", verdict=pair[side][0], score=pair[side][1]) for place, pair in enumerate(pairs)]
        for side in (0, 1)
    ]
    expected = [f"{place}" for place, (a, b) in enumerate(pairs) if a != b and None not in (a[1], b[1])]
    assert [flip.key.sample_id for flip in find_flips(*sides)] == expected


# -- every picture that a library's own tests bring along -------------------------------------------------------

REASONS = {"media_corrupt", "media_too_large", "media_unsupported", "media_too_long", "media_empty"}


def fetched(folder: Path, *arguments: str) -> Path:
    """A package as pip fetches it; the test is left out where that cannot be."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), *arguments]
    tools = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder / "tools"), "pybind11", "setuptools>=77"],
        capture_output=True,
    )
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(folder / "tools")})
    if tools.returncode or done.returncode:
        pytest.skip(f"{arguments[-1]} cannot be fetched")
    return next(path for path in folder.iterdir() if path.is_file())


def pillows_pictures(folder: Path) -> Iterator[tuple[str, bytes]]:
    version = metadata.version("pillow")
    path = fetched(folder, "--no-binary", ":all:", "--no-build-isolation", f"pillow=={version}")
    with tarfile.open(path) as package:
        for member in package:
            if member.isfile() and "/Tests/images/" in member.name and (file := package.extractfile(member)):
                yield Path(member.name).name, file.read()


def scikits_pictures(folder: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(fetched(folder, "--only-binary", ":all:", "scikit-image")) as package:
        for name in package.namelist():
            if name.startswith("skimage/data/") and Path(name).suffix in (".png", ".jpg", ".tif", ".tiff", ".gif"):
                yield Path(name).name, package.read(name)


@pytest.mark.slow
@pytest.mark.parametrize("pictures_of", [pillows_pictures, scikits_pictures])
def test_D28_D29_D40_every_picture_of_a_package_is_answered_or_refused_in_one_sentence(
    pictures_of: Callable[[Path], Iterator[tuple[str, bytes]]], stub: Stub, tmp_path: Path
) -> None:
    for part in ("package", "data"):
        (tmp_path / part).mkdir()
    rows = [{"id": "sound", "image": "0.bin", "question": "?", "answer": "cat"}]
    (tmp_path / "data" / "0.bin").write_bytes(turned(6, "JPEG"))
    for number, (name, data) in enumerate(pictures_of(tmp_path / "package"), 1):
        (tmp_path / "data" / f"{number}.bin").write_bytes(data)
        rows.append({"id": f"{number} {name}", "image": f"{number}.bin", "question": "?", "answer": "cat"})
    table = tmp_path / "data" / "t.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = evaluate(
        "endpoint",
        [f"file:{table}"],
        base_url=stub.url,
        max_pixels=50_000,
        num_workers=1,
        output_dir=str(tmp_path / "results"),
    )
    records = list(done.folder.records(f"file:{table}"))
    assert len(records) == len(rows) > 1
    for record in records:
        assert record.status == "ok" or record.reason in REASONS, record.sample_id
        assert "\n" not in (record.message or "")
    counted = Counter(flag for record in records for flag in record.flags if record.status == "ok")
    assert done.folder.results().rows[0].flags == counted
    assert counted[flags.EXIF_APPLIED] >= 1
