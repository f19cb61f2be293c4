"""CPU time per sample of this checkout against another commit: `python -m benchmarks.release --commit 5e316bf`.

Both trees run `kvl_eval.evaluate` on the same mini splits with the demo model, each in a process of its own that runs
once to warm up and once for the figure, media processes included. The trees take turns; the ratio is that of the
medians. Every answer of one must be the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Row, Times, show

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("mathvista", "infovqa")
GOAL = 0.75
ROUNDS = 5
PROGRAM = """
import json, os, pathlib, sys, tempfile
import kvl_eval

def run(limit):
    with tempfile.TemporaryDirectory() as place:
        begin = os.times()
        kvl_eval.evaluate("kimi-vl-nano", [sys.argv[1]], split="mini", output_dir=place, limit=limit,
                          model_args={"threads": 1})
        spent = sum(os.times()[:4]) - sum(begin[:4])
        lines = [line for path in pathlib.Path(place).glob("*/samples/*.jsonl") for line in open(path)]
    return spent, {record["sample_id"]: record["raw_output"] for record in map(json.loads, lines)}

if __name__ == "__main__":
    limit = int(sys.argv[2]) or None
    run(limit)
    print(json.dumps(run(limit)))
"""


class Measured(NamedTuple):
    """CPU seconds of one run, and its outputs by sample."""

    seconds: float
    outputs: Mapping[str, str]


def measure(commit: str, tiny: bool = False, rounds: int = ROUNDS) -> Sequence[Row]:
    """One row a task. Raises AssertionError where an answer differs."""
    with tempfile.TemporaryDirectory() as place:
        other = Path(place)
        unpack(commit, other)
        if tiny:
            return [compared(TASKS[0], commit, other, 1, 2)]
        return [compared(task, commit, other, rounds, 0) for task in TASKS]


def unpack(commit: str, place: Path) -> None:
    """The tree of a commit as files."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(place, filter="data")


def compared(task: str, commit: str, other: Path, rounds: int, limit: int) -> Row:
    """One task; a limit of 0 means the whole mini split."""
    ours: list[Measured] = []
    theirs: list[Measured] = []
    for _ in range(rounds):
        theirs.append(evaluated(other, task, limit))
        ours.append(evaluated(ROOT, task, limit))
        assert ours[-1].outputs == theirs[-1].outputs, f"{task}: an answer differs from that of {commit}"
    size = len(ours[0].outputs)
    mine, before = (Times([one.seconds / size for one in side]) for side in (ours, theirs))
    ratio, spread = mine.times(before)
    return Row(
        what=f"{task} mini, {size} samples, one thread: CPU time per sample",
        against=f"commit {commit}",
        ours=mine.text(),
        theirs=before.text(),
        ratio=ratio,
        spread=spread,
        at_most=GOAL if rounds > 1 else None,
    )


def evaluated(tree: Path, task: str, limit: int) -> Measured:
    """A run by the code of `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as in an installed package
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "program.py"  # a file: media processes import it again where they start by `spawn`
        program.write_text(PROGRAM)
        command = [sys.executable, str(program), task, str(limit)]
        done = subprocess.run(command, env=environment, cwd=place, check=True, stdout=subprocess.PIPE, text=True)
    seconds, outputs = json.loads(done.stdout.splitlines()[-1])
    return Measured(seconds, outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--commit", default="5e316bf", help="what to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that answers are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    options = parser.parse_args()
    show(measure(options.commit, options.tiny, options.rounds), as_json=options.json)


if __name__ == "__main__":
    main()
