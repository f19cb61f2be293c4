"""Which frames of a video are shown: the published samplers as pure functions, and what a run's flags do to them.

    rule            indices                                                              written by
    vlmevalkit      step = total / (n + 1), int(i * step) for i = 1..n                   VLMEvalKit, `nframe`
      with fps      int(i * video_fps / fps) for i below int(total / video_fps * fps)    VLMEvalKit, `fps`
    uniform_tail    linspace, or with fps the line above; the last frame besides,        VLMEvalKit, VSI-Bench
                    where it is not among them
    chunk_center    the middle of each of n equal chunks                                 VLMEvalKit, VSI-Bench
    linspace        n places from the first to the last frame, both included             lmms-eval
    uniform_capped  linspace over min(total, n) frames, with fps at most length * fps    lmms-eval
    longvideobench  valid = int(duration * video_fps), n = min(n, int(duration)),        LongVideoBench's loader
                    int(valid / n) * i; the tail may stay unseen

Repeats are kept, as the published loaders keep them: a clip of one frame under `vlmevalkit` shows it n times.
Sources: VLMEvalKit e8e78f05, lmms-eval 75571cfe, LongVideoBench fc3c5532.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from kvl_eval.errors import ConfigError
from kvl_eval.types import FrameRule, VideoRef

RULES = get_args(FrameRule)
DEFAULT_FRAMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSampling:
    """How many frames of a video are wanted, and by which rule.

    Attributes:
        rule:       one of `RULES`.
        n:          frames wanted, None: 64; with `fps` the most (then spread over the whole video), None: no limit.
        fps:        frames wanted of a second, for `vlmevalkit`, `uniform_tail` and `uniform_capped`.
        duration:   seconds as the data set states them, for `longvideobench`; None: total / video_fps.
        force_last: of `uniform_capped`: the last place shows the last frame.
    """

    rule: FrameRule
    n: int | None = None
    fps: float | None = None
    duration: float | None = None
    force_last: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for an unknown rule or counts that cannot be."""
        n, fps = self.n, self.fps
        if self.rule not in RULES:
            raise ConfigError(
                "config.frames", f"unknown frame sampling {self.rule!r}", fix=f"use one of {', '.join(RULES)}"
            )
        if (n is not None and n < 1) or (fps is not None and not fps > 0):
            raise ConfigError(
                "config.frames", f"cannot sample {n} frames at {fps} frames per second", fix="use at least 1"
            )


def frame_indices(sampling: FrameSampling, total: int, video_fps: float) -> list[int]:
    """Indices of the frames to show, in order, possibly repeated, possibly none, possibly beyond the last one.

    Args:
        total:     frames of the video.
        video_fps: its average frames per second, as its header says.
    """
    rule, n, fps, duration = sampling.rule, sampling.n, sampling.fps, sampling.duration
    count = DEFAULT_FRAMES if n is None else n
    if rule == "vlmevalkit":
        return _even_steps(total, count) if fps is None else _at_rate(total, video_fps, fps, n)
    if rule == "uniform_tail":
        return _with_last(total, _linspace(total, count) if fps is None else _at_rate(total, video_fps, fps, n))
    if rule == "chunk_center":
        return [min(int(total / count / 2 + round(total / count * i)), total - 1) for i in range(count)]
    if rule == "longvideobench":
        return _whole_steps(total / video_fps if duration is None else duration, video_fps, count)
    if rule == "uniform_capped":
        count = min(total, count)
        if fps is not None:
            count = max(1, min(count, int(total / video_fps * fps)))
    return _linspace(total, count, force_last=sampling.force_last)


def _even_steps(total: int, count: int) -> list[int]:
    step = total / (count + 1)
    return [int(i * step) for i in range(1, count + 1)]


def _at_rate(total: int, video_fps: float, fps: float, most: int | None) -> list[int]:
    count, step = int(total / video_fps * fps), video_fps / fps
    if most is not None and count > most:
        count, step = most, total / most
    return [int(i * step) for i in range(count)]


def _with_last(total: int, indices: list[int]) -> list[int]:
    return [*indices, total - 1] if indices and indices[-1] != total - 1 else indices


def _whole_steps(duration: float, video_fps: float, most: int) -> list[int]:
    valid, count = int(duration * video_fps), min(most, int(duration))
    return [int(valid / count) * i for i in range(count)] if count > 0 else []


def _linspace(total: int, count: int, *, force_last: bool = False) -> list[int]:
    import numpy as np

    indices: list[int] = np.linspace(0, total - 1, count, dtype=int).tolist()
    return [*indices[:-1], total - 1] if force_last else indices


def with_flags(ref: VideoRef, frames: int | None = None, fps: float | None = None) -> VideoRef:
    """The reference under `--frames N` and `--fps X`.

    `--frames` alone keeps the task's rule with N frames; `--fps` takes `vlmevalkit`'s rule for a rate (`uniform_tail`
    keeps its own), with N frames at most, or without a limit.
    """
    if fps is not None:
        rule: FrameRule = "uniform_tail" if ref.rule == "uniform_tail" else "vlmevalkit"
        return replace(ref, rule=rule, fps=fps, frames=frames)
    return ref if frames is None else replace(ref, frames=frames)
