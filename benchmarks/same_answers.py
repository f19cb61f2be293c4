"""Answers of this checkout against those of another commit: every sample of the mini splits, in batches of three sizes.

    python -m benchmarks.same_answers [--commit 5e316bf] [--tasks all] [--new-tokens 256]

Both demo models, greedy and with a seed, one thread. The other commit answers in batches of 16; this checkout alone, in
batches of 16 and of 32. Samples whose prompt differs there are counted apart: their question is
put otherwise. Takes an hour of CPU time for all tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Row, show
from benchmarks.release import ROOT, unpack

MODELS = ("kimi-vl-nano", "kimi-vl-nano-thinking")
SAMPLING: Mapping[str, Mapping[str, float]] = {
    "greedy": {"temperature": 0.0},
    "at temperature 0.8, seed 7": {"temperature": 0.8, "seed": 7},
}
BATCHES = (1, 16, 32)
PROGRAM = """
import json, pathlib, sys, tempfile
import kvl_eval

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        kvl_eval.evaluate(split="mini", output_dir=place, model_args={"threads": 1}, **asked)
        for path in pathlib.Path(place).glob("*/samples/*.jsonl"):
            for line in open(path):
                record = json.loads(line)
                print(json.dumps([path.stem, record["sample_id"], record["prompt_text"], record["raw_output"]]))
"""


class Answer(NamedTuple):
    """What a model was given, and everything that it wrote."""

    prompt: str
    text: str


Answers = Mapping[tuple[str, str], Answer]


def answers(tree: Path, asked: Mapping[str, object]) -> Answers:
    """{task and sample: answer} of a run by the code of `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "program.py"
        program.write_text(PROGRAM)
        command = [sys.executable, str(program), json.dumps(asked)]
        done = subprocess.run(command, env=environment, cwd=place, check=True, stdout=subprocess.PIPE, text=True)
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    return {(task, sample): Answer(prompt, text) for task, sample, prompt, text in lines}


def measure(commit: str, tasks: Sequence[str], new_tokens: int) -> list[Row]:
    """A row for each model, way of sampling and size of batch."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        other = Path(place)
        unpack(commit, other)
        for model in MODELS:
            for name, sampling in SAMPLING.items():
                asked = {"model": model, "tasks": list(tasks), "max_new_tokens": new_tokens, **sampling}
                before = answers(other, {**asked, "batch_size": 16})
                for size in BATCHES:
                    now = answers(ROOT, {**asked, "batch_size": size})
                    rows.append(compared(f"{model}, {name}, batches of {size}", commit, before, now))
                    print(rows[-1].markdown(), file=sys.stderr, flush=True)
    return rows


def compared(what: str, commit: str, before: Answers, now: Answers) -> Row:
    """How many samples are answered alike; the ratio is the share of those that were asked alike."""
    asked = [key for key in before if key in now and before[key].prompt == now[key].prompt]
    differ = [key for key in asked if before[key].text != now[key].text]
    if differ:
        print(what, "differ:", *("/".join(key) for key in differ[:20]), file=sys.stderr)
    return Row(
        what=f"{what}: samples answered alike",
        against=f"commit {commit}",
        ours=f"{len(asked) - len(differ):,}",
        theirs=f"{len(asked):,} asked alike, of {len(before):,}",
        ratio=1 - len(differ) / len(asked),
        at_least=1.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--commit", default="5e316bf", help="what to compare with")
    parser.add_argument("--tasks", default="all", help="tasks, separated by commas")
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    options = parser.parse_args()
    show(measure(options.commit, options.tasks.split(","), options.new_tokens), as_json=options.json)


if __name__ == "__main__":
    main()
