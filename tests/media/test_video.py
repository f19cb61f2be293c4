"""Frames of small encoded clips: exact ones, from either decoder, and what happens where a file is broken."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kvl_eval.errors import ConfigError, MediaError
from kvl_eval.media.video import Frame, chosen_frames, probe_video
from kvl_eval.types import VideoRef
from tests.clips import DECODERS, needs_decord, number_of, rotated, sample_frames, write_clip


def ref(path: Path, **options: object) -> VideoRef:
    return VideoRef(name=path.name, path=path.name, root=str(path.parent), **options)  # type: ignore[arg-type]


def frames(path: Path, decoder: str = "auto", **options: object) -> list[Frame]:
    return list(sample_frames(ref(path, **options), decoder=decoder))


def numbers(found: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in found]


def reason(path: Path, decoder: str = "auto") -> str:
    with pytest.raises(MediaError) as caught:
        frames(path, decoder)
    assert caught.value.message
    return caught.value.reason


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return write_clip(folder / "plain.mp4")


UNEVEN = list(itertools.accumulate([500] + [40] * 29 + [200] * 30))


@pytest.fixture(scope="module", params=["mp4", "mkv"])
def uneven(folder: Path, request: pytest.FixtureRequest) -> Path:
    return write_clip(folder / f"uneven.{request.param}", milliseconds=UNEVEN)


# Sound clips


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("gop", [1, 7, 250])
def test_every_frame_is_the_one_asked_for(tmp_path: Path, name: str, gop: int, decoder: str) -> None:
    path = write_clip(tmp_path / name, 40, gop=gop)
    for n in (40, 7):
        found = frames(path, decoder, frames=n)
        assert numbers(found) == [frame.index for frame in found] == np.linspace(0, 39, n, dtype=int).tolist()
        assert [frame.timestamp for frame in found] == pytest.approx([frame.index / 25 for frame in found])
        assert {frame.note for frame in found} == {None}


@needs_decord
def test_transport_streams_are_read_by_pyav_and_refused_to_decord(tmp_path: Path) -> None:
    """The first frames of some transport streams are left out by decord 0.6.0, which numbers the rest from 0."""
    path = write_clip(tmp_path / "a.ts", 40, gop=7)
    assert numbers(frames(path, frames=9)) == np.linspace(0, 39, 9, dtype=int).tolist()
    assert reason(path, "decord") == "media_corrupt"


@pytest.mark.parametrize(("codec", "name"), [("mpeg4", "a.avi"), ("mpeg4", "a.mp4"), ("libvpx-vp9", "a.webm")])
def test_other_codecs_and_containers(tmp_path: Path, codec: str, name: str) -> None:
    found = frames(write_clip(tmp_path / name, 30, codec=codec), frames=10)
    assert numbers(found) == [frame.index for frame in found] == np.linspace(0, 29, 10, dtype=int).tolist()


@pytest.mark.parametrize("decoder", DECODERS)
def test_variable_frame_rate_gives_exact_frames_and_true_times(uneven: Path, decoder: str) -> None:
    found = frames(uneven, decoder, rule="vlmevalkit", frames=13)
    assert numbers(found) == [frame.index for frame in found] == [int(60 / 14 * i) for i in range(1, 14)]
    expected = [(UNEVEN[frame.index] - 500) / 1000 for frame in found]
    assert [frame.timestamp for frame in found] == pytest.approx(expected, abs=0.002)


def test_times_of_chosen_frames_are_those_at_which_they_are_shown(uneven: Path) -> None:
    one = ref(uneven, frames=5)
    video = probe_video(one)
    choice = chosen_frames(one, video)
    assert choice.times[-1] == pytest.approx((UNEVEN[-1] - 500) / 1000, abs=0.002)


@needs_decord
@pytest.mark.parametrize("size", [(160, 96), (162, 90), (34, 200)])
def test_both_decoders_give_the_same_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "a.mp4", 30, size=size)
    ours, theirs = (frames(path, decoder, frames=9) for decoder in DECODERS)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.index, one.timestamp, one.size) == (other.index, pytest.approx(other.timestamp), other.size)
        assert np.array_equal(np.asarray(one.image), np.asarray(other.image))


@needs_decord
def test_ten_bit_video_differs_between_decoders_by_a_few_levels(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 12, pix_fmt="yuv420p10le")
    ours, theirs = (frames(path, decoder, frames=4) for decoder in DECODERS)
    for one, other in zip(ours, theirs, strict=True):
        assert number_of(one.image) == number_of(other.image) == one.index == other.index
        difference = np.abs(np.asarray(one.image).astype(int) - np.asarray(other.image).astype(int))
        assert difference.mean() < 5


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("degrees", "corner"), [(90, (95, 0)), (180, (159, 95)), (270, (0, 159))])
def test_rotation_flags_are_applied(clip: Path, degrees: int, corner: tuple[int, int], decoder: str) -> None:
    path = rotated(clip, degrees)
    (first, *_) = frames(path, decoder, frames=3)
    assert first.image.size == first.size == ((96, 160) if degrees != 180 else (160, 96))
    red, green, _ = first.image.getpixel(corner)  # type: ignore[misc]
    assert red > 150 > green


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_clip_of_one_frame(tmp_path: Path, decoder: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 1)
    assert [frame.index for frame in frames(path, decoder, frames=4)] == [0, 0, 0, 0]
    (shown,) = frames(path, decoder, rule="longvideobench", frames=4)
    assert (shown.index, shown.note) == (0, "longvideobench selects no frame; the first one is used")


def test_frames_are_shrunk_as_they_come_and_say_what_size_they_had(clip: Path) -> None:
    calls = []

    def half(width: int, height: int) -> tuple[int, int]:
        calls.append((width, height))
        return width // 2, height // 2

    (plain, *_), (small, *_) = (list(sample_frames(ref(clip), n=3, shrink=shrink)) for shrink in (None, half))
    assert (small.image.size, small.size, calls) == ((80, 48), (160, 96), [(160, 96)])
    assert small.image.tobytes() == plain.image.resize((80, 48), Image.Resampling.BICUBIC).tobytes()


def test_frames_are_streamed(clip: Path) -> None:
    stream = sample_frames(ref(clip), n=60)
    assert number_of(next(stream).image) == 0
    stream.close()  # type: ignore[attr-defined]


def test_nothing_stays_open(clip: Path) -> None:
    def open_files() -> int:
        found = 0
        for entry in os.listdir("/proc/self/fd"):
            link = f"/proc/self/fd/{entry}"
            found += os.path.islink(link) and os.readlink(link) == str(clip.resolve())
        return found

    for decoder in DECODERS:
        frames(clip, decoder, frames=5)
    stream = sample_frames(ref(clip), n=5, decoder="pyav")
    next(stream)
    assert open_files() == 1
    stream.close()  # type: ignore[attr-defined]
    assert open_files() == 0


def test_counts_rates_and_limits(clip: Path) -> None:
    assert len(list(sample_frames(ref(clip), n=7))) == 7
    assert [frame.index for frame in sample_frames(ref(clip), fps=5)] == list(range(0, 60, 5))
    assert [frame.index for frame in sample_frames(ref(clip), fps=5, max_frames=4)] == [0, 15, 30, 45]


def test_a_part_of_a_video(clip: Path) -> None:
    found = frames(clip, start=1.0, end=1.4, frames=3)
    assert numbers(found) == [frame.index for frame in found] == [25, 30, 35]
    assert [frame.index for frame in frames(clip, start=99.0, frames=2)] == [59, 59]


def test_a_duration_of_the_data_set_beyond_the_file_shows_the_last_frame(clip: Path) -> None:
    found = frames(clip, rule="longvideobench", duration=4.0, frames=4)
    assert numbers(found) == [0, 25, 50, 59]
    assert found[-1].note == "frame 75 is beyond the end; frame 59 is used"


# Broken clips


@pytest.fixture(scope="module")
def early(folder: Path) -> bytes:
    """A clip with its index in front: what a cut leaves can be read."""
    return write_clip(folder / "early.mp4", muxer={"movflags": "faststart"}).read_bytes()


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_a_truncated_file_gives_its_frames_and_says_so(tmp_path: Path, early: bytes, decoder: str) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(early[: len(early) * 2 // 3])
    video = probe_video(ref(path), decoder)
    assert 10 < video.frames < 60
    assert f"the header lists 60 frames, the file has {video.frames}" in video.notes
    found = frames(path, decoder, frames=8)
    assert numbers(found) == [round(frame.timestamp * 25) for frame in found]


def damaged(data: bytes, path: Path, groups: set[int]) -> Path:
    """The clip with some groups of 12 frames overwritten."""
    import av

    path.write_bytes(data)
    with av.open(str(path)) as container:
        packets = [(one.pos, one.size) for one in container.demux(video=0) if one.size]
    broken = bytearray(data)
    for number, (place, size) in enumerate(packets):
        if number // 12 in groups:
            broken[place : place + size] = b"\xff" * size
    path.write_bytes(broken)
    return path


def test_an_undecodable_tail_shows_the_last_sound_frame(tmp_path: Path, early: bytes) -> None:
    found = frames(damaged(early, tmp_path / "tail.mp4", {3, 4}), frames=60)
    assert [frame.index for frame in found[:34]] == list(range(34))
    assert numbers(found) == [frame.index for frame in found]
    last = found[-1].index
    assert 33 <= last < 36
    notes = [f"frame {number} cannot be decoded; frame {last} is used" for number in range(last + 1, 60)]
    assert [frame.note for frame in found[last:]] == [None, *notes]


def test_the_last_sound_frame_is_found_although_it_was_not_sampled(tmp_path: Path, early: bytes) -> None:
    found = frames(damaged(early, tmp_path / "tail.mp4", {3, 4}), frames=3, start=0.2, end=2.3)
    assert numbers(found) == [frame.index for frame in found]
    assert [frame.index for frame in found[:2]] == [5, 31]
    assert 33 <= found[2].index < 36


def test_a_damaged_middle_is_bridged_by_the_nearest_frames(tmp_path: Path, early: bytes) -> None:
    found = frames(damaged(early, tmp_path / "middle.mp4", {2}), frames=60)
    assert numbers(found) == [frame.index for frame in found]
    shown = [frame.index for frame in found]
    assert (shown[:22], shown[-24:]) == (list(range(22)), list(range(36, 60)))
    assert all((frame.note is None) == (frame.index == number) for number, frame in enumerate(found))
    assert abs(shown[26] - 26) < 6
    assert abs(shown[33] - 33) < 6


def test_a_clip_without_a_sound_frame_is_corrupt(tmp_path: Path, early: bytes) -> None:
    assert reason(damaged(early, tmp_path / "all.mp4", {0, 1, 2, 3, 4})) == "media_corrupt"


def test_a_header_with_a_wrong_duration_changes_nothing(tmp_path: Path, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        place = data.index(box) + offset
        data[place : place + 4] = (10**7).to_bytes(4)
    path = tmp_path / "long.mp4"
    path.write_bytes(data)
    for decoder in DECODERS:
        assert numbers(frames(path, decoder, rule="vlmevalkit", frames=4)) == [12, 24, 36, 48]


def test_a_matroska_header_with_a_wrong_duration_is_noted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mkv")
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3
    data[place : place + 8] = struct.pack(">d", 99_000.0)
    path.write_bytes(data)
    assert probe_video(ref(path)).notes == ("the header says 99.0 s, the frames last 2.4 s",)
    assert numbers(frames(path, rule="vlmevalkit", frames=4)) == [12, 24, 36, 48]


def test_broken_files_are_corrupt_by_either_decoder(tmp_path: Path, clip: Path) -> None:
    data = clip.read_bytes()
    sound = tmp_path / "sound.mp4"
    _write_sound(sound)
    cases = {
        "empty.mp4": b"",
        "header.mp4": data[:32],
        "no-index.mp4": data[: len(data) // 2],
        "text.mp4": b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n",
        "html.mp4": b"<html></html>",
        "ones.mp4": data[:40] + b"\xff" * 5000,
        "sound.mp4": sound.read_bytes(),
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        for decoder in ("auto", *DECODERS):
            assert reason(path, decoder) == "media_corrupt", (name, decoder)


def _write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12), cut=st.booleans())
def test_damage_anywhere_gives_all_frames_or_a_media_error(
    tmp_path: Path, early: bytes, places: list[float], cut: bool
) -> None:
    data = bytearray(early)
    for place in places:
        data[int(place * len(data))] ^= 0x5A
    path = tmp_path / f"{hash((tuple(places), cut))}.mp4"
    path.write_bytes(data[: int(places[0] * len(data))] if cut else data)
    try:
        found = frames(path, "pyav", frames=6)
    except MediaError as error:
        assert error.reason in {"media_corrupt", "media_too_large"}
    else:
        assert len(found) == 6
        shown = [frame.index for frame in found]
        assert shown == sorted(shown)


def test_missing_and_outside(tmp_path: Path, clip: Path) -> None:
    assert reason(tmp_path / "no.mp4") == "media_missing"
    (tmp_path / "folder.mp4").mkdir()
    assert reason(tmp_path / "folder.mp4") == "media_missing"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason(tmp_path / "pipe.mp4") == "media_missing"
    for path in ("../x.mp4", "/etc/passwd", "http://127.0.0.1:9/x.mp4"):
        with pytest.raises(MediaError) as caught:
            list(sample_frames(VideoRef(name="x", path=path, root=str(tmp_path))))
        assert caught.value.reason == "media_path_outside"


def test_a_time_limit_ends_a_file(clip: Path) -> None:
    with pytest.raises(MediaError) as caught:
        list(sample_frames(ref(clip), time_limit=0.0))
    assert caught.value.reason == "timeout"


@needs_decord
def test_what_pyav_cannot_open_goes_to_decord_and_the_record_says_so(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    def refuse(*args: object, **kwargs: object) -> None:
        raise av.error.InvalidDataError(1, "no such codec")

    monkeypatch.setattr(av, "open", refuse)
    os.utime(clip)  # a new version of the file: nothing known of it is used
    video = probe_video(ref(clip))
    assert video.decoder.startswith("decord ")
    assert any(note.startswith("decord, because PyAV failed: ") for note in video.notes)
    assert numbers(frames(clip, frames=3)) == [0, 29, 59]
    assert reason(clip, "pyav") == "media_corrupt"
    os.utime(clip, (0, 0))


def test_an_unknown_decoder_is_a_configuration_error(clip: Path) -> None:
    with pytest.raises(ConfigError):
        frames(clip, "opencv")
