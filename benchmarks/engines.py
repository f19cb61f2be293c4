"""Samples a second of the bundled engine against genuine vLLM: same checkpoint, machine, threads and samples.

    python -m benchmarks.engines --vllm DIR [--samples 80] [--concurrency 16] [--threads 2]

DIR is the environment that `.ci/vllm DIR` makes. Whole runs of `kvl-eval`, from the plan to the scores, with the model
loaded and the server up; greedy answers must be the same. Wall time: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kvl_eval
from benchmarks.measure import Row, show
from kvl_eval.backends import MODELS, family_of
from kvl_eval.backends.base import Backend, Settings
from kvl_eval.backends.torch_engine import TorchEngine

MODEL = "kimi-vl-nano"
ROUNDS = 3
TASKS = {"mathvista": 64, "infovqa": 64}  # and most new tokens
Answers = dict[str, str]


def timed(folder: Path, task: str, samples: int, **options: Any) -> tuple[float, Answers]:
    """Seconds of a run, and what each sample was answered."""
    start = time.perf_counter()
    result = kvl_eval.evaluate(
        tasks=[task], limit=samples, split="mini", max_new_tokens=TASKS[task], output_dir=folder, **options
    )
    seconds = time.perf_counter() - start
    return seconds, {record.sample_id: record.answer for record in result.folder.records(task)}


def loaded(concurrency: int, threads: int) -> Backend:
    """The bundled engine with its weights in place, as the server has them."""
    settings = Settings.of(batch_size=concurrency, model_args={"threads": threads})
    engine = TorchEngine(
        MODELS[MODEL].location, settings, name=MODEL, family=family_of(MODEL, settings.engine).family.name
    )
    engine.load()
    return engine


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each task; one more round in the beginning warms both up."""
    os.environ["KVL_EVAL_VLLM"] = str(arguments.vllm)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # which the server inherits
    from tests.vllm.conftest import running

    samples, rounds = (4, 1) if arguments.tiny else (arguments.samples, ROUNDS)
    concurrency = arguments.concurrency
    with tempfile.TemporaryDirectory() as place, running(Path(place) / "server", MODEL) as server:
        asked = {"base_url": server.url, "served_model": "nano", "max_connections": concurrency}
        for task in TASKS:
            ours, theirs = [], []
            for turn in range(rounds + 1):
                folder = Path(place) / task / str(turn)
                engine = loaded(concurrency, arguments.threads)
                mine = timed(folder / "ours", task, samples, model=MODEL, backend=engine)
                other = timed(folder / "theirs", task, samples, model="endpoint", **asked)
                check(mine[1], other[1])
                if turn:
                    ours.append(len(mine[1]) / mine[0])
                    theirs.append(len(other[1]) / other[0])
            yield row(f"samples a second, {len(mine[1])} of {task}, {concurrency} at once", ours, theirs)


def check(ours: Answers, theirs: Answers) -> None:
    """Raises SystemExit where more than one answer in fifty differs: near-ties may, over batches of other shapes."""
    differ = [name for name in ours if ours[name] != theirs.get(name)]
    if len(differ) * 50 > len(ours):
        raise SystemExit(f"the engines answer differently: {', '.join(differ[:10])}")


def row(what: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Row(
        what=what,
        against="vLLM 0.32 for CPU, already running",
        ours=f"{statistics.median(ours):.1f}",
        theirs=f"{statistics.median(theirs):.1f}",
        ratio=statistics.median(ratios),
        spread=(min(ratios), max(ratios)),
        at_least=1.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vllm", type=Path, required=True, metavar="DIR", help="environment made by .ci/vllm DIR")
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that answers are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    arguments = parser.parse_args()
    show(list(measure(arguments)), as_json=arguments.json)


if __name__ == "__main__":
    main()
