"""A run at batch 32 against one sample at a time, task by task: `python -m benchmarks.batching`.

`kvl_eval.evaluate` (what `kvl-eval run` calls) on bundled mini splits with the demo model that thinks, or `--model`.
Answers of both runs must be equal. Seconds are CPU time of the process that holds model and harness, one thread; both
ways take turns, and the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import kvl_eval
from benchmarks.engine import default_model, options
from benchmarks.measure import Row, Times, show

TASKS = ("mathvision", "mathvista", "mmmu")
GOAL = 4.0
ROUNDS = 3


def measure(tiny: bool = False, model: str | None = None, tasks: Sequence[str] = TASKS) -> Sequence[Row]:
    """Rows; raises AssertionError if a sample's answer depends on the batch."""
    model = model or default_model()
    evaluated(model, tasks[0], 1, 1)  # imports, tokenizer, worker processes
    limit, goal, rounds = (2, None, 1) if tiny else (48, GOAL, ROUNDS)
    return [compared(model, task, limit, goal, rounds) for task in (tasks[:1] if tiny else tasks)]


def compared(model: str, task: str, limit: int, goal: float | None, rounds: int) -> Row:
    """One task."""
    one, many = [], []
    for _ in range(rounds):
        alone, alone_seconds = evaluated(model, task, 1, limit)
        batch, batch_seconds = evaluated(model, task, 32, limit)
        assert batch == alone, f"{task}: an answer depends on the batch"
        one.append(alone_seconds)
        many.append(batch_seconds)
    theirs, ours = Times(tuple(one)), Times(tuple(many))
    ratio, spread = theirs.times(ours)
    tokens = sum(len(text) for text in alone.values()) / len(alone)
    return Row(
        what=f"{model}, {task}, {len(alone)} samples of {tokens:.0f} characters: batch 32",
        against="one sample at a time",
        ours=ours.text(),
        theirs=theirs.text(),
        ratio=ratio,
        spread=spread,
        at_least=goal,
    )


def evaluated(model: str, task: str, batch: int, limit: int) -> tuple[dict[Any, str], float]:
    """Outputs by sample, and CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        begin = time.process_time()
        given = options([task], place, limit=limit, batch_size=batch, num_workers=1, model_args={"threads": 1})
        done = kvl_eval.evaluate(model, **given)
        spent = time.process_time() - begin
        return {record.sample_id: record.raw_output for record in done.folder.records(task)}, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that results are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    parser.add_argument("--model", default=default_model())
    parser.add_argument("--task", default=",".join(TASKS), help="bundled splits, separated by commas")
    given = parser.parse_args()
    show(measure(given.tiny, given.model, given.task.split(",")), as_json=given.json)


if __name__ == "__main__":
    main()
