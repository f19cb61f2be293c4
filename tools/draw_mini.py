"""Draw the bundled mini splits: seeded rows in the exact schemas of the data sets' hub copies.

    python -m tools.draw_mini            # all tasks, into kvl_eval/data/mini/<task>/
    python -m tools.draw_mini mathvista  # one

Row n of a task comes from the seed `mini/<task>/<n>`; training uses other seeds and skips equal pictures.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.nano import (
    clip_choices,
    desktop,
    documents,
    image_choices,
    infovqa,
    mathvision,
    mathvista,
    mini_media,
    mmmu,
    niah,
    ocrbench,
    osworld_g,
    screenspot,
    thinking,
    thinking_problems,
    video,
)
from tools.nano.mini import MINI

Row = dict[str, object]
LEVEL = mini_media.LEVEL
QUESTIONS = 3  # about a clip of Video-MME and LongVideoBench
PER_DOCUMENT = 4
ORDINARY = {"mathvista": 80, "mmmu": 90, "mathvision": 90}  # rows before those of many steps
TEXT, NUMBER = "string", "int64"


@dataclass(frozen=True)
class MiniSplit:
    """One bundled split: its file, size, columns (name -> type word or nested) and how a row is drawn."""

    file: str
    rows: int
    columns: dict[str, Any]
    draw: Callable[[random.Random, int], Row]


def _many_steps(rng: random.Random, number: int) -> thinking_problems.Worked:
    """The problems of many steps, one kind after the other, of all lengths."""
    kinds = tuple(thinking_problems.WORKED)
    return thinking_problems.WORKED[kinds[number % len(kinds)]](rng, rng.random())


def _mathvista(rng: random.Random, number: int) -> Row:
    if number >= ORDINARY["mathvista"]:
        return mathvista.row(_many_steps(rng, number).problem, number + 1)
    return mathvista.row(mathvista.draw(rng, LEVEL * rng.random()), number + 1)


def _infovqa(rng: random.Random, number: int) -> Row:
    return infovqa.row(infovqa.draw(rng, LEVEL * rng.random()), number)


def _ocrbench(rng: random.Random, number: int) -> Row:
    kinds = list(ocrbench.READINGS)
    return ocrbench.row(kinds[number % len(kinds)](rng, LEVEL * rng.random()), number)


def _screenspot(rng: random.Random, number: int) -> Row:
    platform = sorted(screenspot.SIZES)[number % 3]
    return screenspot.row(screenspot.draw(rng, LEVEL * rng.random(), platform), number, rng)


def _screenspot_pro(rng: random.Random, number: int) -> Row:
    return screenspot.pro_row(screenspot.draw_pro(rng, LEVEL * rng.random()), number, rng)


def _mmmu(rng: random.Random, number: int) -> Row:
    if number >= ORDINARY["mmmu"]:
        return mmmu.row(thinking.for_mmmu(rng, _many_steps(rng, number)), number)
    return mmmu.row(mmmu.draw(rng, LEVEL * rng.random()), number)


def _mathvision(rng: random.Random, number: int) -> Row:
    if number >= ORDINARY["mathvision"]:
        return mathvision.row(thinking.for_mathvision(rng, _many_steps(rng, number)), number + 1)
    return mathvision.row(mathvision.draw(rng, LEVEL * rng.random()), number + 1)


def _videomme(rng: random.Random, number: int) -> Row:
    clip, question = divmod(number, QUESTIONS)
    return video.videomme_row(video.ask(rng, mini_media.clip("videomme", clip)), clip, question)


def _longvideobench(rng: random.Random, number: int) -> Row:
    shown, question = divmod(number, QUESTIONS)
    clip = mini_media.clip("longvideobench", shown)
    asked = video.ask(rng, clip, options=rng.choice((4, 5)), by_line=0.3)
    return video.longvideobench_row(asked, clip, shown, question)


def _egoschema(rng: random.Random, number: int) -> Row:
    return video.egoschema_row(video.ask(rng, mini_media.clip("egoschema", number), options=5), number)


def _documents(rng: random.Random, number: int) -> Row:
    document = number // PER_DOCUMENT
    return documents.row(documents.ask(rng, mini_media.document(document)), document)


SCREEN = {
    "file_name": TEXT,
    "bbox": ["float64"],
    "instruction": TEXT,
    "data_type": TEXT,
    "data_source": TEXT,
    "image": "image",
}
SPLITS = {
    "mathvista": MiniSplit(
        "testmini.parquet",
        ORDINARY["mathvista"] + 10,
        {
            "pid": TEXT,
            "question": TEXT,
            "image": TEXT,
            "decoded_image": "image",
            "choices": [TEXT],
            "unit": TEXT,
            "precision": "float64",
            "answer": TEXT,
            "question_type": TEXT,
            "answer_type": TEXT,
            "metadata": {
                "category": TEXT,
                "context": TEXT,
                "grade": TEXT,
                "img_height": NUMBER,
                "img_width": NUMBER,
                "language": TEXT,
                "skills": [TEXT],
                "source": TEXT,
                "split": TEXT,
                "task": TEXT,
            },
            "query": TEXT,
        },
        _mathvista,
    ),
    "infovqa": MiniSplit(
        "validation.parquet",
        50,
        {
            "questionId": TEXT,
            "question": TEXT,
            "answers": [TEXT],
            "answer_type": [TEXT],
            "image": "image",
            "image_url": TEXT,
            "operation/reasoning": [TEXT],
            "ocr": TEXT,
            "data_split": TEXT,
        },
        _infovqa,
    ),
    "ocrbench": MiniSplit(
        "test.parquet",
        54,
        {"dataset": TEXT, "question": TEXT, "question_type": TEXT, "answer": [TEXT], "image": "image"},
        _ocrbench,
    ),
    "screenspot": MiniSplit("test.parquet", 36, SCREEN, _screenspot),
    "screenspot-v2": MiniSplit("test.parquet", 48, SCREEN, _screenspot),
    "screenspot-pro": MiniSplit(
        "test.parquet",
        36,
        {
            "id": TEXT,
            "img_filename": TEXT,
            "bbox": [NUMBER],
            "img_size": [NUMBER],
            "instruction": TEXT,
            "instruction_cn": TEXT,
            "application": TEXT,
            "platform": TEXT,
            "group": TEXT,
            "ui_type": TEXT,
            "image": "image",
        },
        _screenspot_pro,
    ),
    "mmmu": MiniSplit(
        "validation.parquet",
        ORDINARY["mmmu"] + 30,
        {
            "id": TEXT,
            "question": TEXT,
            "options": TEXT,
            "explanation": TEXT,
            **{f"image_{number}": "image" for number in range(1, mmmu.MAX_IMAGES + 1)},
            "img_type": TEXT,
            "answer": TEXT,
            "topic_difficulty": TEXT,
            "question_type": TEXT,
            "subfield": TEXT,
        },
        _mmmu,
    ),
    "mathvision": MiniSplit(
        "test.parquet",
        ORDINARY["mathvision"] + 90,
        {
            "id": TEXT,
            "question": TEXT,
            "options": [TEXT],
            "image": TEXT,
            "decoded_image": "image",
            "answer": TEXT,
            "solution": TEXT,
            "level": NUMBER,
            "subject": TEXT,
        },
        _mathvision,
    ),
    "videomme": MiniSplit(
        "videomme/test.parquet",
        QUESTIONS * mini_media.CLIPS["videomme"],
        {
            "video_id": TEXT,
            "duration": TEXT,
            "domain": TEXT,
            "sub_category": TEXT,
            "url": TEXT,
            "videoID": TEXT,
            "question_id": TEXT,
            "task_type": TEXT,
            "question": TEXT,
            "options": [TEXT],
            "answer": TEXT,
        },
        _videomme,
    ),
    "longvideobench": MiniSplit(
        "validation.parquet",
        QUESTIONS * mini_media.CLIPS["longvideobench"],
        {
            "video_id": TEXT,
            "id": TEXT,
            "video_path": TEXT,
            "subtitle_path": TEXT,
            "question": TEXT,
            **{f"option{number}": TEXT for number in range(5)},
            "question_category": TEXT,
            "topic_category": TEXT,
            "correct_choice": NUMBER,
            "duration": "float64",
            "duration_group": NUMBER,
            "starting_timestamp_for_subtitles": "float64",
        },
        _longvideobench,
    ),
    "egoschema": MiniSplit(
        "Subset/test.parquet",
        mini_media.CLIPS["egoschema"],
        {"video_idx": TEXT, "question": TEXT, "option": [TEXT], "answer": TEXT},
        _egoschema,
    ),
    "mmlongbench-doc": MiniSplit(
        "data/train.parquet",
        PER_DOCUMENT * mini_media.DOCUMENTS,
        {
            "doc_id": TEXT,
            "doc_type": TEXT,
            "question": TEXT,
            "answer": TEXT,
            "evidence_pages": TEXT,
            "evidence_sources": TEXT,
            "answer_format": TEXT,
        },
        _documents,
    ),
}

SPLITS |= {
    task: MiniSplit(*split)
    for task, split in (
        image_choices.SPLITS | osworld_g.SPLITS | clip_choices.SPLITS | niah.SPLITS | desktop.SPLITS
    ).items()
}


def rows(task: str) -> list[Row]:
    """All rows of a task's mini split."""
    split = SPLITS[task]
    return [split.draw(random.Random(f"mini/{task}/{number}"), number) for number in range(split.rows)]


def write(task: str) -> None:
    """Draw a task's mini split into its parquet file, with the columns' types as the hub's features, and its files."""
    import datasets

    split = SPLITS[task]
    features = datasets.Features({name: _feature(kind) for name, kind in split.columns.items()})
    path = MINI / task / split.file
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows(task), features=features).to_parquet(str(path))
    files = mini_media.FILES | clip_choices.FILES
    if task in files:
        files[task](MINI / task)


def _feature(kind: Any) -> Any:
    import datasets

    if kind == "image":
        return datasets.Image()
    if isinstance(kind, list):
        return datasets.List(datasets.Value(kind[0]))
    if isinstance(kind, dict):
        return {name: _feature(value) for name, value in kind.items()}
    return datasets.Value(kind)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tasks", nargs="*", choices=[*SPLITS, []], help="default: all")
    for task in parser.parse_args().tasks or SPLITS:
        write(task)
        print(f"{task}: {SPLITS[task].rows} rows")


if __name__ == "__main__":
    main()
