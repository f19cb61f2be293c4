"""Spoken lines of a video, chosen by the frames that were sampled from it.

A prompt is made before its video is opened, so it holds references (`SubtitleRef`). Once the frames are chosen,
`spelled_out` turns the message into texts and frames. Everything but reading the file is pure.

Sources: open-compass/VLMEvalKit vlmeval/dataset/{videomme,longvideobench}.py @ e8e78f0; EvolvingLMMs-Lab/lmms-eval
lmms_eval/tasks/{videomme,longvideobench}/utils.py @ 75571cf; longvideobench/LongVideoBench loader @ fc3c553.
"""

from __future__ import annotations

import json
import re
import reprlib
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kvl_eval.errors import MediaError
from kvl_eval.types import ImageRef, MediaRef, Part, SubtitleRef, VideoRef

_FONT = re.compile(r'<font color="white" size=".72c">(.*?)</font>')
_FORMS = (("WEBVTT", "vtt"), ("[Script Info]", "ass"), ("[V4", "ass"))  # what begins so
_CLOCK = re.compile(r"(\d+):(\d+):(\d+),(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What is known of a video once its frames are chosen.

    Attributes:
        fps:     average frames per second, as the file says.
        total:   frames in the file.
        indices: the frames chosen, in the order they are shown.
    """

    fps: float
    total: int
    indices: tuple[int, ...]

    @property
    def times(self) -> list[float]:
        """Seconds of each frame as the published loaders reckon them: index / fps, whatever the frame rate does."""
        return [index / self.fps for index in self.indices]


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """The frame at `position` in `Clip.indices` of the video called `video`."""

    video: str
    position: int


def spelled_out(parts: Sequence[Part], clips: Mapping[str, Clip]) -> list[str | MediaRef | ShownFrame]:
    """A message's parts with every video as its frames, and every subtitle reference as its text.

    Raises: MediaError `media.missing`, `media.corrupt`, `media.path_outside` for unreadable subtitles.
    """
    shown: list[str | MediaRef | ShownFrame] = []
    for part in parts:
        if isinstance(part, SubtitleRef):
            shown.append(spoken(part, clips[part.video]))
        elif isinstance(part, VideoRef):
            shown += [
                one if isinstance(one, str) else ShownFrame(part.name, one) for one in woven(part, clips[part.name])
            ]
        else:
            shown.append(part)
    return shown


def woven(video: VideoRef, clip: Clip) -> list[int | str]:
    """Positions of a video's frames, with lines between them where its subtitles' rule wants that.

    Raises: MediaError, for unreadable subtitles.
    """
    ref = video.subtitles
    positions: list[int | str] = list(range(len(clip.indices)))
    if ref is None or not ref.rule.startswith("interleave"):
        return positions
    text = read_subtitles(ref)
    if text is None:
        return positions
    lines = read_json_lines(text, ref.video)
    duration = ref.duration if ref.duration is not None else clip.total / clip.fps
    try:
        if ref.rule == "interleave":
            mixed = interleave(lines, clip.times, ref.offset, duration)
            return [one if isinstance(one, int) else f"{one}\n" for one in mixed]
        times = even_times(duration, video.frames or len(clip.indices))[: len(clip.indices)]
        return _joined(interleave(lines, times, ref.offset, duration), len(clip.indices))
    except (ValueError, OverflowError) as error:
        raise MediaError("media.corrupt", f"cannot read the subtitles of {ref.video}", why=str(error)) from None


def spoken(ref: SubtitleRef, clip: Clip) -> str:
    """The lines of an SRT file that a rule chooses, as one text. Raises: MediaError."""
    text = read_subtitles(ref)
    if text is None:
        return ref.missing or ""
    try:
        if ref.rule == "lmms-eval":
            return lines_at_own_frames(text, clip.fps, clip.total, ref.frames or len(clip.indices))
        return lines_at_frames(text, clip.fps, clip.indices)
    except (ValueError, OverflowError) as error:
        raise MediaError("media.corrupt", f"cannot read the subtitles of {ref.video}", why=str(error)) from None


# Video-MME: lines spoken while a sampled frame is shown


def lines_at_frames(srt: str, fps: float, indices: Sequence[int]) -> str:
    """VLMEvalKit's choice: for each frame the first line spoken then, repeats kept, frames without a line left out.

    A line counts strictly between its start and end, in milliseconds; its own line breaks become blanks.
    """
    cues = _srt_cues(srt)
    return "\n".join(line for line in (_spoken_at(cues, _milliseconds(index, fps)) for index in indices) if line)


def lines_at_own_frames(srt: str, fps: float, total: int, frames: int) -> str:
    """lmms-eval's choice: every line that overlaps one of `frames` evenly spaced frames, each once.

    Faults kept: only the first white span of a line is taken, a line without one is lost, of two lines with the same
    times the later text stands in the earlier place, and the order is that of a set of small numbers.

    Raises: ValueError, where a block of the file does not begin with a number and a time.
    """
    cues = [(int(start * fps), int(end * fps), text) for (start, end), text in _blocks(srt).items()]
    sampled = linspace(total, frames)
    chosen = {number for frame in sampled for number, (start, end, _) in enumerate(cues) if start <= frame < end}
    spans = (_FONT.search(cues[number][2]) for number in chosen)
    return "\n".join(span[1] for span in spans if span is not None)


def linspace(total: int, count: int) -> list[int]:
    """`count` frame indices from first to last, cut to whole numbers, as numpy.linspace gives them."""
    if count < 2 or total < 1:
        return [0] * max(0, count)
    step = (total - 1) / (count - 1)
    return [*(int(number * step) for number in range(count - 1)), total - 1]


def _srt_cues(srt: str) -> list[tuple[int, int, str]]:
    """(start, end, text) of each line in milliseconds. Raises: ValueError."""
    import pysubs2

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pysubs2.SSAFile.from_string(_with_plain_breaks(srt), format_="srt")
    except pysubs2.exceptions.Pysubs2Error as error:
        raise ValueError(str(error)) from None
    return [(cue.start, cue.end, cue.text.replace("\\N", " ")) for cue in found]


def _with_plain_breaks(text: str) -> str:
    """As a file opened as text reads: every kind of line break is one character."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _spoken_at(cues: Sequence[tuple[int, int, str]], time: int) -> str:
    return next((text if text.strip() else "" for start, end, text in cues if start < time < end), "")


def _milliseconds(index: int, fps: float) -> int:
    return round(index * (1000 / fps))


def _blocks(srt: str) -> dict[tuple[float, float], str]:
    """{(start, end) in seconds: text} of blocks between blank lines, whose second line is the time."""
    blocks: dict[tuple[float, float], str] = {}
    for block in _with_plain_breaks(srt).split("\n\n"):
        lines = block.split("\n")
        if block.strip() and len(lines) >= 3:
            start, end = (_seconds(text) for text in lines[1].split(" --> ")[:2])
            blocks[start, end] = " ".join(lines[2:])
    return blocks


def _seconds(text: str) -> float:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a time: {text[:40]!r}")
    hours, minutes, seconds, thousandths = map(int, match.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


# LongVideoBench: lines among the frames


def interleave(
    lines: Sequence[Mapping[str, object]], times: Sequence[float], offset: float, duration: float
) -> list[int | str]:
    """Frames' positions and lines in the order they are shown, by the data set's own loader.

    Frames up to the middle of a line come before it; a line is shown if some frame lies strictly inside it, after a
    line shorter than a second was widened to one. An end that is not a floating-point number becomes `duration`.

    Args:
        lines:    of a subtitle file, in file order.
        times:    seconds of the frames, in the order they are shown.
        offset:   seconds on the subtitles' clock when the video starts.
        duration: seconds of the video.
    Raises: ValueError, for a line in neither of the two forms.
    """
    mixed: list[int | str] = []
    ordered = sorted(times)
    shown = 0
    for start, end, text in _timed(lines, offset, duration):
        middle = (start + end) / 2
        while shown < len(times) and times[shown] <= middle:
            mixed.append(shown)
            shown += 1
        if end - start < 1:
            start, end = middle - 0.5, middle + 0.5
        nearest = bisect_right(ordered, start)
        if nearest < len(ordered) and ordered[nearest] < end:
            mixed.append(text)
    return [*mixed, *range(shown, len(times))]


def even_times(duration: float, frames: int) -> list[float]:
    """The times lmms-eval takes for `frames` frames, which are not those of the frames it decodes."""
    if duration > frames:
        return [duration / frames * number for number in range(frames)]
    return [float(number) for number in range(int(duration))]


def _timed(lines: Sequence[Mapping[str, object]], offset: float, duration: float) -> Iterator[tuple[float, float, str]]:
    for line in lines:
        try:
            if "timestamp" in line:
                start, end = _stamps(line["timestamp"], duration)
                text = line["text"]
            else:
                start, end, text = _of_clock(line["start"]), _of_clock(line["end"]), line["line"]
            if isinstance(text, list | dict):
                raise TypeError("no text")
            yield start - offset, end - offset, str(text)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError(f"a line in an unknown form: {reprlib.repr(line)[:80]}") from None


def _stamps(pair: object, duration: float) -> tuple[float, float]:
    """Start and end; an end that is not a floating-point number, or is an integer, is `duration`."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], int | float):
        raise TypeError("no pair of times")
    return pair[0], pair[1] if isinstance(pair[1], float) else duration


def _of_clock(text: object) -> float:
    if not isinstance(text, str):
        raise TypeError("no time")
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _joined(mixed: Sequence[int | str], frames: int) -> list[int | str]:
    """`mixed` with line breaks between its parts; frames that its times do not cover follow at the end."""
    parts: list[int | str] = []
    for one in [*mixed, *range(sum(isinstance(one, int) for one in mixed), frames)]:
        parts += ["\n", one] if parts else [one]
    return parts if not parts else [*parts, "\n"]


# Files


def read_subtitles(ref: SubtitleRef) -> str | None:
    """A subtitle file's text, as SRT where it is VTT, ASS or SSA; None for a video that has none and need not.

    Raises: MediaError, also for one that holds something and no line that is spoken.
    """
    text = _subtitle_text(ref)
    if text is None or ref.rule.startswith("interleave"):
        return text
    return as_srt(text, PurePosixPath(ref.member or ref.path or ref.video).name)


def as_srt(text: str, file: str) -> str:
    """The text of a subtitle file as SRT, whatever its name says; SRT stays as it is, to the character.

    Raises: MediaError `media.corrupt`, for a file without a line that is spoken, unless it is blank.
    """
    import pysubs2

    form = next((name for mark, name in _FORMS if text.lstrip().startswith(mark)), "srt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cues = pysubs2.SSAFile.from_string(_with_plain_breaks(text), format_=form)
    except (pysubs2.exceptions.Pysubs2Error, ValueError, OverflowError):
        cues = pysubs2.SSAFile()
    if not any(not cue.is_comment for cue in cues) and text.strip():
        raise MediaError(
            "media.corrupt",
            f"subtitles without a cue: {file} begins with {text.strip()[:40]!r}",
            fix="replace it with the real file",
        )
    return text if form == "srt" else str(cues.to_string("srt"))


def _subtitle_text(ref: SubtitleRef) -> str | None:
    from kvl_eval.media.images import read_bytes

    if ref.path is None and ref.archive is None:
        if ref.missing is None:
            raise MediaError("media.missing", f"{ref.video} has no subtitles")
        return None
    name = f"subtitles of {ref.video}"
    data = read_bytes(ImageRef(name=name, path=ref.path, archive=ref.archive, member=ref.member, root=ref.root))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError("media.corrupt", f"{name} are not UTF-8", why=str(error)) from None


def read_json_lines(text: str, video: str) -> list[Mapping[str, object]]:
    """The lines of a JSON subtitle file. Raises: MediaError `media.corrupt`."""
    try:
        lines = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MediaError("media.corrupt", f"subtitles of {video} are not JSON", why=str(error)[:200]) from None
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise MediaError(
            "media.corrupt", f"subtitles of {video} are not a list of lines", why="expected a list of objects"
        )
    return lines
