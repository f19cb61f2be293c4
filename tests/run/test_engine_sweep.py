"""A sweep by the bundled engine, killed in its middle and inside a record, ends as an undisturbed one does.

The process kills itself with SIGKILL when it has written so many records, so no clock decides where. What it answers is
compared token for token although other samples then share its batches: computed in float64, no near-tie can flip.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from tests.run.test_sweep import by_key, newest, records
from tests.tiny_task import comparable

ROOT = Path(__file__).resolve().parents[2]
HANG = 600  # seconds after which a process that should have ended counts as hanging
COMMAND = "from kvl_eval.cli.main import main; main()"
MORTAL = """
import sys
from kvl_eval.cli.main import main
from kvl_eval.store import run_folder
from tests.tiny_task import Deadly
after = int(sys.argv.pop(1))
run_folder.Disk = lambda: Deadly(after, torn=True)
main()
"""
SAMPLES, BUDGETS = 3, (16, 32, 64)
KEPT = 5  # records that are written before the process dies inside the next: not a multiple of the budgets


def kvl(*arguments: str, die_after: int | None = None) -> int:
    """How `kvl-eval` ended."""
    code = ["-c", COMMAND] if die_after is None else ["-c", MORTAL, str(die_after)]
    command, environment = [sys.executable, *code, *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def arguments(policy: str, out: Path) -> list[str]:
    options = ["--task", "mathvista", "--limit", str(SAMPLES), "--model", "kimi-vl-nano-thinking", "--dtype", "float64"]
    options += ["--think-budget", ",".join(map(str, BUDGETS)), "--budget-policy", policy, "--answer-tokens", "8"]
    return ["sweep", *options, "--seed", "7", "--num-workers", "0", "--output-dir", str(out)]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["cut", "force"])
def test_P4_a_sweep_of_the_engine_killed_in_its_middle_ends_as_an_undisturbed_one(tmp_path: Path, policy: str) -> None:
    assert kvl(*arguments(policy, tmp_path / "whole")) == 0
    undisturbed = newest(tmp_path / "whole")
    expected = by_key(records(undisturbed), "worker")
    assert len(expected) == SAMPLES * len(BUDGETS)
    assert {one["budget_forced"] for one in expected.values()} == {False, policy == "force"}

    assert kvl(*arguments(policy, tmp_path / "killed"), die_after=KEPT) == -signal.SIGKILL
    path = newest(tmp_path / "killed")
    file = RunFolder.open(path).samples_path("mathvista")
    finished, torn = file.read_bytes().rsplit(b"\n", 1)
    left = by_key(records(path), "worker")
    assert left == {key: expected[key] for key in left}
    assert (len(left), finished.count(b"\n"), torn != b"") == (KEPT, KEPT - 1, True)
    assert verify(RunReader.open(path)).exit_code == 3

    assert kvl("resume", str(path)) == 0
    assert file.read_bytes().startswith(finished + b"\n"), "nothing finished was answered again"
    assert by_key(records(path), "worker") == expected
    assert comparable(path) == comparable(undisturbed)
    assert verify(RunReader.open(path)).exit_code == 0
