"""Only the question decides an answer: order, batch size, workers and hash seed change no record but its times."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.decode import encode_object
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol
from kvl_eval.types import Extraction, Sample, Score
from tests.tiny_task import rows, run_tiny, tiny

TIMES = ("time", "ended_at", "worker")
FINGERPRINT = "config_fingerprint"  # covers the order of the data, which decides what --limit takes


def records(folder: RunFolder, *without: str) -> list[dict[str, Any]]:
    """Records in the order of their keys, without what may differ."""
    found = [encode_object(record) for name in folder.manifest.data for record in folder.records(name)]
    kept = [{name: value for name, value in one.items() if name not in (*TIMES, *without)} for one in found]
    return sorted(kept, key=lambda one: json.dumps([one["task"], one["sample_id"], one["repeat"], one["budget"] or 0]))


TIMED = ("time", "seconds", "devices")


def scored_part(folder: RunFolder) -> bytes:
    """The rows of results.json without times and the number of devices that were busy at once, byte for byte but for
    the order of labels, which is that of the data.
    """
    rows = map(encode_object, folder.results().rows)
    kept = [{name: value for name, value in row.items() if name not in TIMED} for row in rows]
    return json.dumps(kept, sort_keys=True).encode()


def graded(sample: Sample, answer: str, extraction: Extraction) -> Score:
    """Fractions whose sum depends on the order of summands, unless somebody minds."""
    return Score.of((len(sample.question) * 7 + ord(answer[:1] or "x")) % 10 / 10, answer[:1], "letter")


@pytest.mark.parametrize("pages", [False, True], ids=["apart", "clusters"])
def test_the_order_of_samples_changes_no_record_and_no_score(tmp_path: Path, pages: bool) -> None:
    content = rows(40, pages=pages)
    found = []
    for seed in (None, 1, 2):
        shuffled = list(content)
        if seed is not None:
            random.Random(seed).shuffle(shuffled)
        task = tiny(40, content=shuffled, protocols={"official": Protocol(score=graded)})
        args = {"concurrency": 1 + 3 * (seed or 0), "delay": 0.001, "jitter": 1.0, "answers": "hash"}
        folder = run_tiny(tmp_path / str(seed), task, repeats=2, model_args=args).folder
        found.append((records(folder, FINGERPRINT), scored_part(folder)))
    assert found[1] == found[0]
    assert found[2] == found[0]


WAYS = {
    "one-at-a-time": (["--batch-size", "1", "--num-workers", "1"], "0"),
    "three-two-workers": (["--batch-size", "3", "--num-workers", "2"], "1"),
    "all-at-once": (["--batch-size", "16", "--num-workers", "2"], "4242"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunFolder]]:
    """The demo model's run in each way, in processes of their own; in float64, see docs/thinking.md."""
    found = {}
    for name, (options, seed) in WAYS.items():
        place = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", "kvl_eval", "run", "--task", "mathvista,screenspot", "--limit", "8", *options]
        command += [
            "--temperature",
            "0.7",
            "--repeats",
            "2",
            "--dtype",
            "float64",
            "--json",
            "--no-progress",
            "--output-dir",
            str(place),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        found[name] = RunFolder.open(json.loads(done.stdout)["folder"])
    yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WAYS)[1:])
def test_batch_size_workers_and_hash_seed_change_no_record_and_no_score(runs: dict[str, RunFolder], name: str) -> None:
    first, other = runs["one-at-a-time"], runs[name]
    assert len(records(first)) == 32
    assert records(other) == records(first)
    assert scored_part(other) == scored_part(first)
