"""The demo model in this process against one and two Ray replicas: equal answers, and how long each takes.

python -m benchmarks.replicas [--limit 80]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import kvl_eval

WAYS: dict[str, dict[str, Any]] = {
    "this process": {},
    "1 replica": {"backend": "ray", "num_replicas": 1},
    "2 replicas": {"backend": "ray", "num_replicas": 2},
}


def answers(folder: Path, limit: int, **options: Any) -> tuple[float, dict[str, str]]:
    """Seconds of a run, start-up included, and what each sample was answered."""
    start = time.perf_counter()
    result = kvl_eval.evaluate(
        model="kimi-vl-nano",
        tasks=["mathvista"],
        limit=limit,
        output_dir=folder,
        model_args={"threads": 1},
        num_workers=1,
        **options,
    )
    seconds = time.perf_counter() - start
    return seconds, {record["sample_id"]: record["answer"] for record in result.folder.records("mathvista")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=80)
    arguments = parser.parse_args()
    print("| engine | seconds, start-up included | against this process |\n| --- | --- | --- |")
    first: tuple[float, dict[str, str]] | None = None
    for name, options in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = answers(Path(folder), arguments.limit, **options)
        first = first or found
        assert found[1] == first[1], f"{name}: answers differ"
        print(f"| {name} | {found[0]:.1f} | {found[0] / first[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
