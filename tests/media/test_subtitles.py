from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import MediaError
from kvl_eval.media.subtitles import (
    Clip,
    ShownFrame,
    even_times,
    interleave,
    lines_at_frames,
    lines_at_own_frames,
    linspace,
    spelled_out,
    spoken,
    woven,
)
from kvl_eval.types import SubtitleRef, VideoRef
from tests.golden import rows
from tests.refusals import refused

SRT = "1\n00:00:01,000 --> 00:00:03,000\nhello <i>there</i>\n\n2\n00:00:05,000 --> 00:00:06,000\ngood\nbye\n"
LINES = [{"timestamp": [0.5, 2.5], "text": "first"}, {"timestamp": [5.0, 7.0], "text": "second"}]
CLIP = Clip(fps=10.0, total=80, indices=(10, 20, 55))


def test_lines_of_sampled_frames(data: Path) -> None:
    for row in rows(data / "videomme" / "subtitles.jsonl"):
        given_, expected = row["inputs"], row["expected"]
        if row["source"] == "vlmevalkit":
            found = lines_at_frames(given_["srt"], given_["video_fps"], given_["frame_indices"])
            assert found == expected["subtitles"], row["id"]
        elif "error" in expected:
            with pytest.raises(ValueError):
                own_frames(given_)
        else:
            assert own_frames(given_) == expected["subtitles"], row["id"]


def own_frames(given_: dict[str, Any]) -> str:
    return lines_at_own_frames(given_["srt"], given_["video_fps"], given_["total_frames"], given_["frame_num"])


def test_lines_among_frames(data: Path) -> None:
    for row in rows(data / "longvideobench" / "interleave.jsonl"):
        given_, expected = row["inputs"], row["expected"]
        found = interleave(
            given_["subtitles"],
            given_["frame_timestamps"],
            given_["starting_timestamp_for_subtitles"],
            given_["duration"],
        )
        if row["source"] == "lmms-eval":
            assert "\n".join(part if isinstance(part, str) else "<image>" for part in found) == expected["text"], row[
                "id"
            ]
            continue
        end = "\n" if row["source"] == "vlmevalkit" else ""
        shown = [["F", one] if isinstance(one, int) else ["T", one + end] for one in found]
        assert shown == expected["sequence"], row["id"]


def test_times_that_lmms_eval_takes(data: Path) -> None:
    checked = 0
    for row in rows(data / "longvideobench" / "frame_indices.jsonl"):
        if "timestamps_text" in row["expected"]:
            checked += 1
            given_ = row["inputs"]
            times = even_times(given_["duration"], given_["max_num_frames"])
            assert times == row["expected"]["timestamps_text"], row["id"]
    assert checked


@given(total=st.integers(1, 10**6), count=st.integers(1, 300))
def test_linspace_is_numpys(total: int, count: int) -> None:
    import numpy as np

    assert linspace(total, count) == np.linspace(0, total - 1, count, dtype=int).tolist()


TIMES = st.lists(st.floats(0, 100), max_size=12).map(sorted)
SPANS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=12)


@given(times=TIMES, spans=SPANS)
def test_every_frame_stands_once_and_in_order(times: list[float], spans: list[tuple[float, float]]) -> None:
    lines = [{"timestamp": [start, start + length], "text": f"line {n}"} for n, (start, length) in enumerate(spans)]
    mixed = interleave(lines, times, 0.0, 100.0)
    assert [one for one in mixed if isinstance(one, int)] == list(range(len(times)))
    spoken_lines = [one for one in mixed if isinstance(one, str)]
    assert spoken_lines == [line["text"] for line in lines if line["text"] in spoken_lines]


@pytest.mark.parametrize("line", [{}, {"timestamp": [1.0]}, {"start": "x", "end": "y", "line": ""}, {"start": "1:2:3"}])
def test_a_line_in_no_known_form_is_an_error(line: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        interleave([line], [0.0], 0.0, 1.0)


def video(subtitles: SubtitleRef | None = None, **fields: Any) -> VideoRef:
    return VideoRef(name="v", path="v.mp4", subtitles=subtitles, **fields)


def ref(folder: Path, name: str, rule: str, **fields: Any) -> SubtitleRef:
    return SubtitleRef(video="v", rule=rule, path=name, root=str(folder), **fields)


def test_a_message_is_spelled_out_once_its_frames_are_known(tmp_path: Path) -> None:
    (tmp_path / "v.srt").write_text(SRT)
    parts = [video(), "Lines:\n", ref(tmp_path, "v.srt", "vlmevalkit"), "\nWhy?"]
    assert spelled_out(parts, {"v": CLIP}) == [
        *(ShownFrame("v", number) for number in range(3)),
        "Lines:\n",
        "hello {\\i1}there{\\i0}\ngood bye",
        "\nWhy?",
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("vlmevalkit", [0, 1, 2]),
        ("interleave", [0, "first\n", 1, 2, "second\n"]),
        ("interleave-lmms-eval", [0, "\n", 1, "\n", 2, "\n", "second", "\n"]),
    ],
)
def test_lines_stand_among_the_frames_where_the_rule_says_so(tmp_path: Path, rule: str, expected: list[Any]) -> None:
    (tmp_path / "v.json").write_text(json.dumps(LINES))
    lines = ref(tmp_path, "v.json", rule, duration=8.0)
    assert woven(video(lines, frames=3), CLIP) == expected


def test_the_clock_of_the_subtitles_may_start_later(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps(LINES))
    assert woven(video(ref(tmp_path, "v.json", "interleave", offset=4.0)), CLIP) == [0, 1, "second\n", 2]


def test_subtitles_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "subtitle.zip", "w") as archive:
        archive.writestr("subtitle/v.srt", SRT)
    lines = SubtitleRef(
        video="v", rule="vlmevalkit", archive="subtitle.zip", member="subtitle/v.srt", root=str(tmp_path)
    )
    assert spoken(lines, CLIP).endswith("good bye")


def test_a_video_without_subtitles() -> None:
    assert spoken(SubtitleRef(video="v", rule="lmms-eval", missing="No subtitles available"), CLIP) == (
        "No subtitles available"
    )
    with refused(MediaError, "media.missing", "subtitles") as caught:
        woven(video(SubtitleRef(video="v", rule="interleave")), CLIP)
    assert caught.value.reason == "media_missing"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"\xff\xfe\x00", "vlmevalkit"),
        (b"\n1\n00:00:01,000 --> 00:00:02,000\nx\n", "lmms-eval"),
        (b"not json", "interleave"),
        (b'{"a": 1}', "interleave"),
        (b'[{"timestamp": 5}]', "interleave-lmms-eval"),
        (b'[{"start": 5, "end": "00:00:06", "line": "x"}]', "interleave"),
        (b'[{"start": "00:00:05", "end": null, "line": "x"}]', "interleave"),
        (b'[{"start": "5", "end": "6", "line": "x"}]', "interleave"),
        (b'[{"start": "00:00:05", "end": "00:00:06", "line": ["x"]}]', "interleave"),
    ],
)
def test_a_broken_file_is_a_media_error(tmp_path: Path, content: bytes, rule: str) -> None:
    (tmp_path / "v").write_bytes(content)
    lines = ref(tmp_path, "v", rule)
    with pytest.raises(MediaError) as caught:
        spoken(lines, CLIP) if not rule.startswith("interleave") else woven(video(lines), CLIP)
    assert caught.value.reason == "media_corrupt"


@pytest.mark.parametrize("path", ["../v.srt", "/etc/hostname"])
def test_a_file_outside_the_data_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(MediaError) as caught:
        spoken(ref(tmp_path, path, "vlmevalkit"), CLIP)
    assert caught.value.reason == "media_path_outside"
