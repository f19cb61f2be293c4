"""Clips and documents of the mini splits: drawn from their seeds, and written as files where the loaders look."""

import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from tools.nano import documents, video
from tools.nano.media_files import json_lines, mp4_bytes, pdf_bytes, srt_text

LEVEL = 0.4  # highest difficulty; each drawing has its own below it
CLIPS = {"videomme": 20, "longvideobench": 12, "egoschema": 32}
DOCUMENTS = 10


@cache
def clip(task: str, number: int) -> video.Clip:
    """A clip of a task's mini split."""
    rng = random.Random(f"mini/{task}/clip/{number}")
    return video.draw(rng, LEVEL * rng.random())


@cache
def document(number: int) -> documents.Document:
    """A document of the mini split of MMLongBench-Doc."""
    rng = random.Random(f"mini/mmlongbench-doc/document/{number}")
    return documents.draw(rng, LEVEL * rng.random())


def drawn_pictures() -> Iterator[Image.Image]:
    """Every frame and page, as drawn."""
    for task, count in CLIPS.items():
        for number in range(count):
            one = clip(task, number)
            yield from (one.frame(k) for k in range(one.length))
    for number in range(DOCUMENTS):
        yield from document(number).pages


def _frames(one: video.Clip) -> Iterator[Image.Image]:
    return (one.frame(k) for k in range(one.length))


def _videomme(folder: Path) -> None:
    for number in range(CLIPS["videomme"]):
        one, name = clip("videomme", number), f"mini{number + 1:03d}"
        _save(folder / "data" / f"{name}.mp4", mp4_bytes(_frames(one), video.FPS))
        lines = [(max(0.0, start), end, text) for start, end, text in one.spoken()]
        _save(folder / "subtitle" / f"{name}.srt", srt_text(lines).encode())


def _longvideobench(folder: Path) -> None:
    for number in range(CLIPS["longvideobench"]):
        one, name = clip("longvideobench", number), f"mini{number + 1:03d}"
        _save(folder / "videos" / f"{name}.mp4", mp4_bytes(_frames(one), video.FPS))
        lines = [(start + video.OFFSET, end + video.OFFSET, text) for start, end, text in one.spoken()]
        _save(folder / "subtitles" / f"{name}_en.json", json_lines(lines).encode())


def _egoschema(folder: Path) -> None:
    for number in range(CLIPS["egoschema"]):
        data = mp4_bytes(_frames(clip("egoschema", number)), video.FPS)
        _save(folder / "videos" / f"mini-{number + 1:03d}.mp4", data)


def _documents(folder: Path) -> None:
    for number in range(DOCUMENTS):
        _save(folder / "documents" / documents.name(number), pdf_bytes(document(number).pages))


FILES: dict[str, Callable[[Path], None]] = {
    "videomme": _videomme,
    "longvideobench": _longvideobench,
    "egoschema": _egoschema,
    "mmlongbench-doc": _documents,
}
"""What writes a task's files into the folder of its mini split."""


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
