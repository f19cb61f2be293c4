"""What a change of files does to a sample's digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.run.data_digest import END, media_digest
from kvl_eval.types import PdfRef, SubtitleRef, VideoRef


@pytest.fixture
def video(tmp_path: Path) -> VideoRef:
    (tmp_path / "v.mp4").write_bytes(bytes(3 * END))
    (tmp_path / "v.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nfirst\n")
    spoken = SubtitleRef(video="v", rule="vlmevalkit", path="v.srt", root=str(tmp_path), missing="")
    return VideoRef(name="v", path="v.mp4", root=str(tmp_path), subtitles=spoken)


def test_changed_subtitles_change_a_video(tmp_path: Path, video: VideoRef) -> None:
    before = media_digest(video)
    (tmp_path / "v.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nsecond\n")
    assert media_digest(video) != before
    assert media_digest(replace(video, subtitles=None)) not in before.split()[1:]
    assert before.startswith(media_digest(replace(video, subtitles=None)))


def test_a_video_without_a_subtitle_file_is_the_video(video: VideoRef) -> None:
    none = SubtitleRef(video="v", rule="vlmevalkit", missing="")
    assert media_digest(replace(video, subtitles=none)) == media_digest(replace(video, subtitles=None))


def test_both_ends_of_a_video_count(tmp_path: Path, video: VideoRef) -> None:
    before = media_digest(video)
    (tmp_path / "v.mp4").write_bytes(bytes(3 * END - 1) + b"x")
    assert media_digest(video) != before
    (tmp_path / "v.mp4").unlink()
    assert media_digest(video).startswith("!")


def test_a_document_held_in_its_row_counts(tmp_path: Path) -> None:
    (tmp_path / "d.pdf").write_bytes(b"%PDF")
    in_file = PdfRef(name="d", path="d.pdf", root=str(tmp_path))
    in_row = [replace(in_file, path="nowhere.pdf", data=data) for data in (b"%PDF one", b"%PDF two")]
    assert len({media_digest(ref) for ref in (in_file, *in_row)}) == 3
    assert not any(media_digest(ref).startswith("!") for ref in (in_file, *in_row))
