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

from tools.nano import infovqa, mathvision, mathvista, mmmu, ocrbench, screenspot
from tools.nano.mini import MINI

Row = dict[str, object]
LEVEL = 0.4  # highest difficulty; each row draws its own below it
TEXT, NUMBER = "string", "int64"


@dataclass(frozen=True)
class MiniSplit:
    """One bundled split: its file, size, columns (name -> type word or nested) and how a row is drawn."""

    file: str
    rows: int
    columns: dict[str, Any]
    draw: Callable[[random.Random, int], Row]


def _mathvista(rng: random.Random, number: int) -> Row:
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
    return mmmu.row(mmmu.draw(rng, LEVEL * rng.random()), number)


def _mathvision(rng: random.Random, number: int) -> Row:
    return mathvision.row(mathvision.draw(rng, LEVEL * rng.random()), number + 1)


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
        80,
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
        48,
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
        48,
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
}


def rows(task: str) -> list[Row]:
    """All rows of a task's mini split."""
    split = SPLITS[task]
    return [split.draw(random.Random(f"mini/{task}/{number}"), number) for number in range(split.rows)]


def write(task: str) -> None:
    """Draw a task's mini split into its parquet file, with the columns' types as the hub's features."""
    import datasets

    split = SPLITS[task]
    features = datasets.Features({name: _feature(kind) for name, kind in split.columns.items()})
    path = MINI / task / split.file
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows(task), features=features).to_parquet(str(path))


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
