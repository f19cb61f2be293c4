"""The demo model in this process against one and two Ray replicas: how long each takes for the same answers.

    python -m benchmarks.replicas [--limit 90]

Seconds of whole runs, start-up included, which a second replica pays, too. Wall time: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kvl_eval
from benchmarks.measure import Row, show

WAYS: dict[str, dict[str, Any]] = {
    "this process": {},
    "1 replica": {"backend": "ray", "num_replicas": 1},
    "2 replicas": {"backend": "ray", "num_replicas": 2},
}
TASKS = ["mathvista", "infovqa", "ocrbench"]
Answers = dict[tuple[str, str], str]


def answers(folder: Path, limit: int, **options: Any) -> tuple[float, Answers]:
    """Seconds of a run, start-up included, and what each sample was answered."""
    start = time.perf_counter()
    result = kvl_eval.evaluate(
        model="kimi-vl-nano",
        tasks=TASKS,
        limit=limit,
        output_dir=folder,
        resume=False,
        model_args={"threads": 1},
        num_workers=1,
        **options,
    )
    seconds = time.perf_counter() - start
    return seconds, {
        (task, record.sample_id): record.answer for task in TASKS for record in result.folder.records(task)
    }


def measure(limit: int) -> Iterator[Row]:
    """A row for each number of replicas."""
    first: tuple[float, Answers] | None = None
    for name, options in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = answers(Path(folder), limit, **options)
        if first is None:
            first = found
            continue
        differ = [key for key, answer in found[1].items() if answer != first[1].get(key)]
        if len(differ) * 50 > len(first[1]) or found[1].keys() != first[1].keys():  # near-ties may turn
            raise SystemExit(f"{name}: {len(differ)} answers differ from those of this process")
        yield Row(
            what=f"{len(found[1])} samples of {len(TASKS)} tasks, {name} of one thread",
            against="this process, one thread",
            ours=f"{found[0]:.1f} s",
            theirs=f"{first[0]:.1f} s",
            ratio=first[0] / found[0],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=90, help="samples of each task")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that answers are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    arguments = parser.parse_args()
    show(list(measure(3 if arguments.tiny else arguments.limit)), as_json=arguments.json)


if __name__ == "__main__":
    main()
