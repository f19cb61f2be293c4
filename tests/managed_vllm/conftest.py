"""An environment with the stand-in for vLLM, a checkpoint that it may serve, and what it left behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kvl_eval.backends.managed_vllm import ManagedVllm
from kvl_eval.backends.vllm_installation import VARIABLE
from kvl_eval.run.config import RunConfig, resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import RunOutcome, start_run
from tests.faults.server_runs import words

STAND_IN = Path(__file__).resolve().parent / "stand_in.py"
PATIENCE = 20.0  # seconds that a test waits for what must happen


@dataclass
class StandIn:
    """The environment folder, and the file with a line for every start."""

    environment: Path
    notes: Path
    checkpoint: Path

    def starts(self) -> list[dict[str, Any]]:
        text = self.notes.read_text() if self.notes.is_file() else ""
        return [json.loads(line) for line in text.splitlines()]

    def pids(self) -> list[int]:
        """Of every watcher, server and child that was started."""
        return [pid for start in self.starts() for pid in start["pids"]]

    def check_gone(self) -> None:
        """Fails unless all of them end soon."""
        until = time.monotonic() + PATIENCE
        while any(map(is_running, self.pids())):
            assert time.monotonic() < until, f"processes are left: {self.pids()}"
            time.sleep(0.02)
        assert self.starts(), "nothing was started"

    def config(self, output_dir: Path, n: int = 6, **options: Any) -> RunConfig:
        given = {
            "num_workers": 0,
            "max_connections": 1,
            "backend": "vllm",
            "output_dir": output_dir,
            "cache_dir": f"{output_dir}.cache",
            **options,
        }
        return resolve(str(self.checkpoint), "other", [words(n)], given)

    def backend(self, config: RunConfig, grace: float = 5.0) -> ManagedVllm:
        return ManagedVllm(config.model, config.settings, name="tiny-llava", family="other", grace=grace)

    def run(self, output_dir: Path, n: int = 6, *, handle_signals: bool = False, **options: Any) -> RunOutcome:
        """A run of `n` questions through the stand-in."""
        config = self.config(output_dir, n, **options)
        backend = self.backend(config)
        return start_run(plan_run(config, backend, [words(n)]), backend, handle_signals=handle_signals)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment(folder: Path, version: str) -> Path:
    """A folder that looks like an environment with vLLM of some version."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    about = folder / "lib" / "python3.11" / "site-packages" / f"vllm-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an architecture that the bundled engine does not run."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-llava"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": {"torch_dtype": "float16"}}))
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    return folder


@contextmanager
def standing_in(folder: Path, checkpoint: Path) -> Iterator[StandIn]:
    """The stand-in as the vLLM that is found."""
    found = StandIn(environment(folder / "environment", "0.32.0+cpu"), folder / "notes", checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(found.environment))
        patch.setenv("STAND_IN_NOTES", str(found.notes))
        yield found


@pytest.fixture
def stand_in(tmp_path: Path, checkpoint: Path) -> Iterator[StandIn]:
    with standing_in(tmp_path, checkpoint) as found:
        yield found
