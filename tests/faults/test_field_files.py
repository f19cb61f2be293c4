"""Pictures, documents, videos, subtitles in formats and sizes of the field: what is read, what is refused by name."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from kvl_eval import flags
from kvl_eval.check_data import check
from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.evaluation import EvaluationResult, evaluate
from kvl_eval.media import large, pyav_reader
from kvl_eval.media.documents import probe_document, render_pages
from kvl_eval.media.images import ImagePrep, Opening, header_size, prepare_image
from kvl_eval.media.large import turn_for
from kvl_eval.media.library_lines import library_note
from kvl_eval.media.pool import MediaPool
from kvl_eval.media.settings import MAX_IMAGE_PIXELS
from kvl_eval.media.subtitles import as_srt, lines_at_frames, lines_at_own_frames
from kvl_eval.media.video import decode_frames, probe_video
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task
from kvl_eval.types import ImageRef, PdfRef, VideoRef
from tests.clips import DECODERS, HAS_DECORD, needs_decord, number_of, write_clip
from tests.conftest import DATA
from tests.faults.stub_server import Stub, chat, serving
from tests.media.test_documents import raw_pdf
from tests.media.test_video import damaged

FIELD = DATA / "field"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(lambda asked: chat("A")) as server:
        yield server


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def run(task: str, stub: Stub, home: Path, **options: Any) -> EvaluationResult:
    places = {"output_dir": str(home / "results"), "cache_dir": str(home / "cache")}
    return evaluate("endpoint", [task], base_url=stub.url, num_workers=0, **places, **options)


# -- D40: formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.avif", "x.jpg"])
def test_D40_avif_is_read_whatever_its_suffix(tmp_path: Path, name: str) -> None:
    image = Image.new("RGB", (64, 48), (0, 90, 0))
    image.paste((200, 0, 0), (10, 8, 50, 40))
    (tmp_path / name).write_bytes(encoded(image, "AVIF"))
    info = prepare_image(
        ImageRef(name=name, path=name, root=str(tmp_path)), ImagePrep(config=PreprocessorConfig())
    ).info
    assert ((info.w, info.h), info.flags) == ((64, 48), ())


UNREAD = {
    "HEIC": struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(40),
    "ICO": encoded(Image.new("RGB", (16, 16), "red"), "ICO"),
    "TGA": encoded(Image.new("RGB", (16, 16), "red"), "TGA"),
    "PSD": b"8BPS\x00\x01" + bytes(40),
    "SVG": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
}
IN_ITS_PLACE = {
    "a web page, not an image": b"<!DOCTYPE html><html><body>404</body></html>",
    "a git-lfs pointer, not the image": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a zip archive, not an image": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("form", UNREAD)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_D40_other_formats_are_named(form: str, suffix: str) -> None:
    ref = ImageRef(name=f"x.{suffix}", data=UNREAD[form])
    for read in (header_size, lambda one: prepare_image(one, ImagePrep(config=PreprocessorConfig()))):
        with pytest.raises(MediaError) as refusal:
            read(ref)
        assert refusal.value.reason == "media_corrupt"
        assert refusal.value.why == f"{form} images are not supported; convert to PNG or JPEG"


@pytest.mark.parametrize("why", IN_ITS_PLACE)
def test_D40_what_stands_in_a_pictures_place_is_named_with_what_to_do(why: str) -> None:
    with pytest.raises(MediaError) as refusal:
        header_size(ImageRef(name="x.png", data=IN_ITS_PLACE[why]))
    assert refusal.value.reason == "media_corrupt"
    assert refusal.value.why == why
    assert "convert" not in str(refusal.value.fix)


# -- D41: many pixels -------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_D41_the_limit_is_pillows_and_an_option_moves_it() -> None:
    scan, map_ = (ImageRef(name="x", data=png_header(side, side)) for side in (9_500, 14_000))
    assert header_size(scan) == (9_500, 9_500)
    assert header_size(map_, Opening(most=200_000_000)) == (14_000, 14_000)
    for ref, most, size in ((map_, MAX_IMAGE_PIXELS, "14000 x 14000"), (scan, 80_000_000, "9500 x 9500")):
        with pytest.raises(MediaError) as refusal:
            header_size(ref, Opening(most=most))
        said = f"{refusal.value.message}; {refusal.value.why}"
        assert refusal.value.reason == "media_too_large"
        assert all(text in said for text in (size, str(most), "--max-image-pixels"))


def test_D41_one_large_picture_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 100)
    inside, order = threading.Event(), []

    def second() -> None:
        inside.wait(10)
        with turn_for(50):
            order.append("small, at once")
        with turn_for(101):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with turn_for(101):
        inside.set()
        other.join(0.3)
        order.append("first")
    other.join(10)
    assert order == ["small, at once", "first", "second"]


def test_D41_the_option_is_recorded_and_reaches_the_pictures(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(Image.linear_gradient("L").resize((40, 30)), "PNG"))
    (tmp_path / "t.jsonl").write_text(json.dumps({"id": "x", "image": "x.png", "question": "?", "answer": "A"}))
    done = run(f"file:{tmp_path / 't.jsonl'}", stub, tmp_path, max_image_pixels=1000)
    (record,) = done.folder.records(f"file:{tmp_path / 't.jsonl'}")
    assert record.reason == "media_too_large"
    assert "40 x 30" in str(record.message)
    assert done.folder.manifest.config["settings"]["max_image_pixels"] == 1000
    assert not stub.asked


@pytest.mark.slow
def test_D29_D40_D41_the_pictures_of_the_field_become_what_is_expected(stub: Stub, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_pictures", FIELD / "make_pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "data")
    task = f"file:{tmp_path / 'data' / 't.jsonl'}"
    done = run(task, stub, tmp_path, max_pixels=200_000)
    for record in done.folder.records(task):
        wanted = module.EXPECT[record.sample_id]
        assert (record.status == "ok", record.reason) == (
            (wanted != "too_large"),
            "media_too_large" if wanted == "too_large" else None,
        )
        assert (flags.UNIFORM in record.flags) == (wanted == "uniform")


# -- D33: subtitles ---------------------------------------------------------------------------------------------

SRT = "1\n00:00:00,000 --> 00:00:02,000\nhello\n\n2\n00:00:02,000 --> 00:00:04,000\nworld\n"
VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nhello\n\n00:00:02.000 --> 00:00:04.000\nworld\n"
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:02.00,Default,,0,0,0,,hello
Dialogue: 0,0:00:02.00,0:00:04.00,Default,,0,0,0,,world
"""


@pytest.mark.parametrize("text", [SRT, VTT, ASS, ASS.replace("v4.00+", "v4.00")], ids=["srt", "vtt", "ass", "ssa"])
def test_D33_subtitles_are_read_by_content(text: str) -> None:
    srt = as_srt(text, "x.srt")
    assert lines_at_frames(srt, 1.0, [1, 3]) == "hello\nworld"
    assert (
        lines_at_own_frames(srt.replace("hello", '<font color="white" size=".72c">hello</font>'), 1.0, 4, 4) == "hello"
    )
    assert as_srt(SRT, "x.srt") == SRT


@pytest.mark.parametrize("text", ["<html>404</html>", "nothing", "WEBVTT\n\n", "[Script Info]\nTitle: x\n", "1\n2\n3"])
def test_D33_subtitles_without_a_cue_are_corrupt(text: str) -> None:
    with pytest.raises(MediaError) as refusal:
        as_srt(text, "html.srt")
    assert refusal.value.reason == "media_corrupt"
    assert refusal.value.message == f"subtitles without a cue: html.srt begins with {text.strip()[:40]!r}"
    assert as_srt(" \n", "blank.srt") == " \n"


def test_D33_check_names_the_file_and_the_run_does_not_ask(stub: Stub, tmp_path: Path) -> None:
    data = FIELD / "subtitles"
    report = check(get_task("videomme-subs"), Source(data_dir=data), "test")
    (problem,) = (problem for problem in report.problems if "html" in problem.where)
    assert "subtitles without a cue: html.srt begins with '<html>404</html>'" in problem.problem
    done = run("videomme-subs", stub, tmp_path, data_dir=str(data), frames=2)
    (record,) = done.folder.records("videomme-subs")
    assert (record.reason, stub.asked) == ("media_corrupt", [])
    assert "html.srt begins" in str(record.message)


def test_D33_a_blank_file_leaves_no_heading_without_lines(stub: Stub, tmp_path: Path) -> None:
    shutil.copytree(FIELD / "subtitles", tmp_path / "data")
    (tmp_path / "data" / "subtitle" / "html.srt").write_text("\n  \n")
    done = run("videomme-subs", stub, tmp_path, data_dir=str(tmp_path / "data"), frames=2)
    (record,) = done.folder.records("videomme-subs")
    assert record.status == "ok"
    assert "subtitles" not in record.prompt_text


# -- D43: documents with a password -----------------------------------------------------------------------------

PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)


def locked(user: bytes, owner: bytes) -> bytes:
    """A document under the standard handler's first revision, with these passwords."""
    own = rc4(hashlib.md5((owner + PAD)[:32]).digest()[:5], (user + PAD)[:32])
    file_id = b"B" * 16
    key = hashlib.md5((user + PAD)[:32] + own + struct.pack("<i", -4) + file_id).digest()[:5]
    handler = f"<< /Filter /Standard /V 1 /R 2 /O <{own.hex()}> /U <{rc4(key, PAD).hex()}> /P -4 >>"
    return raw_pdf(
        "/MediaBox [0 0 9 9]", extra=handler, trailer=f"/Encrypt 4 0 R /ID [<{file_id.hex()}> <{file_id.hex()}>]"
    )


def test_D43_only_the_empty_user_password_is_tried() -> None:
    opened = probe_document(PdfRef(name="x", path="x.pdf", data=locked(b"", b"boss")))
    assert opened.pages == 1
    for user, owner in ((b"secret", b""), (b"secret", b"boss")):
        with pytest.raises(MediaError) as refusal:
            probe_document(PdfRef(name="x.pdf", path="x.pdf", data=locked(user, owner)))
        assert (refusal.value.reason, refusal.value.why) == ("media_corrupt", "it is password-protected")


def test_D43_check_data_names_it(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "locked.pdf").write_bytes(locked(b"secret", b""))
    row = {"question": "?", "answer": "1", "answer_format": "Int", "evidence_pages": "[1]", "evidence_sources": "[]"}
    (tmp_path / "samples.json").write_text(json.dumps([{**row, "doc_id": "locked.pdf"}]))
    report = check(get_task("mmlongbench-doc"), Source(data_dir=tmp_path), get_task("mmlongbench-doc").default_split)
    assert any("it is password-protected" in problem.problem for problem in report.problems)


# -- D44: containers --------------------------------------------------------------------------------------------


def muxed(path: Path, form: str, codec: str) -> bytes:
    """A clip in a container that is not read."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 32, 32
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame(32, 32, "rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("form", "codec", "name"),
    [
        ("flv", "flv", "FLV"),
        ("mpeg", "mpeg2video", "MPEG program stream"),
        ("ogg", "libvpx", "Ogg"),
        ("asf", "wmv2", "WMV"),
        ("gif", "gif", "GIF"),
        ("h264", "libx264", "raw H.264"),
    ],
)
def test_D44_other_containers_are_named_and_the_advice_is_to_remux(
    tmp_path: Path, form: str, codec: str, name: str
) -> None:
    muxed(tmp_path / "x.mp4", form, codec)
    with pytest.raises(MediaError) as refusal:
        probe_video(VideoRef(name="x", path="x.mp4", root=str(tmp_path)))
    assert refusal.value.reason == "media_corrupt"
    assert str(refusal.value.why).startswith(f"{name} is not supported; remux it to MP4")


def test_D44_what_is_read_stays_read(tmp_path: Path) -> None:
    for suffix, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")):
        write_clip(tmp_path / f"x.{suffix}", 30, codec=codec)
        assert probe_video(VideoRef(name="x", path=f"x.{suffix}", root=str(tmp_path)), "pyav").frames == 30


# -- D31: edit lists --------------------------------------------------------------------------------------------

CUT = VideoRef(name="cut", path="cut_one_gop.mp4", root=str(FIELD / "video_cut" / "data"))


@pytest.mark.parametrize("decoder", ["auto", *DECODERS])
def test_D31_a_clip_cut_inside_a_group_of_pictures_begins_where_a_player_begins(decoder: str) -> None:
    video = probe_video(CUT, decoder)
    assert (video.frames, video.notes[:1]) == (45, () if decoder != "decord" else (FALLEN_BACK,))
    assert video.flags == (() if decoder != "decord" else (flags.FALLBACK_DECODER,))
    shown = list(decode_frames(video, range(video.frames)))
    with av.open(str(FIELD / "video_cut" / "data" / "cut_one_gop.mp4")) as container:
        played = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [(frame.index, frame.note) for frame in shown] == [(number, None) for number in range(45)]
    for frame, pixels in zip(shown, played, strict=True):
        assert np.array_equal(np.asarray(frame.image), pixels)
    (alone,) = decode_frames(video, [30])
    assert np.array_equal(np.asarray(alone.image), played[30])


FALLEN_BACK = "PyAV, because decord ignores the edit list"


def test_D31_several_groups_and_a_late_start(tmp_path: Path) -> None:
    """Frames are those that FFmpeg's own player shows, wherever the cut falls."""
    whole = write_clip(tmp_path / "whole.mp4", 60, gop=20)
    for left_out in (1, 7, 19, 20, 21, 33):
        path = tmp_path / f"cut{left_out}.mp4"
        path.write_bytes(late_start(whole.read_bytes(), left_out))
        with av.open(str(path)) as container:
            played = [number_of(frame.to_image()) for frame in container.decode(video=0)]
        video = probe_video(VideoRef(name="x", path=path.name, root=str(tmp_path)))
        assert played == list(range(left_out, 60))
        assert [number_of(frame.image) for frame in decode_frames(video, range(video.frames))] == played
        assert video.seconds(video.frames - 1) == pytest.approx((59 - left_out) / 25, abs=0.002)
        assert not any("frames," in note for note in video.notes)
        assert video.flags == ()
        if HAS_DECORD:
            asked = probe_video(VideoRef(name="x", path=path.name, root=str(tmp_path)), "decord")
            assert (asked.flags, asked.frames) == ((flags.FALLBACK_DECODER,), 60 - left_out)


def late_start(data: bytes, frames: int) -> bytes:
    """A clip of 25 frames a second whose edit list leaves out its first frames."""
    place = data.index(b"elst") + 8  # behind version and flags
    count, _, begin = struct.unpack_from(">IIi", data, place)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    assert count == 1
    return data[: place + 8] + struct.pack(">i", begin + frames * scale // 25) + data[place + 12 :]


@needs_decord
def test_D31_a_fallback_is_flagged_and_files_with_a_late_start_never_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "x.mp4", 10)

    def fails(path: Path, name: str) -> Any:
        raise MediaError("media.corrupt", f"{name} cannot be decoded", why="its video stream has no keyframe")

    monkeypatch.setattr(pyav_reader, "probe", fails)
    video = probe_video(VideoRef(name="x", path="x.mp4", root=str(tmp_path)))
    assert (video.flags, video.decoder[:6]) == ((flags.FALLBACK_DECODER,), "decord")
    with pytest.raises(MediaError):
        shutil.copy(FIELD / "video_cut" / "data" / "cut_one_gop.mp4", tmp_path / "cut.mp4")
        probe_video(VideoRef(name="cut", path="cut.mp4", root=str(tmp_path)))


def test_D31_the_record_of_a_run_carries_the_frames_of_after_the_cut(stub: Stub, tmp_path: Path) -> None:
    for decoder in ("auto", "pyav"):
        data = str(FIELD / "video_cut")
        done = run("videomme", stub, tmp_path, data_dir=data, frames=4, video_decoder=decoder)
        (record,) = done.folder.records("videomme")
        assert record.status == "ok"
        assert [medium.index for medium in record.media] == [9, 18, 27, 36]
        assert {medium.flags for medium in record.media} == {()}
    first, second = (asked.pictures for asked in stub.asked)
    assert first == second


# -- D32: frames that come late ---------------------------------------------------------------------------------

PYRAMID = {"x264-params": "bframes=3:b-pyramid=normal:b-adapt=0:ref=4"}
OPEN_GROUPS = {"x264-params": "bframes=3:b-pyramid=normal:b-adapt=0:open-gop=1:keyint=10:min-keyint=10"}


@pytest.mark.parametrize(
    ("file", "codec", "options"),
    [
        pytest.param("x.mp4", "libx264", PYRAMID, id="h264-mp4"),
        pytest.param("x.avi", "libx264", PYRAMID, id="h264-avi-without-times"),
        pytest.param("x.avi", "mpeg4", {"bf": "3"}, id="mpeg4-avi"),
        pytest.param("x.ts", "libx264", OPEN_GROUPS, id="open-groups"),
        pytest.param("x.mkv", "libx265", {"x265-params": "bframes=4:log-level=none"}, id="hevc"),
    ],
)
def test_D32_each_frame_is_the_one_a_full_decode_gives(
    tmp_path: Path, file: str, codec: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / file, 36, gop=12, codec=codec, options=options)
    with av.open(str(path)) as container:
        full = [number_of(frame.to_image()) for frame in container.decode(video=0)]
    video = probe_video(VideoRef(name="x", path=file, root=str(tmp_path)), "pyav")
    assert (full, video.frames) == (list(range(36)), 36)
    for index in range(36):
        (frame,) = decode_frames(video, [index])
        assert (frame.index, number_of(frame.image), frame.note, frame.flags) == (index, index, None, ())
    assert [number_of(frame.image) for frame in decode_frames(video, range(0, 36, 5))] == list(range(0, 36, 5))


def test_D32_a_frame_that_comes_out_behind_later_ones_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "x.mp4", 24, gop=24)
    in_order = pyav_reader.pictures

    def shuffled(*arguments: Any) -> Iterator[Any]:
        frames = list(in_order(*arguments))
        for start in range(0, len(frames), 4):
            yield from reversed(frames[start : start + 4])

    monkeypatch.setattr(pyav_reader, "pictures", shuffled)
    video = probe_video(VideoRef(name="x", path=path.name, root=str(tmp_path)), "pyav")
    for indices in ([5], [0, 1, 2, 3], [2, 7, 20, 23], list(range(24))):
        frames = list(decode_frames(video, indices))
        assert [(frame.index, number_of(frame.image), frame.note) for frame in frames] == [
            (i, i, None) for i in indices
        ]


def test_D32_a_replaced_frame_is_flagged(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", muxer={"movflags": "faststart"}).read_bytes()
    damaged(whole, tmp_path / "tail.mp4", {3, 4})
    video = probe_video(VideoRef(name="x", path="tail.mp4", root=str(tmp_path)), "pyav")
    first, last = decode_frames(video, [0, video.frames - 1])
    assert (first.flags, last.flags) == ((), (flags.FRAME_REPLACED,))


# -- P34: without decord ----------------------------------------------------------------------------------------


def test_P34_nothing_depends_on_decord_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_clip(tmp_path / "whole.mp4", 12)
    (tmp_path / "header.mp4").write_bytes(whole.read_bytes()[:32])
    monkeypatch.setitem(sys.modules, "decord", None)
    for decoder in ("auto", "pyav"):
        sound, broken = (VideoRef(name="x", path=name, root=str(tmp_path)) for name in ("whole.mp4", "header.mp4"))
        video = probe_video(sound, decoder)
        assert (video.frames, video.notes, video.flags) == (12, (), ())
        with pytest.raises(MediaError) as refusal:
            probe_video(broken, decoder)
        assert refusal.value.reason == "media_corrupt"
        assert "decord" not in str(refusal.value.why)
    with pytest.raises(ConfigError) as absent:
        probe_video(sound, "decord")
    assert absent.value.fix == "use auto or pyav"


@pytest.mark.slow
def test_P34_every_video_test_passes_without_decord(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['decord'] = None\n")
    files = ("media/test_video.py", "media/test_real_clips.py", "run/test_video_run.py", "faults/test_media.py")
    tests = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(tmp_path), str(tests.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(tests / file) for file in files)],
        cwd=tests.parent,
        env={**os.environ, "PYTHONPATH": paths, "KVL_EVAL_STRICT": ""},  # tests of decord itself are skipped there
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


# -- D30: forms -------------------------------------------------------------------------------------------------

SQUARE = "0 g 2 2 16 16 re f"
FIELDS = {  # by the box on the page, in points from the lower left
    (20, 150, 120, 170): "/FT /Tx /T (text) /V (WWWWW) /DA (/Helv 14 Tf 0 g)",
    (20, 110, 120, 130): "/FT /Ch /Ff 131072 /T (list) /Opt [(one) (MMMMM)] /V (MMMMM) /DA (/Helv 14 Tf 0 g)",
    (20, 70, 40, 90): "/FT /Btn /T (box) /V /Yes /AS /Yes /AP << /N << /Yes 5 0 R >> >>",
    (20, 30, 40, 50): "/FT /Sig /T (seal) /AP << /N 5 0 R >>",
}


def form(fields: dict[tuple[int, ...], str]) -> bytes:
    """A page of 200 x 200 points with form fields."""
    numbers = [f"{number} 0 R" for number in range(6, 6 + len(fields))]
    resources = "/NeedAppearances true /DA (/Helv 0 Tf 0 g) /DR << /Font << /Helv 4 0 R >> >>"
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{' '.join(numbers)}] {resources} >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Annots [{' '.join(numbers)}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Type /XObject /Subtype /Form /BBox [0 0 20 20] /Length {len(SQUARE)} >>\nstream\n{SQUARE}\nendstream",
    ]
    for box, entries in fields.items():
        where = " ".join(map(str, box))
        objects.append(f"<< /Type /Annot /Subtype /Widget /F 4 /P 3 0 R /Rect [{where}] {entries} >>")
    return written(objects)


def written(objects: list[str]) -> bytes:
    data, places = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    end = f"trailer << /Root 1 0 R /Size {len(objects) + 1} >>\nstartxref\n{len(data)}\n%%EOF".encode()
    return data + head + table + end


def dark_inside(image: Image.Image, box: tuple[int, ...], height: int) -> int:
    """Dark pixels inside a box in points, of a page rendered at 72 dots an inch."""
    left, low, right, high = box
    return int((np.asarray(image.convert("L"))[height - high : height - low, left:right] < 128).sum())


def test_D30_what_form_fields_hold_is_drawn() -> None:
    (page,) = render_pages(PdfRef(name="x", path="x.pdf", data=form(FIELDS), dpi=72))
    for box in FIELDS:
        assert dark_inside(page.image, box, 200) > 20, box
    assert page.flags == (flags.FORM_DRAWN,)
    assert dark_inside(page.image, (130, 10, 190, 190), 200) == 0


def test_D30_pages_without_fields_carry_no_flag() -> None:
    (page,) = render_pages(PdfRef(name="x", path="x.pdf", data=form({}), dpi=72))
    (plain,) = render_pages(PdfRef(name="x", path="x.pdf", data=raw_pdf("/MediaBox [0 0 200 200]"), dpi=72))
    assert page.flags == plain.flags == ()


def test_D30_a_run_shows_the_form_and_says_so(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "data" / "documents").mkdir(parents=True)
    (tmp_path / "data" / "documents" / "form.pdf").write_bytes(form(FIELDS))
    row = {"question": "?", "answer": "1", "answer_format": "Int", "evidence_pages": "[1]", "evidence_sources": "[]"}
    (tmp_path / "data" / "samples.json").write_text(json.dumps([{**row, "doc_id": "form.pdf"}]))
    for _ in range(2):  # the second run finds the page in the cache
        done = run("mmlongbench-doc", stub, tmp_path, data_dir=str(tmp_path / "data"), resume=False)
        (record,) = done.folder.records("mmlongbench-doc")
        assert [medium.flags for medium in record.media] == [(flags.FORM_DRAWN,)]
    assert any(
        "page rendered with its form fields" in str(warning)
        for warning in run_warnings(done.folder, done.folder.results())
    )
    blind = run("mmlongbench-doc", stub, tmp_path, data_dir=str(tmp_path / "data"), blind=True)
    (record,) = blind.folder.records("mmlongbench-doc")
    assert record.flags == ()
    first, second, _ = (asked.pictures for asked in stub.asked)
    assert first == second


@pytest.mark.shared
@pytest.mark.parametrize("name", ["form_acrobatReader.pdf", "form_evince.pdf"])
def test_D30_the_forms_of_the_field_show_what_was_typed(shared: Path, name: str) -> None:
    root = str(shared / "field" / "pdf_forms" / "documents")
    (page,) = render_pages(PdfRef(name=name, path=name, root=root, dpi=72))
    assert dark_inside(page.image, (91, 756, 178, 772), 842) > 20


# -- P30: what libraries say ------------------------------------------------------------------------------------


def many_samples(data: bytes) -> bytes:
    """A TIFF that claims 65,535 samples a pixel."""
    order = "<" if data[:2] == b"II" else ">"
    place = struct.unpack_from(f"{order}I", data, 4)[0]
    for number in range(struct.unpack_from(f"{order}H", data, place)[0]):
        entry = place + 2 + 12 * number
        if struct.unpack_from(f"{order}H", data, entry)[0] == 277:
            return data[: entry + 8] + struct.pack(f"{order}H", 65_535) + data[entry + 10 :]
    raise AssertionError("no SamplesPerPixel")


def speaks(job: str) -> str | None:
    """A job whose library writes to both streams."""
    os.write(2, f"libtiff: {job}\n".encode())
    os.write(1, b"decord: odd\n")
    if job == "fails":
        raise MediaError("media.corrupt", "x cannot be decoded", why="it is broken")
    return library_note()


def test_P30_a_worker_keeps_what_libraries_write_for_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    pool: MediaPool[str, str | None] = MediaPool(speaks, workers=1, timeout=60)
    try:
        assert pool.submit("a").result() == "library: libtiff: a; decord: odd"
        with pytest.raises(MediaError) as failure:
            pool.submit("fails").result()
        assert failure.value.why == "it is broken; library: libtiff: fails; decord: odd"
        assert pool.submit("b").result() == "library: libtiff: b; decord: odd"
    finally:
        pool.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("workers", [0, 1])
def test_P30_a_run_names_the_picture_and_its_terminal_stays_quiet(
    stub: Stub, tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    (tmp_path / "x.tif").write_bytes(many_samples(encoded(Image.new("RGB", (9, 9)), "TIFF")))
    table = tmp_path / "t.jsonl"
    table.write_text(json.dumps({"id": "x", "image": "x.tif", "question": "?", "answer": "A"}))
    done = evaluate(
        "endpoint", [f"file:{table}"], base_url=stub.url, num_workers=workers, output_dir=str(tmp_path / "results")
    )
    (record,) = done.folder.records(f"file:{table}")
    assert record.reason == "media_corrupt"
    assert "a damaged TIFF" in str(record.message)
    assert "samples per pixel" in str(record.message)
    assert capfd.readouterr() == ("", "")
