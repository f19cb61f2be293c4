"""A checkpoint of the published size on a machine that has less memory ends in one sentence."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.full_size import header_of, published_config, write_all_but_weights

GIB = 2**30


def sparse_checkpoint(folder: Path) -> Path:
    """The published shapes in a single file of 32.8 GB that takes no room on disk."""
    header, size = header_of(write_all_but_weights(folder, published_config(tiny=False)))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    return folder


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (8 * GIB, 8 * GIB))


@pytest.mark.slow
def test_a_single_file_that_cannot_be_mapped_ends_in_one_sentence(tmp_path: Path) -> None:
    folder = sparse_checkpoint(tmp_path / "model")
    command = [sys.executable, "-m", "kvl_eval", "run", "--task", "mathvista", "--split", "mini", "--limit", "1"]
    command += ["--model", str(folder), "--dtype", "bfloat16", "--output-dir", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_memory, timeout=300)
    assert done.returncode == 4, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error[")]
    assert len(errors) == 1 and errors[0].startswith(
        "error[model.memory]: not enough memory on cpu: the weights need 30.6 GiB, "
    )
    assert "--weights int4 needs " in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").glob("*/samples"))
