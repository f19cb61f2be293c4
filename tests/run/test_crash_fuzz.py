"""A run killed again and again at random moments ends as the run that was never disturbed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.store.results import RunFolder
from kvl_eval.tasks.base import Task
from tests.tiny_task import comparable, run_tiny, tiny

SCRIPT = Path(__file__).resolve().parents[1] / "tiny_task.py"
TIMES = ("time", "ended_at")
HANG = 60  # seconds after which a process that should have ended counts as hanging
SIGNALS = ((signal.SIGKILL,), (signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT))
ENDINGS = {0, 3, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130, 143}


def said(path: Path) -> dict[Any, dict[str, Any]]:
    return {
        (record["sample_id"], record["repeat"], record["budget"]): {
            name: value for name, value in record.items() if name not in TIMES
        }
        for record in RunFolder.open(path).records("tiny")
    }


def started(output_dir: Path) -> Path | None:
    """The run that got as far as its manifest."""
    return next((path.parent for path in sorted(output_dir.glob("*/run.json"))), None)


def bytes_of(output_dir: Path) -> int:
    """How much lies in the records."""
    return sum(path.stat().st_size for path in output_dir.glob("*/samples/*.jsonl"))


def disturbed(command: Sequence[str], output_dir: Path, draw: random.Random) -> int:
    """Run a command and send it signals: after a random time, or when it has written a random number of bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    began, before = time.monotonic(), bytes_of(output_dir)
    pause, written = draw.uniform(0, 1.2), draw.choice([None, draw.randrange(2500)])
    while process.poll() is None:
        waited = time.monotonic() - began
        if waited > (pause if written is None else HANG / 2):
            break
        if written is not None and bytes_of(output_dir) - before > written:
            break
        time.sleep(0.002)
    for number in draw.choice(SIGNALS):
        process.send_signal(number)
        time.sleep(draw.uniform(0, 0.02))
    output, _ = process.communicate(timeout=HANG)
    unborn = output.strip() == "KeyboardInterrupt"  # the interpreter itself was interrupted while it started
    assert process.returncode in ENDINGS or unborn, output
    return process.returncode


def check_readable(path: Path, task: Task) -> None:
    """Nothing but what a crash may leave: torn ends, leftovers, pending answers."""
    found = verify(RunFolder.open(path), lambda name: task)
    assert found.exit_code in (0, 3), [str(one) for one in found.findings if one.severity == "damaged"]


def fuzz(output_dir: Path, options: dict[str, Any], kills: int, seed: int) -> tuple[Path, int]:
    """The finished run, and how many of its processes were killed."""
    draw, killed = random.Random(seed), 0
    for _ in range(kills):
        path = started(output_dir)
        verb, where = ("run", output_dir) if path is None else ("resume", path)
        code = disturbed([sys.executable, str(SCRIPT), verb, str(where), json.dumps(options)], output_dir, draw)
        killed += code not in (0, 3)
        path = started(output_dir)
        if path is not None:
            check_readable(path, tiny(options["n"]))
        if code == 0:
            break
    path = started(output_dir)
    assert path is not None
    last = subprocess.run([sys.executable, str(SCRIPT), "resume", str(path), json.dumps(options)], timeout=HANG * 5)
    assert last.returncode == 0
    return path, killed


SWEEP = {"think_budget": [4, 8, 16], "model_args": {"think": 6, "answers": "hash", "delay": 0.1}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kills"),
    [
        pytest.param({"n": 80, "model_args": {"delay": 0.5}}, 50, id="plain"),
        pytest.param({"model_args": {"delay": 0.3, "jitter": 1.0, "concurrency": 2}}, 20, id="two-workers"),
        pytest.param(SWEEP, 20, id="sweep"),
        pytest.param({"repeats": 3, "model_args": {"delay": 0.1}}, 20, id="repeats"),
        pytest.param({**SWEEP, "repeats": 2, "budget_policy": "force"}, 20, id="sweep-with-repeats"),
    ],
)
def test_kills_at_random_moments_change_nothing(options: dict[str, Any], kills: int, tmp_path: Path) -> None:
    options = {"n": 60, **options}
    path, killed = fuzz(tmp_path / "killed", options, kills, seed=len(json.dumps(options)))
    assert killed >= kills / 2
    quick = {**options["model_args"], "delay": 0.0, "jitter": 0.0}
    whole = {name: value for name, value in options.items() if name != "n"} | {"model_args": quick}
    task = tiny(options["n"])
    other = run_tiny(tmp_path / "whole", task, **whole).folder.path
    assert said(path) == said(other)
    assert comparable(path) == comparable(other)
    found = verify(RunFolder.open(path), lambda name: task)
    assert found.exit_code == 0
    assert found.counts["pending"] == 0
    folder, undisturbed = RunFolder.open(path), RunFolder.open(other)
    assert folder.manifest["counts"] == undisturbed.manifest["counts"]
    assert folder.manifest["status"] == "finished"
    assert not (path / "lock").exists()
