"""Samples a second of the bundled engine against genuine vLLM: same checkpoint, machine, samples and concurrency.

    python -m benchmarks.engines --vllm DIR [--samples 80] [--concurrency 16]

DIR is the environment that `.ci/vllm DIR` makes. Greedy answers are compared first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import kvl_eval
from benchmarks.measure import HEADER, Row

ROUNDS = 3


def timed(folder: Path, samples: int, model: str, **options: Any) -> tuple[float, dict[str, str]]:
    """Seconds between the first and the last answer of a run, and what each sample was answered."""
    start = time.perf_counter()
    result = kvl_eval.evaluate(
        model, ["mathvista"], limit=samples, split="mini", max_new_tokens=64, output_dir=folder, **options
    )
    seconds = time.perf_counter() - start
    return seconds, {record["sample_id"]: record["answer"] for record in result.folder.records("mathvista")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--concurrency", type=int, default=16)
    arguments = parser.parse_args()
    os.environ["KVL_EVAL_VLLM"] = str(arguments.vllm)
    from tests.vllm.conftest import running

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as place, running(Path(place) / "server") as server:
        for turn in range(ROUNDS + 1):  # the first warms both up
            folder = Path(place) / str(turn)
            mine = timed(folder / "a", arguments.samples, "kimi-vl-nano", batch_size=arguments.concurrency)
            other = timed(
                folder / "b",
                arguments.samples,
                "endpoint",
                base_url=server.url,
                served_model="nano",
                max_connections=arguments.concurrency,
            )
            assert mine[1] == other[1], "the engines answer differently"
            if turn:
                ours.append(arguments.samples / mine[0])
                theirs.append(arguments.samples / other[0])
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    row = Row(
        what=f"samples a second, {arguments.samples} samples of MathVista mini, {arguments.concurrency} at once",
        against="vLLM 0.32 for CPU, already running",
        ours=f"{sum(ours) / ROUNDS:.1f}",
        theirs=f"{sum(theirs) / ROUNDS:.1f}",
        ratio=ratios[len(ratios) // 2],
        spread=(ratios[0], ratios[-1]),
        at_least=1.0,
    )
    print(HEADER)
    print(row.markdown())


if __name__ == "__main__":
    main()
