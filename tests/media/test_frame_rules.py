"""The published samplers, index by index, and the flags that change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import ConfigError
from kvl_eval.media.frame_rules import RULES, FrameSampling, frame_indices, with_flags
from kvl_eval.types import VideoRef

GOLDEN = Path(__file__).resolve().parents[1] / "data"
PROTOCOLS = {
    "nframe": "vlmevalkit",
    "fps": "vlmevalkit",
    "duration_stride": "longvideobench",
    "nframe/uniform": "linspace",
    "fps/uniform": "vlmevalkit",
    "nframe/uniform_tail": "uniform_tail",
    "fps/uniform_tail": "uniform_tail",
    "nframe/chunk_center": "chunk_center",
}
VECTORS = {"videomme": 181, "longvideobench": 82, "egoschema": 24, "vsi_bench": 58}


def indices(rule: str, *, total: int, video_fps: float, **options: Any) -> list[int]:
    """Of the frames that a rule shows."""
    return frame_indices(FrameSampling(rule=rule, **options), total, video_fps)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", VECTORS)
def test_indices_are_those_of_the_published_loaders(task: str) -> None:
    rows = [json.loads(line) for line in (GOLDEN / task / "frame_indices.jsonl").read_text().splitlines()]
    assert len(rows) == VECTORS[task]
    for row in rows:
        given_ = row["inputs"]
        found = indices(
            PROTOCOLS.get(row["protocol"], row["protocol"]),
            total=given_.get("total_frames", 0),
            video_fps=given_["video_fps"],
            n=given_.get("nframe") or given_.get("max_frames") or given_.get("max_num_frames"),
            fps=given_.get("target_fps") or given_.get("fps_cap") or given_.get("fps"),
            duration=given_.get("duration"),
            force_last=given_.get("force_last", False),
        )
        assert found == row["expected"]["indices"], row["id"]
        if row["source"] == "official":
            seconds = [index / given_["video_fps"] for index in found]
            assert seconds == row["expected"]["timestamps"], row["id"]


@given(
    rule=st.sampled_from(RULES),
    total=st.integers(1, 10**6),
    video_fps=st.floats(0.5, 240),
    n=st.integers(1, 300),
)
def test_every_rule_rises_within_the_video(rule: str, total: int, video_fps: float, n: int) -> None:
    found = indices(rule, total=total, video_fps=video_fps, n=n)
    assert found == sorted(found)
    assert len(found) <= n + (rule == "uniform_tail")
    assert all(0 <= index < total for index in found)


def test_a_clip_of_one_frame_is_repeated_as_the_loaders_repeat_it() -> None:
    assert indices("vlmevalkit", total=1, video_fps=25, n=4) == [0, 0, 0, 0]
    assert indices("linspace", total=1, video_fps=25, n=3) == [0, 0, 0]
    assert indices("chunk_center", total=1, video_fps=25, n=3) == [0, 0, 0]
    assert indices("uniform_tail", total=9, video_fps=25, n=1) == [0, 8]
    assert indices("uniform_capped", total=1, video_fps=25, n=3) == [0]


def test_64_frames_are_the_default() -> None:
    assert len(indices("vlmevalkit", total=1000, video_fps=25)) == 64


def test_a_rate_has_no_limit_unless_one_is_given() -> None:
    assert len(indices("vlmevalkit", total=90_000, video_fps=25, fps=1)) == 3600
    capped = indices("vlmevalkit", total=90_000, video_fps=25, fps=1, n=100)
    assert capped == list(range(0, 90_000, 900))


@pytest.mark.parametrize(
    ("rule", "options"),
    [("fancy", {}), ("linspace", {"n": 0}), ("vlmevalkit", {"fps": 0.0}), ("vlmevalkit", {"fps": float("nan")})],
)
def test_what_cannot_be_is_a_configuration_error(rule: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        FrameSampling(rule=rule, **options)  # type: ignore[arg-type]


def test_flags_change_the_count_or_the_rule() -> None:
    ref = VideoRef(name="v", path="v.mp4", rule="longvideobench", frames=64)
    assert with_flags(ref) == ref
    changed = with_flags(ref, frames=8)
    assert (changed.rule, changed.frames, changed.fps) == ("longvideobench", 8, None)
    changed = with_flags(ref, fps=0.5)
    assert (changed.rule, changed.frames, changed.fps) == ("vlmevalkit", None, 0.5)
    assert with_flags(ref, frames=32, fps=2).frames == 32
