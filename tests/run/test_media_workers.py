"""A run from a script: no guard is needed, few processes start, and they import nothing of the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.media.test_pool import ENVIRONMENT

SCRIPT = """
import sys
import torch
import kvl_eval
from kvl_eval.media import pool

started = pool._started
commands = []

def counted(pipe):
    process = started(pipe)
    commands.append(process.args)
    return process

pool._started = counted
result = kvl_eval.evaluate(
    "kimi-vl-nano", [sys.argv[1]], limit=int(sys.argv[2]), output_dir=sys.argv[3], num_workers={workers}
)
print(result.exit_code, len(commands))
"""


@pytest.mark.parametrize(
    ("task", "limit", "workers", "processes"),
    [("mathvista", 4, None, 1), ("mathvista", 2, 0, 0), ("niah-text", 1, None, 0)],
)
def test_P26_a_script_without_a_guard_runs_with_few_processes(
    tmp_path: Path, task: str, limit: int, workers: int | None, processes: int
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("{workers}", str(workers)))
    done = subprocess.run(
        [sys.executable, "script.py", task, str(limit), str(tmp_path / "results")],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", str(processes)]
    assert "Traceback" not in done.stderr
