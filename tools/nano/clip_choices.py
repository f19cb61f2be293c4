"""Rows of the mini splits of MLVU, TOMATO, VSI-Bench, VideoMMMU and MMVU, about clips of the other video benchmarks."""

import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from tools.nano import video
from tools.nano.media_files import mp4_bytes

LEVEL = 0.4  # highest difficulty; each drawing has its own below it
ROWS, QUESTIONS = 24, 2  # rows of a split, and questions about each of its clips
TEXT, NUMBER = "string", "int64"
MLVU_TYPES = ("plotQA", "findNeedle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")
TOMATO_TYPES = ("count", "direction", "rotation", "shape_trend", "velocity_frequency", "visual_cues")
VSI_TYPES = (  # choices and numbers take turns
    *("object_rel_direction_easy", "object_counting", "object_rel_direction_medium", "object_abs_distance"),
    *("object_rel_direction_hard", "object_size_estimation", "object_rel_distance", "room_size_estimation"),
    *("route_planning", "object_counting", "obj_appearance_order", "object_abs_distance"),
)
TRACKS = ("Perception", "Comprehension", "Adaptation")
DOMAINS = {
    "Art": "Art",
    "Manage": "Business",
    "Biology": "Science",
    "Pharmacy": "Medicine",
    "History": "Humanities",
    "Materials": "Engineering",
}
SUBJECTS = tuple(DOMAINS)
MMVU_SUBJECTS = ("Modern_Physics", "Computer_Science", "Pharmacy", "Art")


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


def tomato(rng: random.Random, number: int) -> dict[str, object]:
    """A row of lmms-eval's copy."""
    asked = _asked("tomato", rng, number, options=rng.choice((4, 5)))
    return {
        "id": str(number),
        "question": asked.question,
        "options": list(asked.options),
        "answer": asked.index,
        "reason_type": TOMATO_TYPES[number % len(TOMATO_TYPES)],
        "demonstration_type": "simulated",
        "video_path": f"simulated/{_name('tomato', number)}.mp4",
    }


def vsi_bench(rng: random.Random, number: int) -> dict[str, object]:
    """A row of the hub's table: every second asks for a number."""
    kind = VSI_TYPES[number % len(VSI_TYPES)]
    scene = rng.randrange(video.SCENES)
    shown = clip("vsi-bench", number // QUESTIONS)
    if number % 2:
        question, options = f"Which number is shown {video.WHEN[scene]}?", None
        answer = shown.numbers[scene]
    else:
        asked = _asked("vsi-bench", rng, number)
        question, options, answer = asked.question, asked.lettered, asked.letter
    return {
        "id": number,
        "dataset": "scannet",
        "scene_name": _name("vsi-bench", number),
        "question_type": kind,
        "question": question,
        "options": options,
        "ground_truth": answer,
    }


def videommmu(rng: random.Random, number: int) -> dict[str, object]:
    """A row of the hub's tables, its track named beside; three tracks, and open questions in Adaptation."""
    track = TRACKS[number % len(TRACKS)]
    asked = _asked("videommmu", rng, number, options=5)
    is_open = number % 12 == 2 and asked.answer in video.NUMBERS
    return {
        "track": track,
        "id": f"validation_{SUBJECTS[number // QUESTIONS % len(SUBJECTS)]}_{number // QUESTIONS + 1:03d}",
        "question": asked.question,
        "options": [] if is_open else list(asked.options),
        "answer": asked.answer if is_open else asked.letter,
        "question_type": "open" if is_open else "multiple-choice",
    }


def mmvu(rng: random.Random, number: int) -> dict[str, object]:
    """A row of validation.json; every third is an open question."""
    asked = _asked("mmvu", rng, number, options=5)
    is_open = number % 3 == 2
    texts = ("",) * 5 if is_open else asked.options
    subject = MMVU_SUBJECTS[number // QUESTIONS % len(MMVU_SUBJECTS)]
    return {
        "id": f"validation_{number}",
        "video": f"https://example.org/videos/{subject}/{_name('mmvu', number)}.mp4",
        "youtube_url": "",
        "question_type": "open-ended" if is_open else "multiple-choice",
        "metadata": {"subject": subject.replace("_", " "), "textbook": "", "rationale": "", "knowledge": []},
        "question": asked.question,
        "choices": dict(zip("ABCDE", texts, strict=True)),
        "answer": asked.answer if is_open else asked.letter,
    }


def _name(task: str, number: int) -> str:
    if task == "videommmu":
        return str(videommmu(random.Random(0), number)["id"])
    return f"{task}{number // QUESTIONS + 1:03d}"


def write_clips(task: str, folder: Path) -> None:
    """A task's clips, as files where its loader looks."""
    for number in range(0, ROWS, QUESTIONS):
        one = clip(task, number // QUESTIONS)
        path = folder / FOLDERS[task](number) / f"{_name(task, number)}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mp4_bytes((one.frame(k) for k in range(one.length)), video.FPS))


FOLDERS: dict[str, Callable[[int], str]] = {
    "mlvu": lambda _: "video",
    "tomato": lambda _: "videos/simulated",
    "vsi-bench": lambda _: "scannet",
    "videommmu": lambda number: DOMAINS[SUBJECTS[number // QUESTIONS % len(SUBJECTS)]],
    "mmvu": lambda number: f"videos/{MMVU_SUBJECTS[number // QUESTIONS % len(MMVU_SUBJECTS)]}",
}
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
    "tomato": (
        "test.parquet",
        ROWS,
        {
            "id": TEXT,
            "question": TEXT,
            "options": [TEXT],
            "answer": NUMBER,
            "reason_type": TEXT,
            "demonstration_type": TEXT,
            "video_path": TEXT,
        },
        tomato,
    ),
    "vsi-bench": (
        "test.parquet",
        ROWS,
        {
            "id": NUMBER,
            "dataset": TEXT,
            "scene_name": TEXT,
            "question_type": TEXT,
            "question": TEXT,
            "options": [TEXT],
            "ground_truth": TEXT,
        },
        vsi_bench,
    ),
    "videommmu": (
        "test.parquet",
        ROWS,
        {
            "track": TEXT,
            "id": TEXT,
            "question": TEXT,
            "options": [TEXT],
            "answer": TEXT,
            "question_type": TEXT,
        },
        videommmu,
    ),
    "mmvu": (
        "validation.parquet",
        ROWS,
        {
            "id": TEXT,
            "video": TEXT,
            "youtube_url": TEXT,
            "question_type": TEXT,
            "metadata": {"subject": TEXT, "textbook": TEXT, "rationale": TEXT, "knowledge": [TEXT]},
            "question": TEXT,
            "choices": dict.fromkeys("ABCDE", TEXT),
            "answer": TEXT,
        },
        mmvu,
    ),
}
FILES = {task: partial(write_clips, task) for task in SPLITS}
