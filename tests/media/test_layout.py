"""Messages with videos and documents as texts and places, and the pictures that go there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media.cache import MediaCache
from kvl_eval.media.documents import render_pages
from kvl_eval.media.fit import fit_limit
from kvl_eval.media.images import ImagePrep, PreparedImage, prepare_image
from kvl_eval.media.layout import LayoutJob, MediaPrep, PictureJob, PicturePlace, lay_out, prepare_media, run_media_job
from kvl_eval.media.pool import MediaPool
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.model.kimi_vl.image_processor import image_size, preprocess_image
from kvl_eval.types import ImageRef, Message, PdfRef, SubtitleRef, VideoRef
from tests.clips import sample_frames, write_clip, write_pdf

SMALL = PreprocessorConfig(in_token_limit=256)
PREP = MediaPrep(images=ImagePrep(config=SMALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media")
    write_clip(path / "v.mp4", size=(352, 240))
    write_pdf(path / "d.pdf", 5)
    lines = [{"timestamp": [0.6, 1.4], "text": "a line"}, {"timestamp": [1.9, 2.3], "text": "another"}]
    (path / "v.json").write_text(json.dumps(lines))
    return path


@pytest.fixture(scope="module")
def video(folder: Path) -> VideoRef:
    return VideoRef(name="video v", path="v.mp4", root=str(folder), frames=5)


@pytest.fixture(scope="module")
def document(folder: Path) -> PdfRef:
    return PdfRef(name="document d", path="d.pdf", root=str(folder), max_pages=3)


def picture() -> ImageRef:
    buffer = BytesIO()
    Image.new("RGB", (300, 200), (200, 30, 30)).save(buffer, "PNG")
    return ImageRef(name="picture", data=buffer.getvalue())


def same(one: PreparedImage, other: PreparedImage) -> bool:
    return one.info == other.info and one.grid == other.grid and np.array_equal(one.patches, other.patches)


# Places


def test_videos_documents_and_pictures_become_places_in_reading_order(video: VideoRef, document: PdfRef) -> None:
    layout = lay_out([Message.system("s"), Message.user(picture(), "a", video, "b", document, "c")], PREP)
    (system, user) = layout.turns
    assert system == ("system", ("s",))
    frames = tuple(PicturePlace(1, position, (352, 240)) for position in range(5))
    pages = tuple(PicturePlace(2, position, (1224, 1584)) for position in range(3))
    assert user == ("user", (PicturePlace(0, 0, (300, 200)), "a", *frames, "b", *pages, "c"))
    assert layout.places == (PicturePlace(0, 0, (300, 200)), *frames, *pages)
    assert [type(ref) for ref in layout.refs] == [ImageRef, VideoRef, PdfRef]


def test_a_video_named_twice_is_one_reference(video: VideoRef) -> None:
    layout = lay_out([Message.user(video, "a", video)], PREP)
    assert len(layout.refs) == 1
    assert len(layout.places) == 10


def test_subtitles_stand_among_the_frames(folder: Path, video: VideoRef) -> None:
    spoken = SubtitleRef(video=video.name, rule="interleave", path="v.json", root=str(folder), duration=2.4)
    told = replace(video, frames=10, subtitles=spoken)
    ((_, parts),) = lay_out([Message.user(told, "q")], PREP).turns
    texts = [(number, part) for number, part in enumerate(parts) if isinstance(part, str)]
    assert [text for _, text in texts] == ["a line\n", "another\n", "q"]
    assert [part.position for part in parts if isinstance(part, PicturePlace)] == list(range(10))


def test_flags_change_the_sampling(video: VideoRef) -> None:
    assert len(lay_out([Message.user(video)], replace(PREP, frames=8)).places) == 8
    at_rate = lay_out([Message.user(video)], replace(PREP, fps=5))
    assert len(at_rate.places) == 12
    assert len(prepare_media(at_rate.refs, replace(PREP, fps=5))[0]) == 12


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"fps": -1.0}, {"max_pixels": 100}, {"decoder": "opencv"}])
def test_flags_that_cannot_be_are_refused_before_anything_is_read(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(PREP, **wrong)  # type: ignore[arg-type]


# Pictures


def test_frames_are_what_the_processor_makes_of_whole_frames(video: VideoRef) -> None:
    (found,) = prepare_media([video], PREP)
    for one, frame in zip(found, sample_frames(video), strict=True):
        patches, grid = preprocess_image(frame.image, SMALL)
        assert one.grid == grid
        assert np.array_equal(one.patches, patches)
        assert (one.info.index, one.info.timestamp) == (frame.index, frame.timestamp)


def test_pages_are_what_the_processor_makes_of_whole_pages(document: PdfRef) -> None:
    (found,) = prepare_media([document], PREP)
    for one, page in zip(found, render_pages(document), strict=True):
        patches, grid = preprocess_image(page.image, SMALL)
        assert one.grid == grid
        assert np.array_equal(one.patches, patches)


def test_what_the_record_says(folder: Path, video: VideoRef, document: PdfRef) -> None:
    frames, pages = prepare_media([video, document], PREP)
    frame, page = frames[1].info, pages[0].info
    assert frame.sha256 == hashlib.sha256((folder / "v.mp4").read_bytes()).hexdigest()
    assert (frame.kind, frame.w, frame.h, frame.index, frame.timestamp) == ("frame", 352, 240, 14, 0.56)
    assert frame.decoder == f"pyav {av.__version__}"
    assert (frame.note, frame.limit) == (None, None)
    assert frame.resized_to == image_size(352, 240, SMALL).resized
    assert frame.tokens == len(frames[1].patches) // 4
    assert (page.kind, page.w, page.h, page.index) == ("page", 1224, 1584, 0)
    assert [one.info.note for one in pages] == ["first 3 of 5 pages", None, None]
    assert page.decoder is not None
    assert page.decoder.startswith("pdfium ")


def test_tokens_are_those_the_layout_announced(video: VideoRef, document: PdfRef) -> None:
    layout = lay_out([Message.user(video, document, picture())], PREP)
    prepared = prepare_media(layout.refs, PREP)
    total = sum(prepared[place.ref][place.position].info.tokens for place in layout.places)
    assert fit_limit(layout.sizes, 10, 20, 30 + total, SMALL) == 256
    assert fit_limit(layout.sizes, 10, 20, 29 + total, SMALL) is None


def test_a_lowered_limit_holds_for_every_picture_and_is_recorded(video: VideoRef, document: PdfRef) -> None:
    prep = MediaPrep(images=ImagePrep(config=PreprocessorConfig()))
    refs = [video, document, picture()]
    plain, lowered = prepare_media(refs, prep), prepare_media(refs, prep, limit=256)
    assert {one.info.limit for group in plain for one in group} == {None}
    assert {one.info.limit for group in lowered for one in group} == {256}
    assert [len(group) for group in plain] == [len(group) for group in lowered] == [5, 3, 1]
    sighted = prepare_media(refs, PREP)
    for one, other in zip(sum(lowered, ()), sum(sighted, ()), strict=True):
        assert np.array_equal(one.patches, other.patches)


def test_a_picture_alone_is_prepared_as_ever() -> None:
    ((found,),) = prepare_media([picture()], PREP)
    assert same(found, prepare_image(picture(), PREP.images))


def test_max_pixels_hold_for_pictures_frames_and_pages(video: VideoRef, document: PdfRef) -> None:
    prep = replace(PREP, max_pixels=196 * 64)
    for group in prepare_media([video, document, picture()], prep):
        for one in group:
            assert one.info.resized_to[0] * one.info.resized_to[1] <= 196 * 80
            assert one.info.limit is None


def test_blind_keeps_sizes_and_times_and_shows_nothing(video: VideoRef, document: PdfRef) -> None:
    refs = [video, document]
    sighted = sum(prepare_media(refs, PREP), ())
    blind = sum(prepare_media(refs, replace(PREP, images=replace(PREP.images, blind=True))), ())
    for one, other in zip(sighted, blind, strict=True):
        assert one.grid == other.grid
        assert replace(one.info, note=None) == replace(other.info, note=None)
        assert other.info.note is not None
        assert "blind" in other.info.note
        assert set(np.unique(other.patches)) <= {0, 128}
        assert (other.patches[0] == 128).all()


def test_repeated_frames_are_prepared_once(folder: Path) -> None:
    write_clip(folder / "one.mp4", 1)
    (found,) = prepare_media([VideoRef(name="v", path="one.mp4", root=str(folder), frames=4)], PREP)
    assert len(found) == 4
    assert len({id(one.patches) for one in found}) == 1


def test_notes_of_the_file_stand_with_its_first_picture(folder: Path) -> None:
    data = write_clip(folder / "whole.mp4", muxer={"movflags": "faststart"}).read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (found,) = prepare_media([VideoRef(name="v", path="cut.mp4", root=str(folder), frames=3)], PREP)
    notes = [one.info.note for one in found]
    assert notes[0] is not None
    assert notes[0].startswith("the header lists 60 frames")
    assert notes[1] is None


# The cache


def test_a_second_run_decodes_nothing(
    tmp_path: Path, video: VideoRef, document: PdfRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    prep = replace(PREP, cache=MediaCache(tmp_path))
    plain = prepare_media([video, document], PREP)
    first = prepare_media([video, document], prep)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("kvl_eval.media.video.decode", refuse)
    monkeypatch.setattr("kvl_eval.media.documents._rendered", refuse)
    second = prepare_media([video, document], prep)
    blind = prepare_media([video, document], replace(prep, images=replace(prep.images, blind=True)))
    for groups in (first, second):
        assert all(same(one, other) for one, other in zip(sum(plain, ()), sum(groups, ()), strict=True))
    assert all((one.patches[0] == 128).all() for group in blind for one in group)
    with pytest.raises(AssertionError, match="decoded again"):
        prepare_media([replace(video, frames=6)], prep)


def test_a_changed_file_under_the_same_name_is_decoded_anew(tmp_path: Path) -> None:
    prep = replace(PREP, cache=MediaCache(tmp_path / "cache"))
    ref = VideoRef(name="v", path="v.mp4", root=str(tmp_path), frames=2)
    write_clip(tmp_path / "v.mp4", 10)
    ((_, before),) = prepare_media([ref], prep)
    write_clip(tmp_path / "v.mp4", 20)
    ((_, after),) = prepare_media([ref], prep)
    assert (before.info.index, after.info.index) == (9, 19)
    assert not np.array_equal(before.patches, after.patches)


# In worker processes


def test_both_steps_run_in_worker_processes(video: VideoRef, document: PdfRef, tmp_path: Path) -> None:
    prep = replace(PREP, cache=MediaCache(tmp_path))
    pool: MediaPool = MediaPool(partial(run_media_job, prep=prep), workers=1, timeout=100)
    try:
        layout = pool.submit(LayoutJob((Message.user(video, document, "q"),))).result()
        assert layout == lay_out([Message.user(video, document, "q")], prep)
        found = pool.submit(PictureJob(layout.refs, 256)).result()
        assert [len(group) for group in found] == [5, 3]
        missing = replace(video, path="no.mp4")
        with pytest.raises(MediaError) as caught:
            pool.submit(PictureJob((missing,))).result()
        assert caught.value.reason == "media_missing"
    finally:
        pool.close()


# At scale

MEASURE = """
import json, resource, sys
from kvl_eval.types import Message, VideoRef
from kvl_eval.media.images import ImagePrep
from kvl_eval.media.fit import fit_limit
from kvl_eval.media.layout import MediaPrep, lay_out, prepare_media
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
import av, numpy, PIL.Image
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
prep = MediaPrep(images=ImagePrep(config=PreprocessorConfig()), decoder=sys.argv[3], time_limit=600)
ref = VideoRef(name="hour", path=sys.argv[2], root=sys.argv[1], rule="vlmevalkit", frames=int(sys.argv[4]))
idle = peak()
layout = lay_out([Message.user(ref)], prep)
limit = fit_limit(layout.sizes, 500, 512, 131072, prep.config)
(found,) = prepare_media(layout.refs, prep, limit=limit)
print(json.dumps({"grown": peak() - idle, "indices": [one.info.index for one in found], "limit": limit,
    "times": [one.info.timestamp for one in found], "size": [found[0].info.w, found[0].info.h]}))
"""


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One hour of 1920 x 1080 at 25 frames a second: an encoded minute, remuxed sixty times."""
    folder = tmp_path_factory.mktemp("hour")
    minute = folder / "minute.mp4"
    options = {"preset": "ultrafast", "crf": "35", "threads": "1"}
    write_clip(minute, 25 * 60, size=(1920, 1080), gop=50, options=options)
    with av.open(str(minute)) as source:
        packets = [one for one in source.demux(video=0) if one.size]
        stream = source.streams.video[0]
        with av.open(str(folder / "hour.mp4"), "w") as target:
            copied = target.add_stream_from_template(stream)
            step = round(60 / stream.time_base)
            times = [(one.pts, one.dts) for one in packets]
            for turn in range(60):
                for packet, (shown, decoded) in zip(packets, times, strict=True):
                    packet.stream = copied
                    packet.time_base = stream.time_base
                    packet.pts, packet.dts = shown + turn * step, decoded + turn * step
                    target.mux(packet)
    minute.unlink()
    return folder / "hour.mp4"


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "decoder"), [(256, "auto")])
def test_an_hour_of_video_in_a_gigabyte(hour: Path, frames: int, decoder: str) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(hour.parent), hour.name, decoder, str(frames)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = [int(90_000 / (frames + 1) * number) for number in range(1, frames + 1)]
    assert found["indices"] == expected
    assert found["times"] == pytest.approx([index / 25 for index in expected])
    assert found["size"] == [1920, 1080]
    assert found["grown"] <= 2**30
