"""Rows of the mini splits of MLVU, TOMATO, VSI-Bench, VideoMMMU and MMVU, about clips of the other video benchmarks."""

import random
from functools import cache, partial
from pathlib import Path
from typing import Any

from tools.nano import video
from tools.nano.media_files import mp4_bytes

LEVEL = 0.4  # highest difficulty; each drawing has its own below it
ROWS, QUESTIONS = 24, 2  # rows of a split, and questions about each of its clips
TEXT, NUMBER = "string", "int64"
MLVU_TYPES = ("plotQA", "findNeedle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")


@cache
def clip(task: str, number: int) -> video.Clip:
    """A clip of a task's mini split."""
    rng = random.Random(f"mini/{task}/clip/{number}")
    return video.draw(rng, LEVEL * rng.random())


def _asked(task: str, rng: random.Random, number: int, **fields: int) -> video.Asked:
    return video.ask(rng, clip(task, number // QUESTIONS), **fields)


def mlvu(rng: random.Random, number: int) -> dict[str, object]:
    """A row of the authors' JSON; every task has its rows."""
    asked = _asked("mlvu", rng, number)
    return {
        "video": f"{_name('mlvu', number)}.mp4",
        "duration": float(clip("mlvu", number // QUESTIONS).seconds),
        "question": asked.question,
        "candidates": list(asked.options),
        "answer": asked.answer,
        "question_type": MLVU_TYPES[number % len(MLVU_TYPES)],
    }


def _name(task: str, number: int) -> str:
    return f"{task}{number // QUESTIONS + 1:03d}"


def write_clips(task: str, folder: Path) -> None:
    """A task's clips, as files where its loader looks."""
    for number in range(0, ROWS, QUESTIONS):
        one = clip(task, number // QUESTIONS)
        path = folder / FOLDERS[task](number) / f"{_name(task, number)}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mp4_bytes((one.frame(k) for k in range(one.length)), video.FPS))


FOLDERS: dict[str, Any] = {"mlvu": lambda _: "video"}
SPLITS: dict[str, tuple[str, int, dict[str, Any], Any]] = {
    "mlvu": (
        "dev.parquet",
        ROWS,
        {
            "video": TEXT,
            "duration": "float64",
            "question": TEXT,
            "candidates": [TEXT],
            "answer": TEXT,
            "question_type": TEXT,
        },
        mlvu,
    ),
}
FILES = {task: partial(write_clips, task) for task in SPLITS}
