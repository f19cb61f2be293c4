"""What is fuzzed: four readers of foreign bytes. Each takes any bytes and raises nothing that it does not promise.

A target tells how often its reader accepted what it was given: a target whose seeds are all refused tests nothing.
"""

from __future__ import annotations

import atexit
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from torch import nn

from kvl_eval.errors import CheckpointError, DataError, InputError, MediaError, UsageError
from kvl_eval.media.subtitles import Clip, spelled_out
from kvl_eval.model.weights import check_tensors
from kvl_eval.store.journal import Disk, Journal, LineReader, encode_line, read_lines
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.manifest_file import StoredManifest
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.mathvision import TASK
from kvl_eval.types import MISSING, SubtitleRef, VideoRef

Target = Callable[[bytes], int]

MANIFEST = Manifest(config_fingerprint="f")
CLIP = Clip(fps=2.5, total=40, indices=(0, 10, 39))
VERDICTS = ("correct", "partial", "wrong", "no_answer", "not_scored")
SEPARATOR = "\x1f"  # between the fields of a seed of `mathvision`


@cache
def place() -> Path:
    """A folder for the files that the readers open, gone with the process."""
    folder = Path(tempfile.mkdtemp(prefix="kvl-eval-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def records(data: bytes) -> int:
    """Records of a run, as they are and with checksums that fit: every line is read or named as damaged."""
    accepted = 0
    for lines in (data, checked(data)):
        folder = RunFolder(place(), StoredManifest(MANIFEST), Disk())
        path = folder.samples_path("t")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lines)
        with suppress(InputError, UsageError):  # a newer schema, a record of another run
            found = folder.index("t")
            assert len(found.offsets) + found.duplicates + len(found.damage) + found.torn == numbered(lines)
            with folder.reader("t", found) as reader:
                for key in found.in_order():
                    assert reader.at(key).key == key
            reopened(path)
            accepted += len(found.offsets)
    return accepted


def reopened(path: Path) -> None:
    """A journal cuts a torn end, leaves every whole line, and what is appended can be read."""
    whole = path.read_bytes()
    journal = Journal(path, Disk())
    journal.append({"schema": 1, "last": True})
    journal.close()
    kept = path.read_bytes()
    assert kept.startswith(whole[: whole.rfind(b"\n") + 1])
    *_, last = read_lines(path)
    assert last.fields == {"schema": 1, "last": True}
    reader = LineReader(path)
    assert reader.at(last.offset) == last.fields
    reader.close()
    with suppress(InputError):
        for line in read_lines(path):
            assert line.fields is None or encode_line(line.fields)


def checked(data: bytes) -> bytes:
    """Each line with the checksum of its bytes in place of its last brace."""
    bodies = (line.removesuffix(b"}") for line in data.split(b"\n") if line)
    return b"".join(body + b',"crc":"%08x"}\n' % zlib.crc32(body) for body in bodies)


def numbered(data: bytes) -> int:
    """How many lines there are, an unfinished one included."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def srt(data: bytes) -> int:
    """A subtitle file under each rule: text, frames in their order, or a media error."""
    (place() / "subtitles").write_bytes(data)
    accepted = 0
    for rule in ("vlmevalkit", "lmms-eval", "interleave", "interleave-lmms-eval"):
        ref = SubtitleRef(video="v", rule=rule, path="subtitles", root=str(place()), frames=4, duration=16.0)
        video = VideoRef(name="v", path="v.mp4", frames=3, subtitles=ref if rule.startswith("inter") else None)
        parts = (video,) if rule.startswith("inter") else (video, ref)
        with suppress(MediaError):
            shown = spelled_out(parts, {"v": CLIP})
            frames = [part.position for part in shown if not isinstance(part, str)]
            assert sorted(frames) == list(range(len(CLIP.indices)))
            assert all(isinstance(part, str) for part in shown if not hasattr(part, "position"))
            accepted += 1
    return accepted


def safetensors(data: bytes) -> int:
    """A weight file, as it is and with a header length that fits: accepted or named as unreadable."""
    path, accepted = place() / "model.safetensors", 0
    header, _, body = data.partition(b"\0")
    for content in (data, struct.pack("<Q", len(header)) + header + body):
        path.write_bytes(content)
        with suppress(CheckpointError):
            check_tensors(layer(), place(), check_finite=True)
            accepted += 1
    return accepted


@cache
def layer() -> nn.Module:
    """A model of two tensors."""
    return nn.Linear(2, 3).requires_grad_(False)


def mathvision(data: bytes) -> int:
    """MathVision's evaluator on a response, a gold answer and options: every protocol gives a verdict."""
    response, gold, *options = (*data.decode("utf-8", "replace").split(SEPARATOR), "")[:8]
    options = [option for option in options if option]
    row = {"id": "1", "question": "?", "options": options, "answer": gold, "image": "images/1.jpg", "level": 1}
    try:
        sample = TASK.sample({**row, "subject": "algebra", "solution": None, "decoded_image": None})
    except DataError:  # gold that is empty, or no option
        sample = TASK.sample({**row, "answer": None})
    accepted = 0
    for protocol in TASK.protocols.values():
        if protocol.score is not None:
            score = protocol.score(sample, response, MISSING)
            assert score.verdict in VERDICTS
            assert score.value is None or 0.0 <= score.value <= 1.0
            json.dumps(score.extracted)
            accepted += score.verdict == "correct"
    return accepted


TARGETS: dict[str, Target] = {"records": records, "srt": srt, "safetensors": safetensors, "mathvision": mathvision}
